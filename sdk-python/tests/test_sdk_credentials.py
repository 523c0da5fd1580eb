"""Keys and certificates: where they are read, where they are shown, and where never."""

import logging
import pickle
from pathlib import Path
from typing import Any

import grpc
import pytest
from rendezvous_proto.errors import InvalidRequestError, OverloadedError
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk import AsyncClient, Client, ClientOptions, ServeOptions
from rendezvous_sdk.calls import Attempts
from rendezvous_sdk.credentials import Credentials, host_of, is_loopback
from rendezvous_sdk.nats_connection import connect

_SECRET = "k" * 52
_KEY = f"rv_abcdefghij23_{_SECRET}"
_OTHER = f"rv_zzzzzzzzzzzz_{'m' * 52}"


def test_arguments_go_before_the_environment(tmp_path: Path) -> None:
    """Each field by itself; a `Path` as key is a file; the environment's file only where there is no key."""
    file = tmp_path / "key"
    file.write_text(f"{_OTHER}\n")
    everything = {
        "RENDEZVOUS_KEY": _KEY,
        "RENDEZVOUS_KEY_FILE": str(file),
        "RENDEZVOUS_CA": "ca.pem",
        "RENDEZVOUS_CERT": "cert.pem",
        "RENDEZVOUS_CERT_KEY": "cert-key.pem",
        "RENDEZVOUS_TLS": "1",
        "RENDEZVOUS_INSECURE": "0",
    }
    told = Credentials.read(environment=everything)
    assert told.key is not None
    assert (told.key.id, told.ca, told.cert, told.cert_key) == (
        "abcdefghij23",
        Path("ca.pem"),
        Path("cert.pem"),
        Path("cert-key.pem"),
    )
    assert (told.tls, told.insecure, told.inbox_prefix) == (True, False, "_INBOX_abcdefghij23")
    given = Credentials.read(key=file, ca="b.pem", cert="c.pem", cert_key="d.pem", tls=False, environment=everything)
    assert given.key is not None
    assert (given.key.id, given.ca, given.cert, given.cert_key) == (
        "z" * 12,
        Path("b.pem"),
        Path("c.pem"),
        Path("d.pem"),
    )
    assert not given.tls
    assert Credentials.read(environment={"RENDEZVOUS_KEY_FILE": str(file)}).key == given.key
    nothing = Credentials.read(environment={})
    assert (nothing, nothing.metadata, nothing.channel_credentials(), nothing.uses_tls) == (
        Credentials(),
        (),
        None,
        False,
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RENDEZVOUS_KEY": f"rv_{_SECRET}"}, "is none: keys read"),
        ({"RENDEZVOUS_KEY": _KEY + "k"}, "is none"),
        ({"RENDEZVOUS_KEY_FILE": "/nowhere/key"}, "/nowhere/key cannot be read"),
        ({"RENDEZVOUS_CERT": "cert.pem"}, "cert is given without cert_key"),
        ({"RENDEZVOUS_CERT_KEY": "key.pem"}, "cert_key is given without cert"),
        ({"RENDEZVOUS_TLS": "perhaps"}, "RENDEZVOUS_TLS is 'perhaps'"),
    ],
)
def test_what_is_wrong_is_named(variables: dict[str, str], words: str) -> None:
    """The variable or argument, what is expected, and never the key."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        Credentials.read(environment=variables)
    assert _SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "arguments", "is_refused"),
    [
        ("127.0.0.1:1", {}, False),
        ("127.9.9.9:1", {}, False),
        ("[::1]:1", {}, False),
        ("localhost:1", {}, False),
        ("dns:///localhost:1", {}, False),
        ("unix:/tmp/s", {}, False),
        ("unix-abstract:s", {}, False),
        ("unix-host.example.org:8001", {}, True),
        ("dns://8.8.8.8/localhost:80", {}, True),
        ("dns://8.8.8.8/127.0.0.1:80", {}, True),
        ("10.0.0.7:1", {}, True),
        ("router:8001", {}, True),
        ("dns:///router:8001", {}, True),
        ("localhost.example.org:1", {}, True),
        ("[2001:db8::1]:1", {}, True),
        ("router:8001", {"insecure": True}, False),
        ("router:8001", {"tls": True}, False),
    ],
)
def test_a_key_does_not_travel_in_the_clear(address: str, arguments: dict[str, Any], is_refused: bool) -> None:
    """To other than loopback without TLS it is refused, unless somebody says that it may."""
    if is_refused:
        with pytest.raises(InvalidRequestError, match="without TLS"):
            Client(address, key=_KEY, **arguments)
    else:
        Client(address, key=_KEY, **arguments).close()
    Client(address).close()  # without a key there is nothing to hide


async def test_nats_gets_no_key_in_the_clear() -> None:
    """The same for NATS, whichever of its addresses it is."""
    for url in ("nats://127.0.0.1:1,nats://10.0.0.7:4222", "router:4222"):
        with pytest.raises(InvalidRequestError, match="without TLS"):
            await connect(url, name="test", timeout_s=1, credentials=Credentials.read(key=_KEY, environment={}))


def test_addresses() -> None:
    """Host names as gRPC writes addresses."""
    addresses = {"h:1": "h", "[::1]:1": "::1", "dns:///h:1": "h", "ipv4:10.0.0.1:1": "10.0.0.1"}
    assert {address: host_of(address) for address in addresses} == addresses
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "LOCALHOST", "0.0.0.0", "h")] == [True] * 3 + [False] * 2


async def test_a_key_is_shown_nowhere(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not in what objects print as, not in logs, not in errors; a NATS without keys takes no offence at one."""
    caplog.set_level(logging.DEBUG)
    shown = Credentials.read(key=_KEY, environment={})
    options = ServeOptions(endpoint="e", name="m", credentials=shown)
    nc = await connect(nats_server.url, name="test", timeout_s=5, credentials=shown)
    assert nc.new_inbox().startswith("_INBOX_abcdefghij23.")
    await nc.close()
    async with AsyncClient("127.0.0.1:1", key=_KEY) as client:
        with pytest.raises(Exception, match="connect") as caught:
            await client.score({"x": [1]}, timeout=0.3)
    for text in (repr(shown), repr(options), repr(client), repr(caught.value), str(caught.value.args), caplog.text):
        assert _SECRET not in text
    assert pickle.loads(pickle.dumps(shown)) == shown


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    """The file is named, before anything is connected to."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    with pytest.raises(InvalidRequestError, match=r"missing\.pem cannot be read"):
        Client("127.0.0.1:1", ca=tmp_path / "missing.pem")
    for fields in ({"ca": nonsense}, {"cert": nonsense, "cert_key": nonsense}, {"ca": tmp_path / "missing.pem"}):
        with pytest.raises(InvalidRequestError, match=r"(nonsense|missing)\.pem"):
            Credentials(**fields).ssl_context()


@pytest.mark.parametrize(("asked", "least_s"), [("250", 0.25), ("0", 0.0), ("inf", 0.0), ("soon", 0.0), (None, 0.0)])
def test_a_retry_waits_as_long_as_the_server_asks(asked: str | None, least_s: float) -> None:
    """At least that long, a little more by chance; not at all beyond the deadline."""
    options = ClientOptions(first_pause_s=0.01)
    error = OverloadedError("busy", {} if asked is None else {"retry_after_ms": asked})
    pause_s = Attempts(options, 1.0).pause_after(error)
    assert least_s + 0.005 <= pause_s <= least_s + 0.015
    if least_s:
        with pytest.raises(OverloadedError):
            Attempts(options, 0.2).pause_after(error)


def test_grpc_credentials_of_ones_own() -> None:
    """They stand for TLS, so that a key may go with them."""
    Client("router:8001", key=_KEY, credentials=grpc.ssl_channel_credentials()).close()

"""Router, NATS and models with TLS, mutual TLS and keys: real processes, certificates made for the test."""

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from rendezvous.spec import parse_spec
from rendezvous_health import ask_health
from rendezvous_proto.errors import RendezvousError, UnavailableError
from rendezvous_proto.keys import Key
from rendezvous_proto.postbox import MAX_ACK_PENDING
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.tls.development import make_certificates
from rendezvous_router.tls.nats import NatsTls
from rendezvous_sdk import AsyncClient, Client
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.processes import Process, python, script
from tests.support.stack import ENDPOINT, eventually

_ROW = {"a": [1.5], "b": [2], "tag": ["x"]}
_TABLE_ROW = re.compile(r"^\| (`[^|]+`) \|", re.MULTILINE)
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def make_key() -> Key:
    """A key as `rendezvous key add` would print it."""
    return Key(*("".join(secrets.choice(_LETTERS) for _ in range(length)) for length in (12, 52)))


def allowed(key: Key, model: str) -> dict[str, object]:
    """The permissions of docs/protocol.md, "What a model may do", as nats-server takes them."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "protocol.md").read_text()
    section = page.partition("## What a model may do")[2].partition("\n## ")[0]
    publish, subscribe = section.split("| may subscribe to |")
    names = {
        "<stream>": "RV_sum",
        "<consumer>": f"{model}__1",
        "<endpoint>": "sum",
        "<model>": model,
        "<version token>": "1",
        "<id>": key.id,
    }

    def subjects(text: str) -> list[str]:
        found = [subject for cell in _TABLE_ROW.findall(text) for subject in re.findall("`([^`]+)`", cell)]
        for placeholder, value in names.items():
            found = [subject.replace(placeholder, value) for subject in found]
        return found

    return {"publish": {"allow": subjects(publish)}, "subscribe": {"allow": subjects(subscribe)}}


class Site:
    """A nats-server that asks for certificates and keys, a router with TLS, models: each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certs = folder / "certs"
        make_certificates(self.certs)
        self.operator, self.model = make_key(), make_key()
        self.processes: list[Process] = []
        self.address = ""
        self.rest = ""
        self.server = NatsServer(
            store=folder / "nats",
            tls=NatsTls(
                cert=self.certs / "nats.pem", key=self.certs / "nats-key.pem", ca=self.certs / "ca.pem", verify=True
            ),
        )
        self.users = {self.operator: None, self.model: allowed(self.model, "first")}

    def accounts(self) -> str:
        """The accounts, as they are configured."""
        users = [
            {"user": key.id, "password": key.secret} | ({"permissions": rights} if rights else {})
            for key, rights in self.users.items()
        ]
        return f"accounts: {json.dumps({'A': {'jetstream': 'enabled', 'users': users}})}\n"

    def start_nats(self) -> None:
        """Starts it with the users of now."""
        self.server.accounts = self.accounts()
        self.server.start()

    def credentials(self, key: Key | None = None, **fields: Path) -> Credentials:
        """Those of a client of NATS."""
        client = {"cert": self.certs / "client.pem", "cert_key": self.certs / "client-key.pem"}
        return Credentials(**{"key": key or self.operator, "ca": self.certs / "ca.pem", **client, **fields})  # type: ignore[arg-type]

    def environment(self, key: Key) -> dict[str, str]:
        """The same as variables."""
        return {
            "RENDEZVOUS_KEY": key.text,
            "RENDEZVOUS_CA": str(self.certs / "ca.pem"),
            "RENDEZVOUS_CERT": str(self.certs / "client.pem"),
            "RENDEZVOUS_CERT_KEY": str(self.certs / "client-key.pem"),
        }

    async def prepare(self) -> None:
        """Puts the endpoint in force."""
        nc = await connect(self.server.url, name="test", timeout_s=5, credentials=self.credentials())
        store = SpecStore(nc)
        await store.ensure()
        await store.put(parse_spec(ENDPOINT))
        await nc.close()

    async def make_consumer(self, ack_wait_s: float = 1.0) -> None:
        """Makes the model's consumer, as a router does."""
        nc = await connect(self.server.url, name="test", timeout_s=5, credentials=self.credentials())
        await nc.jetstream().add_consumer(
            "RV_sum",
            durable_name="first__1",
            ack_policy="explicit",
            deliver_policy="new",
            ack_wait=ack_wait_s,
            max_deliver=5,
            filter_subject="rv.sum.input",
            max_ack_pending=MAX_ACK_PENDING,
        )
        await nc.close()

    def start_router(self, *arguments: str) -> Process:
        """Starts it with TLS and waits until it is ready."""
        command = python("-m", "rendezvous_router.main", "--nats", self.server.url, "--metrics-port", "0")
        command += ["--grpc-port", str(find_free_port()), "--rest-port", "0", *arguments]
        command += ["--cert", str(self.certs / "router.pem"), "--cert-key", str(self.certs / "router-key.pem")]
        router = self._start(command, "router", self.environment(self.operator))
        line = router.wait_ready()
        self.address = re.search(r"grpc (\S+:\d+)", line)[1]  # type: ignore[index]
        self.rest = re.search(r"rest (https://\S+:\d+)", line)[1]  # type: ignore[index]
        return router

    def start_model(self, key: Key | None = None, **variables: str) -> Process:
        """Starts a model; does not wait."""
        command = [script("rendezvous-model"), "serve", "tests.support.models:first", "--endpoint", "sum"]
        command += ["--name", "first", "--nats", self.server.url, "--grpc-port", str(find_free_port())]
        return self._start(command, "model", {**self.environment(key or self.model), **variables})

    def logs(self) -> str:
        """All that was logged."""
        return "".join(path.read_text(errors="replace") for path in self.folder.rglob("*.log"))

    def stop(self) -> None:
        """Ends everything."""
        for process in reversed(self.processes):
            process.kill()
        self.server.stop()

    def _start(self, command: list[str], name: str, env: dict[str, str]) -> Process:
        process = Process(command, log=self.folder / f"{name}-{len(self.processes)}.log", ready="ready", env=env)
        self.processes.append(process)
        return process


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with nothing started; stopped, and its logs searched for secrets, afterwards."""
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.stop()
    logged = made.logs()
    assert not [key.id for key in made.users if key.secret in logged]


@pytest_asyncio.fixture
async def running(site: Site) -> AsyncIterator[Site]:
    """NATS, router and model, ready."""
    site.start_nats()
    await site.prepare()
    site.start_router()
    await site.make_consumer()
    site.start_model().wait_ready()
    yield site


async def test_scores_over_tls_all_the_way(running: Site) -> None:
    """With the permissions of the protocol's table, mutual TLS to NATS and TLS to the router, an endpoint answers."""
    async with AsyncClient(running.address, "sum", ca=running.certs / "ca.pem") as client:
        answer = await client.score(_ROW, timeout=5)
        assert answer.model == "first"
        streamed = [each async for each in client.stream([_ROW] * 3)]
        assert [each.model for each in streamed] == ["first"] * 3
    context = ssl.create_default_context(cafile=running.certs / "ca.pem")
    page = await asyncio.to_thread(urllib.request.urlopen, f"{running.rest}/healthz", context=context)
    with page:
        assert page.status == 200
    logged = "".join(path.read_text() for path in running.folder.glob("model-*.log"))
    assert "may not" not in logged
    assert "disconnected" not in logged


async def test_new_certificates_are_served_while_calls_go_on(running: Site) -> None:
    """New connections see a new certificate within two seconds, those that stand go on; a broken file is not used."""
    other = running.folder / "other"
    make_certificates(other)
    async with AsyncClient(running.address, "sum", ca=running.certs / "ca.pem") as standing:
        await standing.score(_ROW, timeout=5)
        for name in ("router.pem", "router-key.pem"):
            shutil.copy(other / name, running.certs / name)
        host, _, port = running.address.rpartition(":")

        async def is_new() -> bool:
            shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
            return shown.strip() == (other / "router.pem").read_text().strip()

        await eventually(is_new, "the new certificate is served", within_s=2.0)
        await standing.score(_ROW, timeout=5)
        (running.certs / "router.pem").write_text("nonsense")

        async def is_told() -> bool:
            return "holds no certificate" in running.logs()

        await eventually(is_told, "the broken file is told")
        async with AsyncClient(running.address, "sum", ca=other / "ca.pem") as fresh:
            await fresh.score(_ROW, timeout=5)
        await standing.score(_ROW, timeout=5)
    assert running.logs().count("holds no certificate") == 1


async def test_who_does_not_fit_is_told_why(running: Site) -> None:
    """Plaintext to a TLS port, a wrong authority, and TLS to a plaintext port: UnavailableError that says so."""
    other = running.folder / "other"
    make_certificates(other)
    plain_port = find_free_port()
    plain = await asyncio.start_server(_say_nothing, "127.0.0.1", plain_port)
    cases: list[tuple[str, dict[str, Path], str]] = [
        (running.address, {}, "if the server serves TLS"),
        (running.address, {"ca": other / "ca.pem"}, "certificate is not accepted"),
        (f"127.0.0.1:{plain_port}", {"ca": other / "ca.pem"}, "does not speak TLS"),
    ]
    async with plain:
        for address, fields, words in cases:
            async with AsyncClient(address, "sum", **fields) as client:
                with pytest.raises(UnavailableError, match=words):
                    await client.score(_ROW, timeout=1)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"this is no handshake\n")
    writer.close()


NATS_REFUSALS: list[tuple[str, Callable[[Site], Credentials], str]] = [
    ("no certificate", lambda site: Credentials(key=site.operator, ca=site.certs / "ca.pem"), "clients' certificates"),
    (
        "wrong authority",
        lambda site: site.credentials(ca=site.folder / "other" / "ca.pem"),
        "certificate is not accepted",
    ),
    (
        "certificate of another authority",
        lambda site: site.credentials(
            cert=site.folder / "other" / "client.pem", cert_key=site.folder / "other" / "client-key.pem"
        ),
        "does not accept the own certificate",
    ),
    (
        "expired certificate",
        lambda site: site.credentials(
            cert=site.folder / "past" / "client.pem", cert_key=site.folder / "past" / "client-key.pem"
        ),
        "does not accept the own certificate",
    ),
    ("wrong key", lambda site: site.credentials(make_key()), "refuses key"),
]


@pytest.mark.parametrize(
    ("credentials", "words"), [case[1:] for case in NATS_REFUSALS], ids=[c[0] for c in NATS_REFUSALS]
)
async def test_nats_turns_away(site: Site, credentials: Callable[[Site], Credentials], words: str) -> None:
    """Who does not fit gets no connection to NATS, and the error says why."""
    make_certificates(site.folder / "other")
    past = site.folder / "past"
    shutil.copytree(site.certs, past)
    (past / "client.pem").unlink()
    make_certificates(past, days=1, now=datetime.now(UTC) - timedelta(days=3))
    site.start_nats()
    with pytest.raises((ConnectionError, RendezvousError), match=words):
        await connect(site.server.url, name="test", timeout_s=3, credentials=credentials(site))


async def test_a_plain_nats_gets_no_key(nats_server: NatsServer, tmp_path: Path) -> None:
    """Who wants TLS says nothing to a server that offers none."""
    make_certificates(tmp_path / "certs")
    shown = Credentials(key=make_key(), ca=tmp_path / "certs" / "ca.pem")
    with pytest.raises(ConnectionError, match="does not offer TLS"):
        await connect(nats_server.url, name="test", timeout_s=2, credentials=shown)


async def test_a_key_that_comes_later(site: Site) -> None:
    """A model whose key is refused says so, is NOT_SERVING and tries again; once the key is known, it serves."""
    rights = site.users.pop(site.model)
    site.start_nats()
    await site.prepare()
    site.start_router()
    await site.make_consumer()
    model = site.start_model()
    address = f"127.0.0.1:{model.popen.args[-1]}"  # type: ignore[index]

    async def is_refused() -> bool:
        return f"refuses key {site.model.id}" in site.logs() and "NOT_SERVING" in await asyncio.to_thread(
            ask_health, address
        )

    await eventually(is_refused, "the refusal is told")
    site.users[site.model] = rights
    site.server.set_accounts(site.accounts())
    os.kill(site.server.pid, signal.SIGHUP)
    model.wait_ready()
    assert await asyncio.to_thread(ask_health, address) == ""


async def test_a_consumer_that_comes_later(site: Site) -> None:
    """A model that may not make its consumer waits for it, and takes its `ack_wait` as it is, with a warning."""
    site.start_nats()
    await site.prepare()
    site.start_router()
    model = site.start_model(RENDEZVOUS_ACK_WAIT="700ms")

    async def waits() -> bool:
        return "this key may not make it" in site.logs()

    await eventually(waits, "the wait is told")
    await site.make_consumer(ack_wait_s=2.0)
    model.wait_ready()
    assert "may not change it to 0.7 s: going on with 2 s" in site.logs()
    with Client(site.address, "sum", ca=site.certs / "ca.pem") as client:
        assert (await asyncio.to_thread(client.score, _ROW, timeout=5)).model == "first"


async def test_a_foreign_subject_is_named(site: Site) -> None:
    """What a key lacks is logged with the subject, and never the key."""
    site.start_nats()
    nc: Connection = await connect(site.server.url, name="test", timeout_s=5, credentials=site.credentials(site.model))
    await nc.publish("rv.sum.score.second.r", b"forged")
    await nc.flush()

    async def is_denied() -> bool:
        return nc.is_denied("rv.sum.score.second.r")

    await eventually(is_denied, "the server says so")
    await nc.close()

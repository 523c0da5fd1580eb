"""REST connections: slow, silent, too many, oversized, drained."""

import http.client
import json
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from rendezvous_router.rest import connection

from tests.rest.conftest import sum_spec
from tests.support.stack import Stack

MOST_TAKEN = connection.EARLY_BYTES + 20_000_000
"""What is dropped of a body, and what the system's buffers hold."""
PATH = "/v1/endpoints/sum/score"
BODY = json.dumps({"rows": [{"a": 1.5, "b": 2, "tag": "x"}]}).encode()
HEAD = b"POST /v1/endpoints/sum/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def _connect(stack: Stack) -> socket.socket:
    address = urlsplit(stack.rest)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 0), timeout=30)


def _read(wire: socket.socket) -> bytes:
    received = b""
    while octets := wire.recv(65536):
        received += octets
    return received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b"408"),
        (b"POST /v1/", b"408"),
        (HEAD, b"408"),
        (HEAD + b"content-length: 50\r\n\r\n{", b"408"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"408"),
        (HEAD + b"x: " + b"a" * 17_000, b"431"),
        (HEAD + b"".join(b"x%d: y\r\n" % number for number in range(2000)) + b"\r\n", b"431"),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"\x16\x03\x01 this is TLS", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", b"400"),
        (HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", b"400"),
        (HEAD + b"content-length: -5\r\n\r\n", b"400"),
        (HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: gzip\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_in_time(site: Stack, sent: bytes, status: bytes) -> None:
    """Silence, slow heads and bodies, oversized heads and what is no HTTP: a problem, and the end of the connection."""
    with closing(_connect(site)) as wire:
        started = time.monotonic()
        wire.sendall(sent)
        answer = _read(wire)
        took_s = time.monotonic() - started
    assert answer.split()[1] == status
    assert b"application/problem+json" in answer
    assert took_s < connection.HEAD_S + 3
    assert took_s > connection.HEAD_S - 1 or status != b"408"


def test_a_trickle_is_no_progress(site: Stack) -> None:
    """A body that comes by single bytes is given up, however regularly they come."""
    with closing(_connect(site)) as wire:
        wire.sendall(HEAD + b"content-length: 100000\r\n\r\n")
        wire.settimeout(0.2)
        started = time.monotonic()
        answer = b""
        while not answer and time.monotonic() - started < connection.BODY_S + 5:
            try:
                wire.sendall(b" ")
                answer = wire.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408"), answer


def test_pipelined_requests_are_answered_in_their_order(site: Stack) -> None:
    """Requests sent without waiting get their answers one after the other; rubbish behind them takes none away."""
    each = b"content-length: %d\r\nx-request-id: pipe-%d\r\n\r\n"
    with closing(_connect(site)) as wire:
        wire.sendall(b"".join(HEAD + each % (len(BODY), number) + BODY for number in range(5)))
        received = b""
        while received.count(b'"rows":') < 5:
            received += wire.recv(65536)
    order = [received.index(b"x-request-id: pipe-%d" % number) for number in range(5)]
    assert order == sorted(order)


def test_an_upgrade_is_not_followed(site: Stack) -> None:
    """Java's client offers HTTP/2 with its first request: it is answered over HTTP/1.1, and so are the next ones."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"
    with closing(_connect(site)) as wire:
        for upgrade in (offer, b"", offer):
            wire.sendall(HEAD + upgrade + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
            received = b""
            while b'"rows":' not in received:
                octets = wire.recv(65536)
                assert octets, received
                received += octets
            assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD.replace(b"/sum/", b"/nowhere/") + b"transfer-encoding: chunked\r\n\r\n", b"404"),
        (HEAD + b"content-length: 300000000\r\n\r\n", b"413"),
        (HEAD + b"content-encoding: rot13\r\ntransfer-encoding: chunked\r\n\r\n", b"415"),
    ],
)
def test_a_body_ends_soon_after_its_answer(site: Stack, head: bytes, status: bytes) -> None:
    """Who is answered before the body's end may send a little more of it, is told so, and then disconnected."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with closing(_connect(site)) as wire:
        wire.sendall(head)
        answer = wire.recv(65536)
        assert answer.split()[1] == status
        assert b"\r\nconnection: close\r\n" in answer
        taken = 0
        with suppress(ConnectionError):
            while taken < 2 * MOST_TAKEN:
                wire.sendall(chunk)
                taken += len(chunk)
        assert taken < MOST_TAKEN
    with closing(_connect(site)) as wire:
        started = time.monotonic()
        wire.sendall(head)
        assert _read(wire).split()[1] == status
        assert time.monotonic() - started < connection.EARLY_S + 3


@pytest.mark.parametrize("mib", [6, 20])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_who_sends_all_before_reading_gets_the_answer(site: Stack, mib: int, *, is_chunked: bool) -> None:
    """A body far over the limit is refused early; a client that looks only when it has sent all of it reads why."""
    block = b" " * (1 << 20)
    address = urlsplit(site.rest).netloc
    for _ in range(5):
        with closing(http.client.HTTPConnection(address, timeout=20)) as client:
            body = (block for _ in range(mib)) if is_chunked else block * mib
            client.request("POST", PATH, body, {"content-type": "application/json"}, encode_chunked=is_chunked)
            answer = client.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (413, "TOO_LARGE")


def test_a_whole_body_behind_its_answer_ends_the_connection(site: Stack) -> None:
    """The end of a body that nobody waits for is not taken for a request of its own."""
    with closing(_connect(site)) as wire:
        wire.sendall(HEAD.replace(b"/sum/", b"/nowhere/") + b"content-length: 10\r\n\r\n")
        answer = wire.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404")
        started = time.monotonic()
        wire.sendall(b" " * 10)
        assert b"HTTP/1.1" not in _read(wire)
        assert time.monotonic() - started < 2


def test_a_thousand_open_connections(site: Stack, http: requests.Session) -> None:
    """A thousand silent connections cost others nothing but memory, and are gone after their time."""
    assert site.router is not None
    router = psutil.Process(site.router.popen.pid)
    before = router.num_fds()
    with ExitStack() as opened:
        wires = [opened.enter_context(closing(_connect(site))) for _ in range(1000)]
        assert http.post(f"{site.rest}/v1/endpoints/sum/score", json=json.loads(BODY)).status_code == 200
        assert all(_read(wire).startswith(b"HTTP/1.1 408") for wire in wires)
        give_up = time.monotonic() + 10
        while router.num_fds() > before + 5:
            assert time.monotonic() < give_up, "connections are kept"
            time.sleep(0.05)


@pytest.fixture
async def own(stack: Stack) -> Stack:
    """An installation of the test's own, with few connections."""
    await stack.apply(sum_spec())
    stack.start_router("--rest-connections", "3")
    stack.start_model("tests.rest.echo_models:plus")
    return stack


def test_one_connection_too_many(own: Stack, http: requests.Session) -> None:
    """Beyond the limit a connection is refused as overloaded, with a hint when to come again; then there is room."""
    with ExitStack() as opened:
        held = [opened.enter_context(closing(_connect(own))) for _ in range(3)]
        with closing(_connect(own)) as wire:
            answer = _read(wire)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert b'"code":"OVERLOADED"' in answer
        held[0].close()
        give_up = time.monotonic() + 10
        while http.get(f"{own.rest}/healthz", headers={"connection": "close"}).status_code != 200:
            assert time.monotonic() < give_up
    assert http.get(f"{own.rest}/readyz").text == "ready\n"


def test_accepted_requests_are_answered_on_sigterm(own: Stack) -> None:
    """SIGTERM: what was accepted is answered, a new connection is refused, the process ends well."""
    assert own.router is not None
    with ExitStack() as opened:
        wires = [opened.enter_context(closing(_connect(own))) for _ in range(3)]
        for wire in wires:
            wire.sendall((HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY) * 20)
        own.router.popen.send_signal(signal.SIGTERM)
        answers = [_read(wire) for wire in wires]
    assert own.router.popen.wait(20) == 0
    for answer in answers:
        assert answer.count(b"HTTP/1.1 200") + answer.count(b"HTTP/1.1 503") >= 1
        assert b"HTTP/1.1 500" not in answer
    with pytest.raises(OSError, match="refused"):
        _connect(own).close()


def test_a_client_that_does_not_wait(site: Stack, http: requests.Session) -> None:
    """Clients that go away in the middle, at every point, do no harm."""
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    threads = []
    for end in range(1, len(whole), 7):

        def leave(end: int = end) -> None:
            with closing(_connect(site)) as wire:
                wire.sendall(whole[:end])

        threads.append(threading.Thread(target=leave))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert http.post(f"{site.rest}/v1/endpoints/sum/score", json=json.loads(BODY)).status_code == 200
    assert site.router is not None
    assert "Traceback" not in site.router.log.read_text()

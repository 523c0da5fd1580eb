"""Abuse of both doors by whoever can connect: refused or bounded, and others are served on time meanwhile."""

import asyncio
import gzip
import json
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import grpc
import h2.config
import h2.connection
import h2.exceptions
import psutil
import pytest
import requests
import zstandard
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.rest import connection

from tests.rest.conftest import sum_spec
from tests.support.crowd import PREFACE
from tests.support.processes import Process
from tests.support.regular import undisturbed
from tests.support.stack import Stack

CONNECTIONS = 10_000
SLOW = 200
STREAMS = 10_000
SCORE = "/rendezvous.v1.Score/Score"
PATH = "/v1/endpoints/sum/score"
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n".encode()
GIB = 1 << 30


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A router that takes many connections, and a model."""
    folder = tmp_path_factory.mktemp("abuse")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    try:
        asyncio.run(stack.apply(sum_spec()))
        stack.start_router("--rest-connections", "12000")
        stack.start_model("tests.rest.echo_models:plus")
        with undisturbed(stack, grown_mib=1 << 20):
            time.sleep(0.5)  # what is loaded with the first requests is not charged to abuse
        yield stack
    finally:
        stack.stop()
        server.stop()


def _connect(stack: Stack, kind: str = "rest") -> socket.socket:
    host, port = _address(stack, kind)
    return socket.create_connection((host, port), timeout=30)


def _address(stack: Stack, kind: str) -> tuple[str, int]:
    address = urlsplit(stack.rest if kind == "rest" else f"http://{stack.address}")
    assert address.hostname is not None
    assert address.port is not None
    return address.hostname, address.port


def _read(wire: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError, TimeoutError):
        while octets := wire.recv(65536):
            received += octets
    return received


def _zeros(pack: Callable[[bytes], bytes], end: Callable[[], bytes], size: int = GIB) -> bytes:
    block = bytes(1 << 20)
    return b"".join([*(pack(block) for _ in range(size >> 20)), end()])


def _bomb(encoding: str) -> bytes:
    if encoding == "zstd":
        packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
        return _zeros(packer.compress, packer.flush)
    deflating = zlib.compressobj(1, wbits=31 if encoding == "gzip" else 15)
    return _zeros(deflating.compress, deflating.flush)


BODIES: list[tuple[str, bytes, set[int]]] = [
    ("depth of 100,000", b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", {400}),
    ("objects to a depth of 100,000", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {400}),
    ("9 MB of lists", b"[" + b"[]," * 3_000_000 + b"[]]", {413}),
    ("4 MB of lists", b'{"columns": {"a": [' + b"[]," * 1_300_000 + b"[]]}}", {400, 413}),
    ("4 MB of keys", b'{"rows": [{' + b",".join(b'"%d": 0' % i for i in range(300_000)) + b"}]}", {400, 413}),
    ("a number of 4 million digits", b'{"rows": [{"a": ' + b"9" * 4_000_000 + b"}]}", {400}),
    ("an exponent without end", b'{"rows": [{"a": 1e' + b"9" * 100_000 + b"}]}", {400}),
    ("NaN", b'{"rows": [{"a": NaN, "b": 2, "tag": "x"}]}', {400}),
    ("Infinity", b'{"rows": [{"a": -Infinity, "b": 2, "tag": "x"}]}', {400}),
    ("a key twice", b'{"rows": [{"a": 1, "a": 2, "b": 2, "tag": "x"}]}', {400}),
    ("a key 100,000 times", b'{"rows": [{' + b'"a": 1,' * 100_000 + b'"a": 1}]}', {400}),
]


def test_bodies_that_cost(door: Stack) -> None:
    """Depth, size, digits, NaN, keys there twice: each is refused within 2 s, and a good client notices nothing."""
    with undisturbed(door), requests.Session() as http:
        for what, body, statuses in BODIES:
            started = time.monotonic()
            answer = http.post(door.rest + PATH, data=body, headers={"content-type": "application/json"}, timeout=20)
            assert answer.status_code in statuses, (what, answer.text)
            assert time.monotonic() - started < 2, what
            assert len(answer.content) < 5000, what


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_over_rest(door: Stack, encoding: str) -> None:
    """A GiB of zeros, compressed, is given up at the limit: 413 in no time, and no memory is kept."""
    bomb = _bomb(encoding)
    headers = {"content-type": "application/json", "content-encoding": encoding}
    with undisturbed(door):
        started = time.monotonic()
        answers = [requests.post(door.rest + PATH, data=bomb[: 4 << 20], headers=headers, timeout=20) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {413}
        assert time.monotonic() - started < 5


def test_a_bomb_over_grpc(door: Stack) -> None:
    """64 MiB of zeros, compressed by gRPC, are refused as too large."""
    with undisturbed(door), grpc.insecure_channel(door.address) as channel:
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(SCORE)(bytes(64 << 20), compression=grpc.Compression.Gzip, timeout=20)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_million_chunks(door: Stack) -> None:
    """A body in a million chunks of a byte is read or refused; it holds nobody up."""
    with undisturbed(door), closing(_connect(door)) as wire:
        with suppress(ConnectionError):
            wire.sendall(HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(100):
                wire.sendall(b"1\r\n \r\n" * 10_000)
            wire.sendall(b"0\r\n\r\n")
        assert _read(wire).split()[1] in (b"400", b"408", b"413")


def test_oversized_heads(door: Stack) -> None:
    """Long headers, and a hundred thousand of them: 431 over REST, RESOURCE_EXHAUSTED or a reset over gRPC."""
    with undisturbed(door):
        for head in (b"x: " + b"a" * 1_000_000, b"".join(b"x%d: y\r\n" % i for i in range(100_000))):
            with closing(_connect(door)) as wire:
                with suppress(ConnectionError):
                    wire.sendall(HEAD + head + b"\r\n\r\n")
                answer = _read(wire)
                assert not answer or answer.startswith(b"HTTP/1.1 431"), answer[:200]
        for metadata in ([("x", "a" * 100_000)], [(f"x{i}", "y" * 10) for i in range(5000)]):
            with grpc.insecure_channel(door.address) as channel, pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(SCORE)(b"", metadata=metadata, timeout=10)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_two_hundred_slow_ones(door: Stack) -> None:
    """Heads and bodies at a byte a second, two hundred at once: given up in time; a good client is served on time."""
    with undisturbed(door), ExitStack() as opened:
        wires = [opened.enter_context(closing(_connect(door))) for _ in range(SLOW)]
        for wire in wires[SLOW // 2 :]:
            wire.sendall(HEAD + b"content-length: 100000\r\n\r\n")
        for wire in wires:
            wire.setblocking(False)
        started, open_yet = time.monotonic(), set(wires)
        while open_yet:
            assert time.monotonic() - started < connection.BODY_S + 8, f"{len(open_yet)} are kept"
            for wire in tuple(open_yet):
                try:
                    wire.send(b"P" if wire in wires[: SLOW // 2] else b" ")
                    answer = wire.recv(4096)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    answer = b""
                assert not answer or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), answer
                open_yet.discard(wire)
            time.sleep(1)  # the rate at which they are slow


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_ten_thousand_connections(door: Stack, kind: str) -> None:
    """Ten thousand connections that say nothing more cost memory for themselves only, and are closed in the end."""
    assert door.router is not None
    router = psutil.Process(door.router.popen.pid)
    files = router.num_fds()
    host, port = _address(door, kind)
    command = [sys.executable, "-m", "tests.support.crowd", host, str(port), str(CONNECTIONS), kind]
    with undisturbed(door, grown_mib=700):
        crowd = Process(command, log=door.folder / f"crowd-{kind}.log", ready="ready")
        try:
            held = int(crowd.wait_ready().split()[1])
            print(
                f"{held} connections over {kind}: router {router.memory_info().rss >> 20} MiB, {router.num_fds()} files"
            )
            assert held >= min(CONNECTIONS, 3000), "the limit of open files is too low for this test: ulimit -n"
            assert requests.get(f"{door.rest}/healthz", timeout=5).status_code == 200
        finally:
            crowd.kill()
        give_up = time.monotonic() + 20
        while router.num_fds() > files + 50:
            assert time.monotonic() < give_up, "connections are kept"
            time.sleep(0.1)


def _h2(wire: socket.socket) -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    wire.sendall(client.data_to_send())
    return client


def _reset_rapidly(wire: socket.socket) -> None:
    """Opens streams and resets each at once."""
    client = _h2(wire)
    headers = [(":method", "POST"), (":scheme", "http"), (":path", SCORE), (":authority", "x"), ("te", "trailers")]
    for number in range(STREAMS):
        stream = 1 + 2 * number
        client.send_headers(stream, [*headers, ("content-type", "application/grpc")])
        client.reset_stream(stream)
        if number % 100 == 99:
            wire.sendall(client.data_to_send())


def _flood(frame: bytes, count: int) -> Callable[[socket.socket], None]:
    def send(wire: socket.socket) -> None:
        wire.sendall(PREFACE)
        for _ in range(count // 1000):
            wire.sendall(frame * 1000)

    return send


FLOODS: dict[str, Callable[[socket.socket], None]] = {
    "rapid reset": _reset_rapidly,
    "pings": _flood(b"\0\0\x08\6\0\0\0\0\0" + b"12345678", 200_000),
    "settings": _flood(b"\0\0\0\4\0\0\0\0\0", 200_000),
    "window updates": _flood(b"\0\0\4\x08\0\0\0\0\0\0\0\0\1", 200_000),
    "a frame of 16 MiB": _flood(b"\xff\xff\xff\0\0\0\0\0\1" + bytes(16000), 1000),
    "headers without end": _flood(b"\0\x40\0\1\0\0\0\0\1" + bytes(16384), 1000),
    "continuations without end": lambda wire: wire.sendall(
        PREFACE + b"\0\0\0\1\0\0\0\0\1" + (b"\0\x40\0\x09\0\0\0\0\1" + b"\x40\x01a\x01b" * 3276 + b"\x40\x01ab") * 500
    ),
    "rubbish": _flood(b"\x16\x03\x01" + bytes(range(256)), 10_000),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_floods_over_http_2(door: Stack, flood: str) -> None:
    """Frames that cost their sender nothing end the connection or are swallowed; others are served on time."""
    with undisturbed(door), closing(_connect(door, "grpc")) as wire:
        wire.settimeout(10)
        with suppress(ConnectionError, TimeoutError):
            FLOODS[flood](wire)
        wire.settimeout(0.5)
        _read(wire)


def test_all_of_it_left_a_router_that_serves(door: Stack) -> None:
    """After everything above the router answers both doors and has no more files open than a few."""
    assert door.router is not None
    with undisturbed(door):
        assert requests.get(f"{door.rest}/readyz", timeout=5).text == "ready\n"
    body = gzip.compress(json.dumps({"rows": [{"a": 1.5, "b": 2, "tag": "x"}]}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert requests.post(door.rest + PATH, data=body, headers=headers, timeout=5).status_code == 200
    assert psutil.Process(door.router.popen.pid).num_fds() < 200

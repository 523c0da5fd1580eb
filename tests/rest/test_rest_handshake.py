"""HTTPS connections before they are any: those that never shake hands do not last."""

import re
import socket
import ssl
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests
from rendezvous_router.rest import connection
from rendezvous_router.tls.development import make_certificates

from tests.rest.conftest import sum_spec
from tests.support.stack import Stack

MOST = 3


class Door:
    """A router that serves HTTPS to few connections."""

    def __init__(self, stack: Stack, certs: Path) -> None:
        arguments = ["--cert", str(certs / "router.pem"), "--cert-key", str(certs / "router-key.pem")]
        line = stack.start_router("--rest-connections", str(MOST), *arguments).ready_line
        found = re.search(r"rest https://([^:]+):(\d+)", line)
        assert found is not None, line
        self.host, self.port, self.ca = found[1], int(found[2]), certs / "ca.pem"

    def connect(self) -> socket.socket:
        """Connects, and says nothing."""
        return socket.create_connection((self.host, self.port), timeout=30)

    def ask(self) -> bytes:
        """Sends handshake and request, in one go where TLS allows, and returns what comes back."""
        context = ssl.create_default_context(cafile=self.ca)
        with closing(self.connect()) as plain, context.wrap_socket(plain, server_hostname="localhost") as wire:
            wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            received = b""
            while octets := wire.recv(65536):
                received += octets
            return received

    def ask_until_answered(self) -> bytes:
        """The same, again while there is no room: of a connection's end its client knows first."""
        give_up = time.monotonic() + 5
        while True:
            try:
                return self.ask()
            except (ConnectionError, ssl.SSLError):
                assert time.monotonic() < give_up, "connections are kept"


@pytest.fixture
async def door(stack: Stack, tmp_path: Path) -> Door:
    """Such a router, ready."""
    make_certificates(tmp_path / "certs")
    await stack.apply(sum_spec())
    return Door(stack, tmp_path / "certs")


def _is_ended(wire: socket.socket) -> bool:
    try:
        return wire.recv(1024) == b""
    except ConnectionError:
        return True


async def test_silent_connections_end(door: Door) -> None:
    """After the handshake's time all are gone, and there is room."""
    with ExitStack() as opened:
        silent = [opened.enter_context(closing(door.connect())) for _ in range(MOST)]
        started = time.monotonic()
        assert all(_is_ended(wire) for wire in silent)
        assert time.monotonic() - started < connection.HANDSHAKE_S + 3
    assert door.ask_until_answered().startswith(b"HTTP/1.1 200")


async def test_broken_handshakes_leave_no_trace(door: Door) -> None:
    """Whoever leaves in the middle, or speaks no TLS, is counted out; requests behind a handshake are answered."""
    for _ in range(3 * MOST):
        with closing(door.connect()) as wire:
            wire.sendall(b"\x16\x03\x01")
        with closing(door.connect()) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while wire.recv(1024):
                pass
        answer = door.ask_until_answered()
        assert answer.startswith(b"HTTP/1.1 200")
    with requests.Session() as session:
        for _ in range(5):
            answer = session.get(f"https://localhost:{door.port}/readyz", verify=str(door.ca))
            assert answer.status_code == 200

"""Fixtures of the tests across components."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rendezvous_router.nats_server import NatsServer

from tests.support.stack import Stack


@pytest.fixture
def stack(tmp_path: Path, nats_server: NatsServer) -> Iterator[Stack]:
    """An installation with nothing in it but a running nats-server."""
    installation = Stack(tmp_path, nats_server)
    try:
        yield installation
    finally:
        installation.stop()

"""Fixtures for all suites: a real nats-server on a free port."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rendezvous_router.nats_server import NatsServer

import rendezvous  # noqa: F401 # before pytest makes a package of the folder that has the same name


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A running nats-server with JetStream, flushed before each acknowledgement, in a folder of its own."""
    server = NatsServer(store=tmp_path / "nats")
    server.start()
    try:
        yield server
    finally:
        server.stop()

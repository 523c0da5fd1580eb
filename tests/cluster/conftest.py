"""Fixtures: a NATS cluster of three real servers, and an installation on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import NatsCluster
from tests.support.stack import Stack


@pytest.fixture
def nats_cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """Three running nats-servers in a cluster, flushed before each acknowledgement."""
    cluster = NatsCluster(tmp_path / "nats")
    try:
        cluster.start_all()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster_stack(tmp_path: Path, nats_cluster: NatsCluster) -> Iterator[Stack]:
    """An installation with nothing in it but the cluster."""
    installation = Stack(tmp_path, nats_cluster)
    try:
        yield installation
    finally:
        installation.stop()

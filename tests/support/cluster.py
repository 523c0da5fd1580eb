"""A NATS cluster of three real servers on loopback, each a process with a folder of its own."""

import contextlib
import json
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import nats
from nats.js.errors import NotFoundError
from rendezvous_router.nats_server import ClusterNode, NatsServer, find_free_port

NODES = 3
START_TIMEOUT_S = 30.0
_POLL_S = 0.05


class NatsCluster:
    """See the module's docstring. Each server flushes before it acknowledges (`sync_interval: always`).

    Args:
        folder: where the servers keep their folders; made when missing.
        nodes: how many servers.
    """

    def __init__(self, folder: Path, *, nodes: int = NODES) -> None:
        routes = tuple(find_free_port() for _ in range(nodes))
        self.nodes = [
            NatsServer(
                store=folder / f"n{number}",
                node=ClusterNode(
                    name=f"n{number}", cluster="test", port=port, routes=routes, monitor_port=find_free_port()
                ),
            )
            for number, port in enumerate(routes)
        ]

    @property
    def urls(self) -> str:
        """Addresses for clients, separated by commas; also of servers that are down."""
        return ",".join(node.url for node in self.nodes)

    @property
    def url(self) -> str:
        """The same, under the name that a lone server has."""
        return self.urls

    def start_all(self) -> None:
        """Starts every server and waits until the cluster has a leader and all its servers take part."""
        for node in self.nodes:
            node.start()
        self.wait_healthy()

    def start(self, number: int) -> None:
        """Starts a server that was ended; does not wait until it has caught up (`wait_healthy`)."""
        self.nodes[number].start()

    def kill(self, number: int) -> None:
        """Ends a server at once (SIGKILL)."""
        self.nodes[number].kill()

    def stop(self) -> None:
        """Ends every server at once: what they keep is the test's alone."""
        for node in self.nodes:
            node.kill()

    def signal(self, number: int, what: signal.Signals) -> None:
        """Sends a signal to a server: SIGSTOP makes it silent, SIGCONT lets it speak again."""
        os.kill(self.nodes[number].pid, what)

    def wait_healthy(self, *, within_s: float = START_TIMEOUT_S) -> None:
        """Waits until every running server says that it is current, and the cluster has a leader of all its servers.

        Raises:
            AssertionError: not in time.
        """
        give_up = time.monotonic() + within_s
        while not all(self._is_healthy(node) for node in self.nodes if node.is_running):
            if time.monotonic() > give_up:
                raise AssertionError(f"the cluster was not healthy within {within_s:g} s: {self.leader()}")
            time.sleep(_POLL_S)

    def leader(self) -> int | None:
        """Returns the number of the server that leads the cluster; None while there is none."""
        for node in self.nodes:
            if node.is_running:
                page = _read(node, "/jsz")
                name = page.get("meta_cluster", {}).get("leader", "") if page else ""
                if name:
                    return self._number(name)
        return None

    async def leader_of(self, stream: str, consumer: str | None = None) -> int | None:
        """Returns the number of the server that leads a stream, or a consumer of it; None: none does now."""
        client = await nats.connect(self._running_urls(), max_reconnect_attempts=1)
        try:
            js = client.jetstream(timeout=1.0)
            info = (
                await js.stream_info(stream) if consumer is None else await js.consumer_info(stream, consumer)
            ).cluster
        except (nats.errors.Error, TimeoutError) as error:
            if isinstance(error, NotFoundError):
                raise
            return None
        finally:
            await client.close()
        return self._number(info.leader) if info is not None and info.leader else None

    def _running_urls(self) -> list[str]:
        return [node.url for node in self.nodes if node.is_running]

    def _number(self, name: str) -> int | None:
        names = [node.node.name for node in self.nodes if node.node is not None]
        return names.index(name) if name in names else None

    def _is_healthy(self, node: NatsServer) -> bool:
        if (_read(node, "/healthz") or {}).get("status") != "ok":
            return False
        meta = (_read(node, "/jsz") or {}).get("meta_cluster", {})
        return bool(meta.get("leader")) and meta.get("cluster_size") == len(self.nodes)


def _read(node: NatsServer, path: str) -> dict[str, Any] | None:
    """Returns a monitoring page; None when it is not to be had (the server starts, or says that it is not well)."""
    assert node.node is not None, "a cluster's servers have a place in it"
    url = f"http://{node.host}:{node.node.monitor_port}{path}"
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=1.0) as page:
        return dict(json.load(page))
    return None

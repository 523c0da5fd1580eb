"""Servers and routers of a cluster killed under load: nothing that was accepted is lost."""

import asyncio
import signal
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError
from rendezvous_proto.errors import UnavailableError
from rendezvous_proto.postbox import durable_stream
from rendezvous_proto.v1 import DecisionRecord
from rendezvous_router.archive.verify import EndpointReport, read_stream_states, verify_endpoint
from rendezvous_router.nats_server import find_free_port
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.nats_connection import connect

from tests.cluster.answers_on_record import check_record, read_record
from tests.support.balancer import Balancer
from tests.support.cluster import NatsCluster
from tests.support.open_loop import OpenLoop
from tests.support.processes import Process
from tests.support.stack import ENDPOINT, Stack, eventually

RATE = 50.0
TIMEOUT_S = 30.0
"""The clients' deadline, retries included."""
FAILOVER_S = 20.0
"""What docs/cluster.md states."""
RESTART_S = 4.0
"""The same, where servers end in an orderly way: less than an election takes."""

SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}, "second": {"role": "challenger"}},
    "policy": {
        "deadline": "2s",
        "steps": [{"until": "500ms", "take": "best", "of": ["first"]}, {"take": "first"}],
        "otherwise": {"total": -1.0, "label": "refer"},
    },
    "postbox": {"replicas": 3},
}


class Installation:
    """A cluster, two routers behind one address, two replicas of each of two models, an archive."""

    def __init__(self, stack: Stack, cluster: NatsCluster, archive: Path) -> None:
        self.stack = stack
        self.cluster = cluster
        self.archive = archive
        self.routers: list[Process] = []
        self.balancer: Balancer | None = None

    async def start(self, spec: dict[str, Any]) -> None:
        """Starts everything and waits until it serves."""
        await self.stack.apply(spec)
        ports = [(find_free_port(), find_free_port()) for _ in range(2)]
        for grpc, metrics in ports:
            self.stack.grpc_port = grpc
            self.routers.append(self.stack.start_router("--metrics-port", str(metrics)))
        for name in spec["models"]:
            for _ in range(2):
                self.stack.start_model(f"tests.support.models:{name}", "--ack-wait", "500ms")
        self.stack.start_archive(self.archive)
        self.balancer = Balancer(self.stack.folder, ports)

    async def check_archive(self) -> EndpointReport:
        """Waits until the archive has all that the stream has, and returns what the archive holds."""
        await asyncio.to_thread(self.cluster.wait_healthy)
        client = await connect(self.cluster.urls, name="test", timeout_s=5)
        reports: list[EndpointReport] = []

        async def complete() -> bool:
            try:
                streams = await read_stream_states(client, "sum")
            except (NatsError, TimeoutError, UnavailableError):
                return False  # a server that came back does not know yet who leads
            reports.append(verify_endpoint(ArchiveRoot.parse(self.archive), "default", "sum", streams=streams))
            return reports[-1].pending == 0

        try:
            await eventually(complete, "the archive has all that the stream has", within_s=40.0)
        finally:
            await client.close()
        return reports[-1]

    async def read_record(self) -> dict[str, list[DecisionRecord]]:
        """Ends the routers that live, so that they write what they have, and returns the record."""
        codes = [await asyncio.to_thread(each.stop) for each in self.routers if each.popen.poll() is None]
        assert codes == [0] * len(codes)
        return await read_record(self.cluster.urls, "sum")


@pytest.fixture
def installation(cluster_stack: Stack, nats_cluster: NatsCluster, tmp_path: Path) -> Iterator[Installation]:
    """See `Installation`; not started."""
    made = Installation(cluster_stack, nats_cluster, tmp_path / "archive")
    try:
        yield made
    finally:
        if made.balancer is not None:
            made.balancer.stop()


@pytest.mark.timeout(300)
async def test_servers_and_a_router_die_under_load(installation: Installation, nats_cluster: NatsCluster) -> None:
    """A server dies and comes back, the stream's leader dies, a router dies, at 50 requests a second.

    Every request is answered, with its own rows, within the time of docs/cluster.md; the archive is complete, and the
    record has one decision of each, the client's, but for retries and the killed router's last moment.
    """
    await installation.start(SPEC)
    assert installation.balancer is not None
    load = OpenLoop(installation.balancer.address, rate=RATE, timeout_s=TIMEOUT_S)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(4.0)

    leader = await nats_cluster.leader_of(durable_stream("sum"))
    assert leader is not None
    follower = (leader + 1) % 3
    faults = {"a server": load.now_s}
    await asyncio.to_thread(nats_cluster.kill, follower)
    await asyncio.sleep(10.0)
    faults["the server back"] = load.now_s
    await asyncio.to_thread(nats_cluster.start, follower)
    await asyncio.to_thread(nats_cluster.wait_healthy)
    await asyncio.sleep(2.0)

    leader = await nats_cluster.leader_of(durable_stream("sum"))
    assert leader is not None
    faults["the stream's leader"] = load.now_s
    await asyncio.to_thread(nats_cluster.kill, leader)
    await asyncio.sleep(10.0)
    await elected(nats_cluster)

    faults["a router"] = load.now_s
    await asyncio.to_thread(installation.routers[0].kill)
    await asyncio.sleep(6.0)
    load.stop()
    await running
    await asyncio.to_thread(nats_cluster.start, leader)

    describe(load, faults)
    check_outcomes(load)
    report = await installation.check_archive()
    check_archive(load, report)
    check_record(load, await installation.read_record(), killed_s=faults["a router"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGSTOP], ids=["ends", "hangs"])
async def test_the_leader_ends_or_hangs_under_load(
    installation: Installation, nats_cluster: NatsCluster, what: signal.Signals
) -> None:
    """The server that leads the stream is told to end, or hangs with its connections open: as if it were killed."""
    await installation.start(SPEC)
    assert installation.balancer is not None
    load = OpenLoop(installation.balancer.address, rate=RATE, timeout_s=TIMEOUT_S)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(4.0)
    leader = await nats_cluster.leader_of(durable_stream("sum"))
    assert leader is not None
    since_s = load.now_s
    nats_cluster.signal(leader, what)
    await asyncio.sleep(12.0)
    await elected(nats_cluster, other_than=leader)
    load.stop()
    await running
    describe(load, {f"the leader gets {what.name}": since_s})
    if what == signal.SIGSTOP:
        nats_cluster.signal(leader, signal.SIGCONT)
    else:
        await asyncio.to_thread(nats_cluster.nodes[leader].stop)
        await asyncio.to_thread(nats_cluster.start, leader)
    check_outcomes(load)
    check_archive(load, await installation.check_archive())
    check_record(load, await installation.read_record())


@pytest.mark.timeout(300)
async def test_servers_are_restarted_one_by_one(installation: Installation, nats_cluster: NatsCluster) -> None:
    """Each server is told to end and started again, once the one before is well: nobody waits for an election."""
    await installation.start(SPEC)
    assert installation.balancer is not None
    load = OpenLoop(installation.balancer.address, rate=RATE, timeout_s=TIMEOUT_S)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(3.0)
    faults = {}
    for number, node in enumerate(nats_cluster.nodes):
        faults[f"server {number} restarted"] = load.now_s
        await asyncio.to_thread(node.stop)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(nats_cluster.wait_healthy)
        await asyncio.sleep(2.0)
    load.stop()
    await running
    describe(load, faults)
    check_outcomes(load)
    assert load.latest_s() < RESTART_S
    check_archive(load, await installation.check_archive())
    check_record(load, await installation.read_record())


async def elected(cluster: NatsCluster, *, other_than: int | None = None) -> None:
    """Waits until the endpoint's stream has a leader, for as long as docs/cluster.md allows."""

    async def led() -> bool:
        return await cluster.leader_of(durable_stream("sum")) not in (None, other_than)

    await eventually(led, "the stream has a leader", within_s=FAILOVER_S)


def check_outcomes(load: OpenLoop) -> None:
    """Every request has an answer, of its own rows, in time."""
    assert [outcome.failure for outcome in load.outcomes if outcome.failure is not None] == []
    for outcome in load.outcomes:
        reply = outcome.reply
        assert reply is not None
        assert reply.request_id == outcome.request_id
        total = reply.outputs.columns[0].values
        if reply.decision.rule != "otherwise":
            assert struct.unpack("<d", total) == (outcome.number + 1.0,)
    assert load.latest_s() < FAILOVER_S


def check_archive(load: OpenLoop, report: EndpointReport) -> None:
    """The archive has every request, once a parcel; in several parcels only those that were sent again."""
    assert report.is_complete
    assert report.requests == len(load.outcomes)
    retried = {outcome.request_id for outcome in load.outcomes if outcome.attempts > 1}
    assert set(report.repeated_requests) <= retried


def describe(load: OpenLoop, faults: dict[str, float]) -> None:
    """Prints what happened around each fault: the figures of docs/cluster.md."""
    moments = [*faults.values(), float("inf")]
    print(f"{len(load.outcomes)} requests, rules {dict(load.rules())}")
    for (what, since_s), until_s in zip(faults.items(), moments[1:], strict=True):
        struck = [each for each in load.outcomes if since_s - 3 <= each.due_s < until_s]
        again = [each for each in struck if each.attempts > 1]
        over_s = max((each.due_s + each.took_s - since_s for each in again), default=0.0)
        rules = load.rules(since_s - 3, until_s)
        print(
            f"{what} at {since_s:.1f} s: slowest {max(each.took_s for each in struck):.2f} s, sent again {len(again)}, "
            f"the last of them ended after {over_s:.2f} s, rules {dict(rules)}"
        )
        for error, count in Counter(error for each in struck for error in each.errors).most_common(8):
            print(f"    {count} x {error}")

"""The router's postbox while a stream's server says nothing."""

import asyncio
import signal

import pytest
from nats.aio.client import Client
from rendezvous.spec import parse_spec
from rendezvous_proto.postbox import durable_stream, input_subject
from rendezvous_router.postbox import Postbox, PostboxError
from rendezvous_router.streams import ensure_streams

from tests.support.cluster import NatsCluster
from tests.support.stack import ENDPOINT

STREAM = durable_stream("sum")
SUBJECT = input_subject("sum")


async def open_postbox(cluster: NatsCluster, number: int) -> Postbox:
    """Connects to one server of the cluster, and stays there."""
    return await Postbox.open(cluster.nodes[number].url, router="r", timeout_s=5.0)


async def stored(client: Client) -> list[bytes]:
    """Returns the messages of the stream, in order."""
    js = client.jetstream()
    last = (await js.stream_info(STREAM)).state.last_seq
    return [(await js.get_msg(STREAM, seq=sequence)).data or b"" for sequence in range(1, last + 1)]


async def test_a_message_to_a_silent_leader_is_kept_once(nats_cluster: NatsCluster) -> None:
    """Sent to a leader that hangs, it is sent again, kept by the next leader, and not a second time by the first."""
    box = await open_postbox(nats_cluster, 0)
    try:
        await ensure_streams(box.client, parse_spec({**ENDPOINT, "postbox": {"replicas": 3}}))
        leader = await nats_cluster.leader_of(STREAM)
        assert leader is not None
        await box.close()
        box = await open_postbox(nats_cluster, (leader + 1) % 3)
        nats_cluster.signal(leader, signal.SIGSTOP)
        sent = [box.send(SUBJECT, b"%d" % number, f"m{number}", within_s=20.0) for number in range(3)]
        await asyncio.gather(*sent)
        nats_cluster.signal(leader, signal.SIGCONT)
        await asyncio.to_thread(nats_cluster.wait_healthy)
        again = [box.send(SUBJECT, b"%d" % number, f"m{number}", within_s=20.0) for number in range(3)]
        await asyncio.gather(*again)
        assert sorted(await stored(box.client)) == [b"0", b"1", b"2"]
    finally:
        await box.close()


async def test_a_message_that_nobody_keeps_is_given_up(nats_cluster: NatsCluster) -> None:
    """When no leader is found within its time, a message fails then, and not later."""
    box = await open_postbox(nats_cluster, 0)
    try:
        await ensure_streams(box.client, parse_spec({**ENDPOINT, "postbox": {"replicas": 3}}))
        for other in (1, 2):
            nats_cluster.signal(other, signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(PostboxError):
            await box.send(SUBJECT, b"", "m", within_s=3.0)
        assert loop.time() - began < 4.0
    finally:
        await box.close()

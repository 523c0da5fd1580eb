"""What is stored in a cluster is stored on three servers, and what cannot be is refused in words."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig
from rendezvous.spec import parse_spec
from rendezvous_proto.errors import InvalidSpecError
from rendezvous_proto.postbox import (
    ENDPOINTS_BUCKET,
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    ROUTERS_BUCKET,
    consumer_name,
    durable_stream,
    score_stream,
)
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.nats_connection import connect

from tests.support.cluster import NatsCluster
from tests.support.stack import ENDPOINT, Stack, eventually

BUCKETS = (ENDPOINTS_BUCKET, MODELS_BUCKET, REPLICAS_BUCKET, ROUTERS_BUCKET)


@pytest.fixture
async def client(nats_cluster: NatsCluster) -> AsyncIterator[Client]:
    """A connection to the cluster."""
    connection = await connect(nats_cluster.urls, name="test", timeout_s=5)
    yield connection
    await connection.close()


async def replicas_of(client: Client, stream: str) -> int:
    """Returns on how many servers a stream is, that are there and current."""
    info = await client.jetstream().stream_info(stream)
    if info.cluster is None or not info.cluster.leader:
        return 0
    return 1 + sum(bool(peer.current) for peer in info.cluster.replicas or ())


async def wait_for_replicas(client: Client, streams: tuple[str, ...], count: int) -> None:
    """Waits until every one of *streams* is on *count* servers."""

    async def spread() -> bool:
        return [await replicas_of(client, stream) for stream in streams] == [count] * len(streams)

    await eventually(spread, f"{', '.join(streams)} are on {count} servers")


async def test_all_that_is_stored_is_on_three_servers(cluster_stack: Stack, client: Client) -> None:
    """Streams as the specification says, buckets by themselves, consumers as their stream."""
    await cluster_stack.apply({**ENDPOINT, "postbox": {"replicas": 3}})
    cluster_stack.start_router()
    cluster_stack.start_model("tests.support.models:first")
    streams = (*(f"KV_{bucket}" for bucket in BUCKETS), durable_stream("sum"), score_stream("sum"))
    await wait_for_replicas(client, streams, 3)
    consumer = await client.jetstream().consumer_info(durable_stream("sum"), consumer_name("first", "1"))
    assert consumer.cluster is not None
    assert len(consumer.cluster.replicas or ()) == 2


async def test_buckets_made_on_one_server_are_spread(cluster_stack: Stack, client: Client) -> None:
    """A router spreads buckets that were made on one server, by an SDK that knows of no cluster; entries stay."""
    js = client.jetstream()
    for bucket in (MODELS_BUCKET, REPLICAS_BUCKET):
        await js.create_key_value(KeyValueConfig(bucket=bucket))
    await (await js.key_value(MODELS_BUCKET)).put("sum.first.1", b"{}")
    cluster_stack.start_router()
    await wait_for_replicas(client, tuple(f"KV_{bucket}" for bucket in BUCKETS), 3)
    assert (await (await js.key_value(MODELS_BUCKET)).get("sum.first.1")).value == b"{}"


async def test_an_endpoint_is_spread_later(client: Client) -> None:
    """An endpoint that began with one replica is given three by its specification alone; what it has kept stays."""
    await ensure_streams(client, parse_spec(ENDPOINT))
    await client.jetstream().publish("rv.sum.input", b"kept")
    await ensure_streams(client, parse_spec({**ENDPOINT, "postbox": {"replicas": 3}}))
    await wait_for_replicas(client, (durable_stream("sum"), score_stream("sum")), 3)
    assert (await client.jetstream().get_msg(durable_stream("sum"), seq=1)).data == b"kept"


@pytest.mark.parametrize("replicas", [4, 5])
async def test_more_replicas_than_servers_are_refused(client: Client, replicas: int) -> None:
    """Applying a specification that wants more replicas than the cluster has servers says so; nothing is stored."""
    store = SpecStore(client)
    spec = parse_spec({**ENDPOINT, "postbox": {"replicas": replicas}})
    with pytest.raises(InvalidSpecError, match=rf"postbox\.replicas = {replicas}.*no suitable peers.*at least"):
        await store.put(spec)
    with pytest.raises(InvalidSpecError, match="lower it"):
        await ensure_streams(client, spec)
    assert await store.get("sum") is None
    assert [info.config.name for info in await client.jetstream().streams_info()] == []


async def test_a_lone_server_keeps_one_copy(nats_server: NatsServer) -> None:
    """On one server buckets have one copy, one replica may be asked for, and three are refused in words."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    try:
        store = SpecStore(connection)
        await store.put(parse_spec(ENDPOINT))
        info = await connection.jetstream().stream_info(f"KV_{ENDPOINTS_BUCKET}")
        assert info.config.num_replicas == 1
        with pytest.raises(InvalidSpecError, match=r"postbox\.replicas = 3.*non-clustered.*at least 3 servers"):
            await store.put(parse_spec({**ENDPOINT, "postbox": {"replicas": 3}}))
    finally:
        await connection.close()


async def test_one_endpoint_without_streams_leaves_the_others_served(cluster_stack: Stack, client: Client) -> None:
    """An endpoint whose streams cannot be made is left out; those after it are served; it is said in the log."""
    await cluster_stack.apply({**ENDPOINT, "endpoint": "zeta"})
    await cluster_stack.apply({**ENDPOINT, "endpoint": "alpha"})
    bad = {**ENDPOINT, "endpoint": "alpha", "postbox": {"replicas": 5}}
    await cluster_stack.store_raw("alpha", json.dumps(bad).encode())
    router = cluster_stack.start_router()

    async def served() -> bool:
        return set((await cluster_stack.status())["endpoints"]) == {"zeta"}

    await eventually(served, "zeta is served, alpha is not")
    assert "alpha" in router.tail()
    assert "postbox.replicas = 5" in router.tail()


async def test_specifications_change_while_a_server_is_gone(cluster_stack: Stack, nats_cluster: NatsCluster) -> None:
    """The server that leads the bucket of specifications dies: nothing is abandoned, and the next change is in force.

    Also the change that the dead server slept through, once it is back.
    """
    document: dict[str, Any] = {**ENDPOINT, "postbox": {"replicas": 3}}
    await cluster_stack.apply(document)
    router = cluster_stack.start_router()
    leader = await nats_cluster.leader_of(f"KV_{ENDPOINTS_BUCKET}")
    assert leader is not None
    await asyncio.to_thread(nats_cluster.kill, leader)

    async def elected() -> bool:
        led = (f"KV_{ENDPOINTS_BUCKET}", f"KV_{ROUTERS_BUCKET}", durable_stream("sum"), score_stream("sum"))
        return None not in [await nats_cluster.leader_of(stream) for stream in led]

    await eventually(elected, "others lead what the dead server led")
    revision = await cluster_stack.apply({**document, "description": "changed"})

    async def in_force() -> bool:
        return (await cluster_stack.status())["endpoints"].get("sum", {}).get("revision") == revision

    await eventually(in_force, "the change is in force", within_s=12.0)
    await asyncio.to_thread(nats_cluster.start, leader)
    await asyncio.to_thread(nats_cluster.wait_healthy)
    assert (await cluster_stack.status())["endpoints"]["sum"]["revision"] == revision
    assert "deleted" not in router.log.read_text()

"""Consumers of models and enrichers that have keys: made by the router, and kept to what the specification says."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from rendezvous.spec import EndpointSpec, parse_spec
from rendezvous_router.desk import Desk
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.streams import ensure_streams
from rendezvous_router.tenants.consumers import GrantedConsumers
from rendezvous_sdk.nats_connection import connect
from rendezvous_sdk.tasks import end_tasks


def spec_with(**stages: int) -> EndpointSpec:
    """Returns an endpoint with an enricher for each name, in its stage."""
    enrichers: dict[str, Any] = {
        name: {
            "outputs": [{"name": f"of_{name}", "type": "BOOL"}],
            "budget": "10ms",
            "otherwise": "error",
            "stage": stage,
        }
        for name, stage in stages.items()
    }
    return parse_spec(
        {
            "endpoint": "e",
            "inputs": [{"name": "a", "type": "INT64"}],
            "outputs": [{"name": "y", "type": "FP64"}],
            "models": {"m": {}},
            "policy": {"deadline": "1s"},
            "enrichers": enrichers,
        }
    )


@dataclass
class _Desk:
    """What is asked of a desk: its endpoint."""

    endpoint: Endpoint


async def test_consumer_follows_the_specification_from_model_to_enricher_and_back(nats_server: NatsServer) -> None:
    """Its owner may not change what a consumer reads; the router does, as the specification changes."""
    client = await connect(nats_server.url, name="router")
    await ensure_streams(client, spec_with())
    desk = _Desk(compile_endpoint(spec_with(), 1))
    consumers = GrantedConsumers(client, {"e": cast("Desk", desk)})
    consumers._wanted = frozenset({("e", "history", "1")})
    running = asyncio.create_task(consumers.run())

    async def reads(subject: str) -> None:
        async with asyncio.timeout(10):
            while True:
                infos = await client.jetstream().consumers_info("RV_e")
                if [info.config.filter_subject for info in infos] == [subject]:
                    return
                await asyncio.sleep(0.05)

    try:
        await reads("rv.e.input")
        for revision, stages, subject in (
            (2, {"history": 1}, "rv.e.raw"),
            (3, {"bureau": 1, "history": 2}, "rv.e.raw.2"),
            (4, {}, "rv.e.input"),
        ):
            desk.endpoint = compile_endpoint(spec_with(**stages), revision)
            await reads(subject)
    finally:
        await end_tasks(running)
        await client.close()

"""What runs at this moment: routers, replicas, and how each model does. Read from the buckets and consumers."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import (
    REPLICAS_BUCKET,
    ROUTERS_BUCKET,
    consumer_name,
    durable_stream,
)

from rendezvous_router._buckets import read_bucket
from rendezvous_router.spec_store import SpecStore

_POLL_S = 0.1

Status = dict[str, Any]
"""The JSON that a router or replica writes of itself (docs/protocol.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One version of one model at one endpoint."""

    endpoint: str
    """The endpoint."""
    model: str
    """The model."""
    version: str
    """Its version; empty when no replica lives."""
    role: str
    """Its role in the specification, of an enricher with its stage (`enricher 1`); empty when it is not in it."""
    replicas: tuple[Status, ...]
    """What its live replicas say of themselves."""
    lag: int | None
    """Parcels that wait for it or are being scored; None when it never read the postbox."""
    counts: Status = field(default_factory=dict)
    """What the routers counted since they started: scored, won, late, failed, invalid, expired, p50_ms, p99_ms."""


async def read_routers(client: Client) -> list[Status]:
    """Returns the status of every live router; a router that was killed is listed for up to 15 s more."""
    return _decoded(await read_bucket(client, ROUTERS_BUCKET))


async def read_replicas(client: Client) -> list[Status]:
    """Returns the status of every live replica; one that was killed is listed for up to 15 s more."""
    return _decoded(await read_bucket(client, REPLICAS_BUCKET))


async def read_models(client: Client, endpoint: str | None = None) -> list[ModelState]:
    """Returns every model that a specification names or that has a live replica.

    Args:
        client: connection to the nats-server.
        endpoint: only this endpoint; None: all.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    specs, replicas, routers = await asyncio.gather(
        SpecStore(client).list(), read_replicas(client), read_routers(client)
    )
    roles: dict[tuple[str, str], str] = {
        (spec.endpoint, name): f"enricher {enricher.stage}"
        for spec, _ in specs
        for name, enricher in spec.enrichers.items()
    }
    roles |= {(spec.endpoint, name): model.role for spec, _ in specs for name, model in spec.models.items()}
    live: dict[tuple[str, str], dict[str, list[Status]]] = {key: {} for key in roles}
    for replica in replicas:
        versions = live.setdefault((replica["endpoint"], replica["model"]), {})
        versions.setdefault(str(replica["version"]), []).append(replica)
    keys = [
        (name, model, version)
        for (name, model), versions in live.items()
        if endpoint in (None, name)
        for version in sorted(versions) or [""]
    ]
    lags = await asyncio.gather(*(_read_lag(client, *key) for key in keys))
    return [
        ModelState(
            endpoint=name,
            model=model,
            version=version,
            role=roles.get((name, model), ""),
            replicas=tuple(live[name, model].get(version, ())),
            lag=lag,
            counts=_sum_counts(routers, name, model),
        )
        for (name, model, version), lag in zip(keys, lags, strict=True)
    ]


async def wait_for_revision(client: Client, endpoint: str, revision: int, timeout_s: float) -> bool:
    """Waits until a router has a specification's revision in force; returns False when none has in time."""

    def holds(routers: list[Status]) -> bool:
        return any(router["endpoints"].get(endpoint, {}).get("revision", 0) >= revision for router in routers)

    try:
        async with asyncio.timeout(timeout_s):
            while not holds(await read_routers(client)):  # noqa: ASYNC110 - a bucket is read, no event of ours
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False
    return True


def _decoded(entries: dict[str, Any]) -> list[Status]:
    return [json.loads(entry.value) for entry in entries.values()]


async def _read_lag(client: Client, endpoint: str, model: str, version: str) -> int | None:
    if not version:
        return None
    try:
        info = await client.jetstream().consumer_info(durable_stream(endpoint), consumer_name(model, version))
    except NotFoundError:
        return None
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


def _sum_counts(routers: list[Status], endpoint: str, model: str) -> Status:
    """Sums the routers' counts; of quantiles, which cannot be summed, the worst."""
    total: Status = {}
    for router in routers:
        counts = router["endpoints"].get(endpoint, {}).get("models", {}).get(model, {})
        for name, value in counts.items():
            if value is None:
                continue
            total[name] = max(total.get(name, 0.0), value) if name.endswith("_ms") else total.get(name, 0) + value
    return total

"""What `rendezvous mirror` does: connects to both sides, checks that they fit, copies."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect

from rendezvous_router.mirror.copies import check_columns
from rendezvous_router.mirror.errors import MirrorError
from rendezvous_router.mirror.mirror import Mirror, MirrorTotals
from rendezvous_router.mirror.position import Positions, mirror_id
from rendezvous_router.mirror.source import Source
from rendezvous_router.mirror.targets import DoorTarget, PostboxTarget, Target, spec_columns
from rendezvous_router.spec_store import SpecStore

__all__ = ["MirrorJob", "MirrorSummary", "run_mirror"]

_CONNECT_LIMIT_S = 5.0
_NATS_SCHEMES = ("nats://", "tls://", "ws://", "wss://")
_GRPC_SCHEMES = ("grpc://", "grpcs://")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorJob:
    """What is copied, and where to."""

    endpoint: str
    """The endpoint."""
    to: str
    """The target: `nats://host:port` (its postbox) or `grpc://host:port` (its router); with TLS `tls://`, `grpcs://`."""
    to_credentials: Credentials
    """What is shown there."""
    as_endpoint: str = ""
    """Name of the endpoint there; empty: the same."""
    since: dt.datetime | None = None
    """Where to begin, when nothing was copied yet; None: with what comes now."""
    follow: bool = False
    """Whether to go on when the end is reached."""
    share: float = 1.0
    """Share of the requests, 0 to 1."""
    rate: float | None = None
    """Requests a second; None: as fast as it goes."""
    budget_s: float = 600.0
    """Time in which the target's models may score a copy, seconds."""

    @property
    def target_endpoint(self) -> str:
        """Name of the endpoint at the target."""
        return self.as_endpoint or self.endpoint

    @property
    def is_door(self) -> bool:
        """Whether the target is a router's door.

        Raises:
            MirrorError: the address is of no known kind.
        """
        if self.to.startswith(_NATS_SCHEMES):
            return False
        if self.to.startswith(_GRPC_SCHEMES):
            return True
        raise MirrorError(
            f"--to {self.to}: write nats://HOST:PORT (copies go into the postbox there) or grpc://HOST:PORT (copies go "
            "through the router's door); with TLS tls:// or grpcs://"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSummary:
    """What came of it."""

    job: MirrorJob
    """What was asked for."""
    totals: MirrorTotals
    """What was done."""
    refused: int
    """Requests that a router answered with an error."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it for `--json`."""
        told = {"endpoint": self.job.endpoint, "to": self.job.to, "as": self.job.target_endpoint}
        return {**told, **asdict(self.totals), "refused": self.refused}


async def run_mirror(
    nc: Connection, job: MirrorJob, *, stop: asyncio.Event, on_progress: Callable[[int], None] = lambda _: None
) -> MirrorSummary:
    """Copies, to the end of what there is, or until *stop*.

    Args:
        nc: connection to the source.
        job: what to do.
        stop: ends it.
        on_progress: called with requests that were done since the last call.

    Raises:
        MirrorError: source and target do not fit, or one of them did not answer for long.
        RendezvousError, ConnectionError: the target cannot be reached, or refuses the key.
    """
    source = Source(nc, job.endpoint, "the source")
    mirror = mirror_id(await source.identity(), job.to, job.target_endpoint)
    async with _target(job, mirror) as target:
        columns = await target.columns()
        check_columns(await _source_columns(nc, job), columns, (f"endpoint {job.endpoint}", target.where))
        copying = Mirror(
            source,
            target,
            await Positions.open(nc, job.endpoint, mirror),
            mirror=mirror,
            columns=columns,
            to=f"{job.to} {job.target_endpoint}",
            share=job.share,
            rate=job.rate,
            on_progress=on_progress,
        )
        after = await copying.begin(job.since)
        totals = await copying.run(after, until=None if job.follow else await source.last(), stop=stop)
        return MirrorSummary(job=job, totals=totals, refused=getattr(target, "refused", 0))


async def _source_columns(nc: Connection, job: MirrorJob) -> list[Any]:
    found = await SpecStore(nc).get(job.endpoint)
    return [] if found is None else spec_columns(found[0])


@contextlib.asynccontextmanager
async def _target(job: MirrorJob, mirror: str) -> AsyncIterator[Target]:
    endpoint, shown = job.target_endpoint, job.to_credentials
    if not job.is_door:
        nc = await connect(job.to, name=f"rendezvous {mirror}", timeout_s=_CONNECT_LIMIT_S, credentials=shown)
        try:
            budget_us = round(job.budget_s * 1e6)
            yield PostboxTarget(nc, endpoint=endpoint, mirror=mirror, budget_us=budget_us, where=job.to)
        finally:
            await nc.close()
        return
    scheme, _, address = job.to.partition("://")
    shown = replace(shown, tls=True) if scheme == "grpcs" else shown
    door = DoorTarget(address.rstrip("/"), endpoint=endpoint, credentials=shown, where=job.to)
    try:
        yield door
    finally:
        await door.close()

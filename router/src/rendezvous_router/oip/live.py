"""Which models of an endpoint have a live replica, in which versions."""

import asyncio
import logging
import time
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from nats.errors import Error as NatsError

from rendezvous_router.app import Router
from rendezvous_router.fleet import read_replicas
from rendezvous_router.oip.target import Target

__all__ = ["LiveModels", "is_serving"]

KEPT_S = 1.0
"""How long a reading is good for; clients may ask as often as they like."""

Versions = Mapping[tuple[str, str], list[str]]
"""Live versions by endpoint and model."""

_log = logging.getLogger(__name__)


def is_serving(router: Router) -> bool:
    """Whether *router* takes requests now."""
    return router.postbox.is_connected and not router.is_draining


class LiveModels:
    """Reads the replicas of a router's tenant when asked, at most once a second. Belongs to one event loop."""

    def __init__(self) -> None:
        self._readings: WeakKeyDictionary[Router, tuple[float, asyncio.Task[Versions]]] = WeakKeyDictionary()

    async def versions_of(self, router: Router, target: Target) -> list[str]:
        """Returns the live versions of a single model, in order; of an endpoint, its revision."""
        if not target.model:
            return [str(target.endpoint.revision)]
        now = time.monotonic()
        read_at, reading = self._readings.get(router, (-KEPT_S, None))
        if reading is None or now - read_at >= KEPT_S:
            reading = asyncio.create_task(_read(router), name="live models")
            self._readings[router] = (now, reading)
        versions = await asyncio.shield(reading)  # others wait for it, too
        return versions.get((target.endpoint.name, target.model), [])

    async def is_ready(self, router: Router, target: Target, version: str) -> bool:
        """Whether a target would answer now: the postbox is there and, for a single model, a replica lives.

        Args:
            router: of the caller's tenant.
            target: endpoint or single model.
            version: of a single model; empty: any.
        """
        if not is_serving(router):
            return False
        versions = await self.versions_of(router, target)
        return version in versions if version else bool(versions)


async def _read(router: Router) -> Versions:
    found: dict[tuple[str, str], set[str]] = {}
    try:
        for replica in await read_replicas(router.postbox.client):
            if isinstance(replica, dict) and {"endpoint", "model", "version"} <= replica.keys():
                found.setdefault((str(replica["endpoint"]), str(replica["model"])), set()).add(str(replica["version"]))
    except (NatsError, OSError, TimeoutError, ValueError) as error:
        _log.warning("live models are unknown: %r", error)
    return {key: sorted(versions) for key, versions in found.items()}

"""Lags and replicas, as JetStream tells them: read every few seconds, by every router for its own endpoints."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import DECOY_CONSUMER, durable_stream

from rendezvous_router.fleet import read_replicas

INTERVAL_S = 5.0
"""Time between two looks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetState:
    """What was seen last."""

    replicas: dict[tuple[str, str], int] = field(default_factory=dict)
    """Live replicas by (endpoint, model)."""
    lags: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Parcels that wait or are being scored, by (endpoint, model, version)."""
    decoy_lags: dict[str, int] = field(default_factory=dict)
    """Parcels that are not archived yet, by endpoint."""


class FleetWatch:
    """Looks at replicas and consumers every `INTERVAL_S`. *state* is what it saw last."""

    def __init__(self, client: Client) -> None:
        self.state = FleetState()
        self._client = client

    async def run(self, endpoints: Iterable[str]) -> None:
        """Looks until cancelled.

        Args:
            endpoints: names; read anew each time.
        """
        while True:
            try:
                self.state = await read_fleet(self._client, tuple(endpoints))
            except (NatsError, OSError, TimeoutError, ValueError) as error:
                _log.debug("replicas and lags not read: %r", error)
            await asyncio.sleep(INTERVAL_S)


async def read_fleet(client: Client, endpoints: Iterable[str]) -> FleetState:
    """Reads replicas and lags of *endpoints*.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    state = FleetState()
    for replica in await read_replicas(client):
        key = (str(replica["endpoint"]), str(replica["model"]))
        state.replicas[key] = state.replicas.get(key, 0) + 1
    for endpoint in endpoints:
        await _read_lags(client, endpoint, state)
    return state


async def _read_lags(client: Client, endpoint: str, state: FleetState) -> None:
    offset = 0
    while True:
        try:
            consumers = await client.jetstream().consumers_info(durable_stream(endpoint), offset)
        except NotFoundError:
            return
        for info in consumers:
            lag = (info.num_pending or 0) + (info.num_ack_pending or 0)
            model, separator, version = info.name.rpartition("__")
            if info.name == DECOY_CONSUMER:
                state.decoy_lags[endpoint] = lag
            elif separator:
                state.lags[endpoint, model, version] = lag
        offset += len(consumers)
        if len(consumers) < _PAGE:
            return


_PAGE = 256
"""Consumers that JetStream lists at a time."""

"""Lags and replicas, as JetStream tells them: read every few seconds, by every router for its own endpoints."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import DECOY_CONSUMER, durable_stream, version_token

from rendezvous_router.fleet import read_replicas

INTERVAL_S = 5.0
"""Time between two looks."""
FAILURES = 3
"""Looks that may fail until what was seen last is forgotten."""
PAGE = 256
"""Consumers that JetStream lists at a time."""

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
        """Looks until cancelled. What was seen last is forgotten when nothing can be seen for a while.

        Args:
            endpoints: names; read anew each time.
        """
        failures = 0
        while True:
            try:
                self.state = await read_fleet(self._client, tuple(endpoints))
                failures = 0
            except Exception as error:  # noqa: BLE001 # whatever it was, there is a next time
                failures += 1
                _log.debug("replicas and lags not read: %r", error)
                if failures == FAILURES:
                    _log.warning("replicas and lags are unknown: %r", error)
                    self.state = FleetState()
            await asyncio.sleep(INTERVAL_S)


async def read_fleet(client: Client, endpoints: Iterable[str]) -> FleetState:
    """Reads replicas and lags of *endpoints*.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    state = FleetState()
    live: set[tuple[str, str, str]] = set()
    for replica in await read_replicas(client):
        if not isinstance(replica, dict) or not {"endpoint", "model", "version"} <= replica.keys():
            continue  # no model of ours wrote it
        key = (str(replica["endpoint"]), str(replica["model"]))
        state.replicas[key] = state.replicas.get(key, 0) + 1
        live.add((*key, version_token(str(replica["version"]))))
    for endpoint in endpoints:
        await _read_lags(client, endpoint, state, live)
    return state


async def _read_lags(client: Client, endpoint: str, state: FleetState, live: set[tuple[str, str, str]]) -> None:
    """Reads the lags of versions that have replicas, and of the newest of a model that has none.

    That is the one which is missed. Consumers of retired versions stay at the stream, and their lag grows for ever.
    """
    newest: dict[str, tuple[float, str, int]] = {}
    for info in await _read_consumers(client, endpoint):
        lag = (info.num_pending or 0) + (info.num_ack_pending or 0)
        model, separator, version = info.name.rpartition("__")
        if info.name == DECOY_CONSUMER:
            state.decoy_lags[endpoint] = lag
        elif (endpoint, model, version) in live:
            state.lags[endpoint, model, version] = lag
        elif separator and (endpoint, model) not in state.replicas:
            made = info.created.timestamp() if info.created is not None else 0.0
            newest[model] = max(newest.get(model, (0.0, "", 0)), (made, version, lag))
    for model, (_, version, lag) in newest.items():
        state.lags[endpoint, model, version] = lag


async def _read_consumers(client: Client, endpoint: str) -> list[ConsumerInfo]:
    consumers: list[ConsumerInfo] = []
    try:
        while True:
            page = await client.jetstream().consumers_info(durable_stream(endpoint), len(consumers))
            consumers += page
            if len(page) < PAGE:
                return consumers
    except NotFoundError:
        return consumers

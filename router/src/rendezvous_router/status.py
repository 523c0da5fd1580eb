"""What a router writes about itself into the bucket `rv_routers`, for those who look for routers."""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue
from rendezvous_proto.postbox import ROUTERS_REFRESH_S
from rendezvous_sdk.buckets import open_bucket

from rendezvous_router._buckets import ROUTERS
from rendezvous_router.desk import Desk
from rendezvous_router.postbox import Postbox
from rendezvous_router.tally import ANSWERED, NO_ANSWER, REFUSED, UNAVAILABLE

_log = logging.getLogger(__name__)


async def report_status(postbox: Postbox, status: Callable[[], Mapping[str, object]]) -> None:
    """Writes *status* every second, until cancelled."""
    bucket: KeyValue | None = None
    while True:
        try:
            bucket = bucket or await open_bucket(postbox.client.jetstream(), ROUTERS)
            await bucket.put(postbox.router, msgspec.json.encode(status()))
        except (NatsError, OSError, TimeoutError) as error:
            _log.debug("status not written: %s", error)
        await asyncio.sleep(ROUTERS_REFRESH_S)


def desk_status(desk: Desk) -> dict[str, object]:
    """Returns what is written about one endpoint."""
    tally = desk.tally
    return {
        "revision": desk.endpoint.revision,
        "in_flight": desk.in_flight,
        "requests": tally.requests,
        "answered": tally.ended_as(ANSWERED),
        "refused": tally.ended_as(REFUSED),
        "unavailable": tally.ended_as(UNAVAILABLE),
        "no_answer": tally.ended_as(NO_ANSWER),
        "rules": tally.rules(),
        "models": {name: model.to_dict() for name, model in tally.models.items()},
    }

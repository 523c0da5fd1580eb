"""How a parcel is done with: its score is published, then it is acknowledged. For the SDK's reader and the bridge's."""

import logging
from collections.abc import Awaitable, Callable

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.postbox import score_subject

from rendezvous_sdk.options import ServeOptions

__all__ = ["answer_parcel", "settle"]

_log = logging.getLogger(__name__)

_NEVER_PUBLISHED = (InvalidRequestError, errors.MaxPayloadError, errors.BadSubjectError)


async def answer_parcel(nc: Client, options: ServeOptions, msg: Msg, parcel: v1.Parcel, payload: bytes) -> bool:
    """Publishes, then acknowledges: both leave in this order with the next flush, nothing is awaited.

    Args:
        nc: the connection.
        options: name the endpoint and the model.
        msg: the message in which the parcel came.
        parcel: the parcel; one without items, which nobody could read, is taken off.
        payload: the serialized ParcelScore.

    Returns:
        Whether the parcel is done with. If not, it is left alone, and comes again after `ack_wait`: nobody has its
        score.

    Source: docs/protocol.md, P15 and P23.
    """
    if not parcel.items:
        await settle(msg.term)
        return True
    try:
        await nc.publish(score_subject(options.endpoint, options.name, parcel.router), payload)
    except _NEVER_PUBLISHED as error:
        # The router is told nothing; it answers by its policy. A redelivery would end the same way.
        _log.error(
            "score of parcel %s can never be published, taken off: %r",
            parcel.parcel_id,
            error,
            extra=_fields(options, parcel),
        )
    except errors.Error as error:
        _log.warning(
            "score of parcel %s not published, it comes again: %r",
            parcel.parcel_id,
            error,
            extra=_fields(options, parcel),
        )
        return False
    await settle(msg.ack)
    return True


def _fields(options: ServeOptions, parcel: v1.Parcel) -> dict[str, object]:
    return {"endpoint": options.endpoint, "model": options.name, "parcel_id": parcel.parcel_id}


async def settle(call: Callable[[], Awaitable[None]]) -> None:
    """Sends an acknowledgement; when it cannot be sent, the parcel comes again and is scored again."""
    try:
        await call()
    except errors.Error as error:
        _log.debug("acknowledgement not sent: %r", error)

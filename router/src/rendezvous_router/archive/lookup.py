"""Single messages of a stream, by their sequence: when they were stored, and which parcel they are."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from rendezvous_proto import v1
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.archive.parcel_facts import ParcelFacts, ParcelKey

__all__ = ["StreamLookup"]

_TIMEOUT_S = 2.0
_AT_A_TIME = 32
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class StreamLookup:
    """Asks a stream for single messages. Belongs to its connection's event loop.

    Args:
        client: the connection.
        stream: name of the stream.
    """

    def __init__(self, client: Connection, stream: str) -> None:
        self._client = client
        self._stream = stream

    async def stored_at(self, sequence: int) -> int | None:
        """Returns when a message was stored, microseconds since 1970-01-01 UTC; None: the stream has none there.

        The stream's leader is asked: others may have yet to catch up.

        Raises:
            nats.errors.Error, TimeoutError: the server does not say.
        """
        subject = f"$JS.API.STREAM.MSG.GET.{self._stream}"
        reply = await self._client.request(subject, json.dumps({"seq": sequence}).encode(), timeout=_TIMEOUT_S)
        document = json.loads(reply.data)
        if "message" in document:
            return _microseconds(document["message"]["time"])
        error = document.get("error", {})
        if error.get("code") == 404:
            return None
        raise NatsError(f"stream {self._stream}: {error.get('description', 'no answer')}")

    async def find_parcels(self, wanted: Iterable[tuple[ParcelKey, int]]) -> list[ParcelFacts]:
        """Returns those of the parcels, given with their sequences, that the stream has; others are left out.

        Raises:
            nats.errors.Error, TimeoutError: the server does not say.
        """
        turns = asyncio.Semaphore(_AT_A_TIME)

        async def find(key: ParcelKey, sequence: int) -> ParcelFacts | None:
            async with turns:
                return await self._find_parcel(key, sequence)

        found = await asyncio.gather(*(find(key, sequence) for key, sequence in wanted))
        return [each for each in found if each is not None]

    async def _find_parcel(self, key: ParcelKey, sequence: int) -> ParcelFacts | None:
        if not 0 < sequence < 2**63:
            return None  # a model may say anything
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        try:
            reply = await self._client.request(subject, json.dumps({"seq": sequence}).encode(), timeout=_TIMEOUT_S)
        except NoRespondersError:
            return None  # the stream is gone
        return _facts(reply, key)


def _facts(reply: Msg, key: ParcelKey) -> ParcelFacts | None:
    headers = reply.headers or {}
    stamp = headers.get("Nats-Time-Stamp")
    if stamp is None:
        return None  # a status: there is no such message
    parcel = v1.Parcel()
    try:
        parcel.ParseFromString(reply.data)
    except DecodeError:
        return None
    return ParcelFacts.of(parcel, _microseconds(stamp), key[1]) if parcel.parcel_id == key[0] else None


def _microseconds(stamp: str) -> int:
    """Returns a server's time stamp, which has up to nanoseconds, in microseconds, rounded down."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    moment = dt.datetime.fromisoformat(f"{seconds}+00:00")
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) + int(fraction[:6].ljust(6, "0"))

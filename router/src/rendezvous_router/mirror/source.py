"""The inputs of an endpoint as its stream has them, one after another, with no consumer to leave behind."""

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from nats import errors
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import durable_stream, input_subject
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.mirror.errors import MirrorError

__all__ = ["Source", "StoredInput"]

_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """One message of the stream."""

    sequence: int
    """Its place."""
    stored_at: dt.datetime
    """When it was stored, by the server's clock."""
    payload: bytes
    """A serialized Parcel, if all is well."""
    headers: dict[str, str]
    """Its headers."""


class Source:
    """Reads the input subject of an endpoint. Answered by the stream's leader, so that no lagging server ends it early.

    Args:
        nc: the connection.
        endpoint: the endpoint.
        where: what to call the installation in messages.
    """

    def __init__(self, nc: Connection, endpoint: str, where: str) -> None:
        self.endpoint = endpoint
        self._js = nc.jetstream()
        self._stream = durable_stream(endpoint)
        self._subject = input_subject(endpoint)
        self._where = where

    async def identity(self) -> str:
        """Returns what tells this stream from another of the same name: when it was made.

        Raises:
            MirrorError: there is none.
        """
        try:
            info = await self._js.stream_info(self._stream)
        except NotFoundError as error:
            raise MirrorError(
                f"{self._where} has no endpoint {self.endpoint} with a postbox: apply it first"
            ) from error
        return str(info.created)

    async def last(self) -> int:
        """Returns the sequence of the last input; 0: there is none."""
        try:
            return (await self._js.get_last_msg(self._stream, self._subject)).seq or 0
        except NotFoundError:
            return 0

    async def next(self, after: int) -> StoredInput | None:
        """Returns the first input behind a sequence; None: there is none yet."""
        try:
            found = await self._js.get_msg(self._stream, seq=after + 1, subject=self._subject, next=True)
        except NotFoundError:
            return None
        return _stored(found)

    async def before(self, moment: dt.datetime) -> int:
        """Returns the sequence behind which inputs are that were stored at *moment* or later."""
        low, high = 0, await self.last()
        while low < high:  # `low` is before the moment, what follows `high` is not
            middle = (low + high) // 2
            found = await self.next(middle)
            if found is not None and found.stored_at < moment:
                low = found.sequence
            else:
                high = middle
        return low

    async def read(self, after: int, *, until: int | None, stop: asyncio.Event) -> AsyncGenerator[StoredInput, None]:
        """Yields the inputs behind a sequence.

        Args:
            after: where to begin.
            until: last sequence; None: goes on for ever.
            stop: ends it.

        Raises:
            MirrorError: the server did not answer for a minute.
        """
        patience = Patience(self._where)
        while not stop.is_set() and (until is None or after < until):
            try:
                found = await self.next(after)
            except (errors.Error, TimeoutError, OSError) as error:
                await patience.wait(error)
                continue
            patience.restore()
            if found is not None:
                after = found.sequence
                yield found
            elif until is not None:
                return  # the last ones were deleted meanwhile
            else:
                await pause(stop, _PAUSE_S)


class Patience:
    """How long a server is waited for that does not answer.

    Args:
        where: what to call it.
        limit_s: seconds until it is given up.
    """

    def __init__(self, where: str, limit_s: float = _PATIENCE_S) -> None:
        self._where = where
        self._limit_s = limit_s
        self._lost_at: float | None = None
        self._pause_s = _PAUSE_S

    def restore(self) -> None:
        """It has answered."""
        self._lost_at, self._pause_s = None, _PAUSE_S

    async def wait(self, error: Exception) -> None:
        """Pauses before the next attempt.

        Raises:
            MirrorError: it was long enough.
        """
        now = asyncio.get_running_loop().time()
        self._lost_at = self._lost_at or now
        if now - self._lost_at > self._limit_s:
            raise MirrorError(
                f"{self._where} did not answer for {self._limit_s:g} s ({error or type(error).__name__}): start the "
                "mirror again when it does, it goes on where it was"
            ) from error
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits, or until *stop*."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _stored(found: RawStreamMsg) -> StoredInput:
    assert found.seq is not None and found.time is not None, "every stored message has them"  # noqa: PT018
    return StoredInput(
        sequence=found.seq, stored_at=found.time, payload=found.data or b"", headers=dict(found.headers or {})
    )

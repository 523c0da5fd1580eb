"""Reads back what an endpoint's streams keep: parcels, scores, decisions.

Each reading uses an ephemeral pull consumer, ends where the stream ended when it began, and removes its consumer
when the iteration ends. An iteration that is left early must be closed (`contextlib.aclosing`).
"""

import contextlib
import datetime as dt
import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

import nats.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError
from rendezvous_proto import v1
from rendezvous_proto.errors import UnavailableError
from rendezvous_proto.postbox import (
    check_name,
    decision_subject,
    durable_stream,
    input_subject,
    score_stream,
    score_subjects,
)

from rendezvous_router.spec_store import SpecStore

__all__ = [
    "FoundDecision",
    "StoredMessage",
    "find_decision",
    "id_unix_us",
    "read_decisions",
    "read_parcels",
    "read_scores",
    "read_stream",
    "stored_unix_us",
]

_log = logging.getLogger(__name__)

_BATCH = 64
_FETCH_TIMEOUT_S = 5.0
_TRIES = 3
_SHORT_REPLY = 9  # tokens of $JS.ACK without domain and account
_INACTIVE_S = 60.0
_CLOCK_DIFFERENCE_US = 60 * 1_000_000
_LONGEST_REQUEST_US = 10 * 60 * 1_000_000
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

OnProgress = Callable[[int, int], None]
"""Called with the messages read and the messages to be read."""

_Decoded = TypeVar("_Decoded", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message of a stream."""

    sequence: int
    """Its place in the stream."""
    stored_unix_us: int
    """When it was stored, microseconds since 1970-01-01 UTC by the server's clock."""
    subject: str
    """Its subject."""
    payload: bytes
    """Its bytes; empty with `headers_only`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDecision:
    """A request's decision and where it was found."""

    endpoint: str
    """Endpoint that was asked."""
    record: v1.DecisionRecord
    """The decision as kept."""
    stored_unix_us: int
    """When the decision was stored, by the server's clock."""


async def read_stream(
    client: Client,
    stream: str,
    subject: str,
    *,
    since_unix_us: int | None = None,
    until_unix_us: int | None = None,
    headers_only: bool = False,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[StoredMessage, None]:
    """Yields the messages that a stream has on a subject, the oldest first; none when there is no such stream.

    Args:
        client: connection to the nats-server.
        stream: name of the stream.
        subject: subject, wildcards allowed.
        since_unix_us: first moment of storage, by the server's clock; None: from the start.
        until_unix_us: last moment of storage; None: up to what was there when the reading began.
        headers_only: leave the payloads where they are.
        on_progress: called after each batch.

    Raises:
        UnavailableError: the server stopped answering.
    """
    js = client.jetstream()
    try:
        info = await js.add_consumer(stream, _reader_config(subject, since_unix_us, headers_only=headers_only))
    except NotFoundError:
        return
    total, read = info.num_pending or 0, 0
    try:
        async with contextlib.aclosing(_fetch_pending(js, stream, info.name, total)) as messages:
            async for msg in messages:
                message = _stored(msg)
                if until_unix_us is not None and message.stored_unix_us > until_unix_us:
                    return
                yield message
                read += 1
                if on_progress is not None and read % _BATCH == 0:
                    on_progress(read, total)
    finally:
        # Without a server the consumer goes by itself when it was idle for a minute.
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await js.delete_consumer(stream, info.name)


async def read_decisions(
    client: Client,
    endpoint: str,
    since_unix_us: int | None = None,
    until_unix_us: int | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[v1.DecisionRecord, None]:
    """Yields an endpoint's decisions in the order in which they were stored; arguments as in `read_stream`."""
    found_ones = _read_found(client, endpoint, since_unix_us, until_unix_us, on_progress)
    async with contextlib.aclosing(found_ones):
        async for found in found_ones:
            yield found.record


async def read_scores(
    client: Client,
    endpoint: str,
    since_unix_us: int | None = None,
    until_unix_us: int | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[tuple[int, v1.ParcelScore], None]:
    """Yields (stored_unix_us, score) of every score of an endpoint; arguments as in `read_stream`.

    What cannot be decoded (a model may publish anything) is logged and left out.
    """
    messages = read_stream(
        client,
        score_stream(endpoint),
        score_subjects(endpoint),
        since_unix_us=since_unix_us,
        until_unix_us=until_unix_us,
        on_progress=on_progress,
    )
    async with contextlib.aclosing(messages):
        async for message in messages:
            score = _decode(message, v1.ParcelScore())
            if score is not None:
                yield message.stored_unix_us, score


async def read_parcels(
    client: Client,
    endpoint: str,
    since_unix_us: int | None = None,
    until_unix_us: int | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[tuple[int, v1.Parcel], None]:
    """Yields (stored_unix_us, parcel) of every input parcel of an endpoint; arguments as in `read_stream`."""
    messages = read_stream(
        client,
        durable_stream(endpoint),
        input_subject(endpoint),
        since_unix_us=since_unix_us,
        until_unix_us=until_unix_us,
        on_progress=on_progress,
    )
    async with contextlib.aclosing(messages):
        async for message in messages:
            parcel = _decode(message, v1.Parcel())
            if parcel is not None:
                yield message.stored_unix_us, parcel


async def find_decision(
    client: Client, request_id: str, endpoint: str | None = None, *, on_progress: OnProgress | None = None
) -> FoundDecision | None:
    """Returns the first decision of a request; None when there is none (yet, or any more).

    An id that carries its time (UUID version 7) is looked for around that time, any other in the whole stream.

    Args:
        client: connection to the nats-server.
        request_id: the request's id.
        endpoint: endpoint to look in; None: all that have a specification.
        on_progress: called while it reads.

    Raises:
        InvalidRequestError: the id is malformed.
        UnavailableError: the server stopped answering.
    """
    check_name("request id", request_id)
    made_us = id_unix_us(request_id)
    since_us = None if made_us is None else max(0, made_us - _CLOCK_DIFFERENCE_US)
    until_us = None if made_us is None else made_us + _LONGEST_REQUEST_US
    names = [endpoint] if endpoint is not None else await SpecStore(client).names()
    for name in names:
        found_ones = _read_found(client, name, since_us, until_us, on_progress)
        async with contextlib.aclosing(found_ones):
            async for found in found_ones:
                if found.record.decision.request_id == request_id:
                    return found
    return None


def id_unix_us(request_id: str) -> int | None:
    """Returns when an id was made, microseconds since 1970-01-01 UTC; None when it does not tell.

    Only UUIDs of version 7 tell, to the millisecond (RFC 9562, section 5.7).
    """
    try:
        parsed = uuid.UUID(request_id)
    except ValueError:
        return None
    return (parsed.int >> 80) * 1000 if parsed.version == 7 else None


async def _read_found(
    client: Client,
    endpoint: str,
    since_unix_us: int | None,
    until_unix_us: int | None,
    on_progress: OnProgress | None,
) -> AsyncGenerator[FoundDecision, None]:
    messages = read_stream(
        client,
        durable_stream(endpoint),
        decision_subject(endpoint),
        since_unix_us=since_unix_us,
        until_unix_us=until_unix_us,
        on_progress=on_progress,
    )
    async with contextlib.aclosing(messages):
        async for message in messages:
            batch = _decode(message, v1.DecisionBatch())
            for record in batch.records if batch is not None else ():
                yield FoundDecision(endpoint=endpoint, record=record, stored_unix_us=message.stored_unix_us)


def _reader_config(subject: str, since_unix_us: int | None, *, headers_only: bool) -> ConsumerConfig:
    start = None if since_unix_us is None else _EPOCH + since_unix_us * _MICROSECOND
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL if start is None else DeliverPolicy.BY_START_TIME,
        opt_start_time=start,
        ack_policy=AckPolicy.NONE,
        filter_subject=subject,
        headers_only=headers_only or None,
        inactive_threshold=_INACTIVE_S,
        mem_storage=True,
    )


async def _fetch_pending(js: JetStreamContext, stream: str, consumer: str, count: int) -> AsyncGenerator[Msg, None]:
    """Yields *count* messages that wait at a consumer, or as many of them as were not deleted meanwhile."""
    subscription = await js.pull_subscribe_bind(consumer=consumer, stream=stream)
    tries = 0
    try:
        while count > 0:
            try:
                batch = await subscription.fetch(min(_BATCH, count), timeout=_FETCH_TIMEOUT_S)
            except nats.errors.TimeoutError:
                tries += 1
                if await _pending(js, stream, consumer, tries) == 0:
                    return
                continue
            for msg in batch:
                yield msg
            count -= len(batch)
    finally:
        await subscription.unsubscribe()


async def _pending(js: JetStreamContext, stream: str, consumer: str, tries: int) -> int:
    """Returns how many messages wait at a consumer that gave none in time.

    Raises:
        UnavailableError: the consumer is gone, the server is silent, or it was tried often enough.
    """
    try:
        info = await js.consumer_info(stream, consumer)
    except (nats.errors.Error, TimeoutError) as error:
        raise UnavailableError(f"stream {stream} can no longer be read: {error!r}; try again") from error
    if info.num_pending and tries >= _TRIES:
        raise UnavailableError(f"stream {stream} gave nothing for {_TRIES * _FETCH_TIMEOUT_S:g} s; try again")
    return info.num_pending or 0


def _stored(msg: Msg) -> StoredMessage:
    return StoredMessage(
        sequence=msg.metadata.sequence.stream,
        stored_unix_us=stored_unix_us(msg),
        subject=msg.subject,
        payload=msg.data,
    )


def stored_unix_us(msg: Msg) -> int:
    """Returns when a JetStream message was stored, microseconds since 1970-01-01 UTC, rounded down.

    Read from the reply subject, which has nanoseconds; nats-py's datetime is rounded by a float.
    """
    tokens = msg.reply.split(".")
    return int(tokens[7 if len(tokens) == _SHORT_REPLY else 9]) // 1000


def _decode(message: StoredMessage, into: _Decoded) -> _Decoded | None:
    try:
        into.ParseFromString(message.payload)
    except DecodeError:
        _log.warning("message %d on %s is not a %s: left out", message.sequence, message.subject, type(into).__name__)
        return None
    return into

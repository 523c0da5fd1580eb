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
_NO_MESSAGE = 10037  # JetStream's error code; a stream that is not there has another
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
        end = await _last_sequence(js, stream, subject, since_unix_us)
        info = await js.add_consumer(stream, _reader_config(subject, since_unix_us, headers_only=headers_only))
    except NotFoundError:
        return
    total, read = info.num_pending or 0, 0
    try:
        async with contextlib.aclosing(_fetch_until(js, stream, subject, info.name, end)) as messages:
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


async def _last_sequence(js: JetStreamContext, stream: str, subject: str, since_unix_us: int | None) -> int:
    """Returns the sequence of the last message on a subject that is not older than *since_unix_us*; 0: there is none.

    The stream's leader is asked: a consumer may live on a server that has yet to catch up, and would end too early.
    """
    try:
        last = await js.get_last_msg(stream, subject)
    except NotFoundError as error:
        if error.err_code == _NO_MESSAGE:
            return 0
        raise
    is_older = since_unix_us is not None and last.time is not None and last.time < _EPOCH + since_unix_us * _MICROSECOND
    return 0 if is_older else last.seq or 0


async def _fetch_until(
    js: JetStreamContext, stream: str, subject: str, consumer: str, end: int
) -> AsyncGenerator[Msg, None]:
    """Yields what a consumer gives up to sequence *end*, or as much of it as was not deleted meanwhile.

    Raises:
        UnavailableError: the consumer is gone, the server is silent, or it was tried often enough.
    """
    subscription = await js.pull_subscribe_bind(consumer=consumer, stream=stream)
    reached = tries = pending = 0
    try:
        while reached < end:
            pending = pending or await _pending(js, stream, consumer)
            if not pending and await _last_sequence(js, stream, subject, None) < end:
                return  # the last ones were deleted
            try:
                batch = await subscription.fetch(min(_BATCH, pending or 1), timeout=_FETCH_TIMEOUT_S)
            except nats.errors.TimeoutError as error:
                tries, pending = tries + 1, 0
                if tries >= _TRIES:
                    raise UnavailableError(
                        f"stream {stream} gave nothing for {_TRIES * _FETCH_TIMEOUT_S:g} s; try again"
                    ) from error
                continue
            for msg in batch:
                reached = msg.metadata.sequence.stream
                if reached > end:
                    return
                yield msg
            pending = max(0, pending - len(batch))
    finally:
        await subscription.unsubscribe()


async def _pending(js: JetStreamContext, stream: str, consumer: str) -> int:
    try:
        return (await js.consumer_info(stream, consumer)).num_pending or 0
    except (nats.errors.Error, TimeoutError) as error:
        raise UnavailableError(f"stream {stream} can no longer be read: {error!r}; try again") from error


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

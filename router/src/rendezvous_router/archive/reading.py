"""Archives one stream of one endpoint: strictly in order, acknowledged only when it is in the archive.

One durable consumer without a filter, so its own numbering tells whether anything was lost on the way: a number left
out, or delivered again, and everything read since the last entry is asked for again. A sequence left out under
unbroken numbers is one that the stream no longer has.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import DECOY_CONSUMER
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchiveError
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.pull import ContinuousPull

from rendezvous_router.archive.lookup import StreamLookup
from rendezvous_router.archive.messages import Taken, decode
from rendezvous_router.archive.position import Position, find_position
from rendezvous_router.archive.store import ArchiveStore, Batch

__all__ = ["FlushLimits", "StreamReader", "TablesOf"]

_log = logging.getLogger(__name__)

TablesOf = Callable[[Sequence[Taken]], Awaitable[list[tuple[str, pa.Table]]]]
"""Takes messages in order, returns (kind, rows)."""
OnTaken = Callable[[Taken], None]

_ACK_WAIT_S = 60.0
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 10.0
_ABSENT_PAUSE_S = 0.5
_BEHIND_S = 5.0
_SHORT_REPLY = 9  # tokens of $JS.ACK without domain and account
_STORAGE_FAULTS = (OSError, ArchiveError, pa.ArrowException)
_SERVER_FAULTS = (NatsError, TimeoutError, ConnectionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushLimits:
    """When what was read is written, at the first limit reached; and what may be held in memory."""

    messages: int = 2304
    """Messages; below `credit`."""
    bytes: int = 8 << 20
    """Bytes of payload; below `credit_bytes`."""
    seconds: float = 2.0
    """Age of the oldest message, in seconds: nats-server feels the flushes of each batch."""
    credit: int = 3072
    """Messages that may be on their way or held."""
    credit_bytes: int = 24 << 20
    """Bytes of payload that may be held, and as many again on their way."""


@dataclass(slots=True)
class _Buffer:
    """What was read and is not archived yet: sequences from *first* on, without a gap."""

    first: int
    last: int
    messages: list[Taken] = field(default_factory=list)
    deleted: list[tuple[int, int]] = field(default_factory=list)
    bytes: int = 0
    newest: Msg | None = None


class StreamReader:
    """Archives one stream until stopped. Belongs to its connection's event loop.

    Args:
        client: connection to the nats-server.
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        source: `DURABLE` or `SCORES`.
        stream: name of the stream.
        tables_of: makes rows of messages.
        on_taken: called with each message as it is read.
        limits: when to write.
    """

    def __init__(
        self,
        client: Connection,
        root: ArchiveRoot,
        *,
        tenant: str,
        endpoint: str,
        source: str,
        stream: str,
        tables_of: TablesOf,
        on_taken: OnTaken | None = None,
        limits: FlushLimits | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.source = source
        self.fault = ""
        """What keeps it from archiving; empty: nothing does."""
        self._behind_at = float("-inf")
        self._client = client
        self._root = root
        self._tenant = tenant
        self._stream = stream
        self._tables_of = tables_of
        self._on_taken = on_taken
        self._limits = limits or FlushLimits()
        self._store: ArchiveStore | None = None
        self._buffer = _Buffer(1, 0)
        self._consumer_sequence = 0
        self._is_broken = True
        self._pull: ContinuousPull | None = None
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_behind(self) -> bool:
        """Whether more waited in the stream, of late, than it may hold; for a moment after the start it may have."""
        return time.monotonic() - self._behind_at < _BEHIND_S

    async def run(self) -> None:
        """Archives until `stop`; whatever fails is tried again, with growing pauses. What was read is archived then."""
        self._client.reconnect_listeners.append(self._on_reconnected)
        self._behind_at = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                fault = await self._try_session()
                if time.monotonic() - began > _LAST_PAUSE_S:
                    pause_s = _FIRST_PAUSE_S
                if fault is None:
                    pause_s = _FIRST_PAUSE_S
                await self._sleep(pause_s)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        finally:
            self._client.reconnect_listeners.remove(self._on_reconnected)
            await self._close_store()

    def stop(self) -> None:
        """Asks `run` to end: it reads no more, archives what it holds, and returns."""
        self._stopping.set()
        self._hurry.set()
        self._due.set()

    async def _try_session(self) -> str | None:
        """Reads until something breaks; returns what; None: nothing did."""
        try:
            await self._session()
        except _SERVER_FAULTS as error:
            self._complain("the server", error)
        except _STORAGE_FAULTS as error:
            self._complain("the archive", error)
        else:
            return None
        return self.fault

    async def _session(self) -> None:
        js = self._client.jetstream()
        try:
            info = await js.stream_info(self._stream)
        except NotFoundError:
            self._well()
            await self._sleep(_ABSENT_PAUSE_S)
            return  # not made yet, or deleted: the router makes it when there is a specification
        if self._store is None:
            self._store = await asyncio.to_thread(ArchiveStore, self._root, self._tenant, self.endpoint, self.source)
        position = await find_position(self._store, info, StreamLookup(self._client, self._stream).stored_at)
        await self._make_consumer(position)
        self._well()
        self._begin(position)
        await self._read(position, info)

    def _begin(self, position: Position) -> None:
        self._buffer = _Buffer(position.next, position.next - 1)
        self._consumer_sequence = 0
        self._is_broken = False
        self._due.clear()

    async def _read(self, position: Position, info: StreamInfo) -> None:
        _log.info(
            "archiving %s of endpoint %s from sequence %d on (the stream ends at %d)",
            self.source,
            self.endpoint,
            position.next,
            info.state.last_seq,
            extra={"endpoint": self.endpoint, "sequence": position.next},
        )
        self._pull = await ContinuousPull.start(
            self._client,
            stream=self._stream,
            consumer=DECOY_CONSUMER,
            on_message=self._take,
            credit=self._limits.credit,
            max_bytes=self._limits.credit_bytes,
            manual_release=True,
            ensure=self._lose_consumer,
        )
        try:
            while not (self._is_broken or self._stopping.is_set()):
                await self._due.wait()
                self._due.clear()
                await self._write(position)
        finally:
            pull, self._pull = self._pull, None
            self._is_broken = True  # what comes while the pull ends is read again
            with contextlib.suppress(*_SERVER_FAULTS):
                await pull.stop()
            self._cancel_timer()
        await self._write(position)

    async def _make_consumer(self, position: Position) -> None:
        """Makes the consumer anew, where the archive ends: what it had delivered and acknowledged does not count."""
        js = self._client.jetstream()
        with contextlib.suppress(NotFoundError):
            await js.delete_consumer(self._stream, DECOY_CONSUMER)
        await js.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=DECOY_CONSUMER,
                description="Rendezvous: the archive",
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=position.next,
                ack_policy=AckPolicy.ALL,
                ack_wait=_ACK_WAIT_S,
                max_ack_pending=4 * self._limits.credit,
            ),
        )

    async def _lose_consumer(self) -> None:
        self._break("the consumer does not answer")

    def _on_reconnected(self) -> None:
        # The server may have lost the stream's end, or be another one.
        self._break("the connection was lost")
        self._hurry.set()

    def _break(self, reason: str) -> None:
        if not self._is_broken:
            self._is_broken = True
            _log.info("%s of endpoint %s: %s; reading again", self.source, self.endpoint, reason)
            self._due.set()

    def _take(self, msg: Msg) -> None:
        if self._is_broken:
            return
        tokens = msg.reply.split(".")
        place = 5 if len(tokens) == _SHORT_REPLY else 7
        sequence, numbered, stored_ns, pending = map(int, tokens[place : place + 4])
        if pending > self._limits.credit:
            self._behind_at = time.monotonic()
        buffer = self._buffer
        if numbered != self._consumer_sequence + 1 or sequence <= buffer.last:
            self._break(f"message {numbered} of its consumer came after {self._consumer_sequence}")
            return
        self._consumer_sequence = numbered
        if sequence > buffer.last + 1:
            buffer.deleted.append((buffer.last + 1, sequence - 1))
        taken = decode(msg.subject, msg.data, sequence, stored_ns // 1000)
        buffer.last, buffer.newest = sequence, msg
        buffer.messages.append(taken)
        buffer.bytes += taken.size
        if self._on_taken is not None:
            self._on_taken(taken)
        self._schedule(buffer)

    def _schedule(self, buffer: _Buffer) -> None:
        limits = self._limits
        if self._pull is not None and buffer.bytes >= limits.credit_bytes:
            self._pull.credit = max(1, self._pull.held)  # asks for nothing more until what is held is archived
        if len(buffer.messages) >= limits.messages or buffer.bytes >= limits.bytes:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(limits.seconds, self._due.set)

    async def _write(self, position: Position) -> None:
        """Archives what is held; what comes meanwhile is held too, within the credit."""
        self._cancel_timer()
        buffer = self._buffer
        if not buffer.messages:
            return
        self._buffer = _Buffer(buffer.last + 1, buffer.last)
        batch = Batch(
            generation=position.generation,
            first=buffer.first,
            last=buffer.last,
            last_stored_unix_us=buffer.messages[-1].stored_us,
            messages=len(buffer.messages),
            deleted=tuple(buffer.deleted),
            tables=await self._tables_of(buffer.messages),
        )
        if not await self._put(batch):
            self._is_broken = True  # what came behind it would leave a gap
            self._buffer = _Buffer(batch.first, batch.first - 1)
            return
        assert buffer.newest is not None, "a message came last"
        with contextlib.suppress(NatsError):  # not acknowledged: the next session begins behind it all the same
            await buffer.newest.ack()
        if self._pull is not None:
            self._pull.credit = self._limits.credit
            await self._pull.release(len(buffer.messages))

    async def _put(self, batch: Batch) -> bool:
        """Puts a batch into the archive, trying as long as it takes; returns False when it is to stop before."""
        assert self._store is not None, "a session opens it"
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await asyncio.to_thread(self._store.write_batch, batch)
            except _STORAGE_FAULTS as error:
                self._complain("the archive", error)
            else:
                self._well()
                return True
            if self._stopping.is_set():
                return False
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _sleep(self, seconds: float) -> None:
        """Waits, less when it is to stop or the connection is back."""
        if not self._stopping.is_set():
            self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _close_store(self) -> None:
        if self._store is not None:
            await asyncio.to_thread(self._store.close)
            self._store = None

    def _complain(self, what: str, error: BaseException) -> None:
        self.fault = f"{what}: {error or type(error).__name__}"
        _log.warning(
            "%s of endpoint %s: %s; nothing is lost, trying again",
            self.source,
            self.endpoint,
            self.fault,
            extra={"endpoint": self.endpoint},
        )

    def _well(self) -> None:
        if self.fault:
            _log.info("%s of endpoint %s: archiving again", self.source, self.endpoint)
        self.fault = ""

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

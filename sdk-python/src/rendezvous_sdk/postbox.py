"""A model at its postbox: takes parcels, scores them, publishes the scores, acknowledges."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from google.protobuf.message import DecodeError
from nats import errors
from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_proto.errors import ModelFailedError

from rendezvous_sdk.consumer import ModelConsumer, monotonic_us
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.pull import ContinuousPull
from rendezvous_sdk.scoring import Delivery, ParcelScorer, unix_us
from rendezvous_sdk.settling import answer_parcel, settle
from rendezvous_sdk.tasks import end_tasks
from rendezvous_sdk.thread import ModelThread

_log = logging.getLogger(__name__)

_CLOCK_REFRESH_S = 30.0
_CLOCK_RETRY_S = 1.0
_FLUSH_TIMEOUT_S = 1
_AHEAD_S = 0.02
_MOST_CREDIT = 64


class _Waiting:
    """A parcel that was delivered and is not yet acknowledged."""

    __slots__ = ("delivery", "msg", "signalled_at")

    def __init__(self, msg: Msg, delivery: Delivery) -> None:
        self.msg = msg
        self.delivery = delivery
        self.signalled_at = time.monotonic()


class PostboxReader:
    """Serves one model from its endpoint's postbox. Belongs to the event loop.

    Args:
        nc: the connection; it must be able to buffer while disconnected, so that scores survive a
            reconnection.
        scorer: scores parcels; used in *thread* only.
        thread: the model's thread.
        options: how to serve.
        counters: counted into.
    """

    def __init__(
        self,
        nc: Connection,
        *,
        scorer: ParcelScorer,
        thread: ModelThread,
        options: ServeOptions,
        counters: Counters,
    ) -> None:
        self.consumer = ModelConsumer(nc, options)
        self._nc = nc
        self._scorer = scorer
        self._thread = thread
        self._options = options
        self._counters = counters
        self._queue: deque[_Waiting] = deque()
        self._scoring: list[_Waiting] = []
        self._was_first_time = False
        self._arrived = asyncio.Event()
        self._offset_us = unix_us() - monotonic_us()
        """From the monotonic clock to the broker's; as long as that was not read, it is taken to agree with ours."""
        self._is_clock_read = False
        self._history_until_us = 0
        """What the broker stored before then is history, scored although it has expired."""
        self._clock_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pull: ContinuousPull | None = None
        self._stopping = False

    async def start(self) -> None:
        """Waits for the stream, makes the consumer and begins to read."""
        await self.consumer.wait_until_ensured()
        await self._refresh_clock()
        if self._options.since is not None:
            self._history_until_us = monotonic_us() + self._offset_us
        self._nc.reconnect_listeners.append(self._clock_due.set)
        self._pull = await ContinuousPull.start(
            self._nc,
            stream=self.consumer.stream,
            consumer=self.consumer.name,
            on_message=self._take,
            credit=self._options.credit,
            manual_release=True,
            ensure=self.consumer.ensure,
        )
        self._tasks = [
            asyncio.create_task(self._work(), name="postbox-work"),
            asyncio.create_task(self._signal_progress(), name="postbox-progress"),
            asyncio.create_task(self._follow_clock(), name="postbox-clock"),
        ]

    async def wait_failed(self) -> None:
        """Returns never; raises what ended the reading, which is a fault of this SDK."""
        await asyncio.shield(self._tasks[0])
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Stops reading, gives back what waits, finishes and publishes what is being scored."""
        self._stopping = True
        if self._clock_due.set in self._nc.reconnect_listeners:
            self._nc.reconnect_listeners.remove(self._clock_due.set)
        if self._pull is None:
            return
        await self._pull.stop()
        while self._queue:
            await settle(self._queue.popleft().msg.nak)
        self._arrived.set()
        await asyncio.wait(self._tasks[:1])  # what it raised is `wait_failed`'s to tell
        await end_tasks(*self._tasks[1:])

    def _take(self, msg: Msg) -> None:
        self._queue.append(_Waiting(msg, self._delivery_of(msg)))
        self._arrived.set()

    async def _work(self) -> None:
        while not self._stopping:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue and not self._stopping:
                self._scoring = self._next_batch()
                await self._score(self._scoring)
                self._scoring = []

    def _next_batch(self) -> list[_Waiting]:
        """Takes what waits, as far as it fits in one table.

        A parcel that came before may have ended a process. It is scored alone, after what waits for the
        first time; of several such the first and the last take turns, so that a deadly one does not take
        others along each time.
        """
        again = [waiting for waiting in self._queue if waiting.delivery.number > 1]
        if again and (self._was_first_time or len(again) == len(self._queue)):
            self._was_first_time = False
            again.sort(key=lambda waiting: waiting.delivery.sequence)
            chosen = again[0] if again[0].delivery.number % 2 else again[-1]
            self._queue.remove(chosen)
            return [chosen]
        self._was_first_time = True
        batch: list[_Waiting] = []
        rows = 0
        for waiting in tuple(self._queue):
            if waiting.delivery.number > 1:
                continue
            rows += max(0, waiting.delivery.parcel.inputs.rows)  # as claimed: not yet checked
            if batch and rows > self._options.max_joined_rows:
                break
            batch.append(waiting)
            self._queue.remove(waiting)
        return batch

    def _delivery_of(self, msg: Msg) -> Delivery:
        # Subject: $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<...>.<stored, ns>.<pending>,
        # or with domain and account before the stream and a random token at the end.
        received, now_us = unix_us(), monotonic_us()
        tokens = msg.reply.split(".")
        first = 4 if len(tokens) == 9 else 6
        stored_us = int(tokens[first + 3]) // 1000
        parcel = v1.Parcel()
        try:
            parcel.ParseFromString(msg.data)
        except DecodeError:
            _log.error("parcel %s of %s is no Parcel: taken off", tokens[first + 1], self.consumer.stream)
        return Delivery(
            parcel=parcel,
            sequence=int(tokens[first + 1]),
            number=int(tokens[first]),
            age_us=now_us + self._offset_us - stored_us,
            received_unix_us=received,
            is_history=stored_us < self._history_until_us,
        )

    async def _score(self, batch: Sequence[_Waiting]) -> None:
        deliveries = [waiting.delivery for waiting in batch]
        if deliveries[0].number > 1:
            # It may end this process: what was answered before must have left by then.
            await self._flush()
        started = time.monotonic()
        replies = await self._replies(deliveries)
        took_s = time.monotonic() - started
        for waiting, delivery, (score, payload) in zip(batch, deliveries, replies, strict=True):
            if await answer_parcel(self._nc, self._options, waiting.msg, delivery.parcel, payload):
                self._counters.count(score, delivery.received_unix_us)
        if self._pull is not None:
            self._pull.credit = next_credit(self._pull.credit, self._options.credit, deliveries, took_s)
            await self._pull.release(len(batch))

    async def _replies(self, deliveries: Sequence[Delivery]) -> list[tuple[v1.ParcelScore, bytes]]:
        try:
            return await self._thread.submit(partial(self._score_in_thread, deliveries))
        except ModelFailedError as error:  # the thread was left behind with them: each for itself
            if len(deliveries) > 1:
                return [reply for each in deliveries for reply in await self._replies([each])]
            score = self._scorer.refuse_parcel(deliveries[0], error)
            return [(score, score.SerializeToString())]

    def _score_in_thread(self, deliveries: Sequence[Delivery]) -> list[tuple[v1.ParcelScore, bytes]]:
        return [(score, score.SerializeToString()) for score in self._scorer.score_parcels(deliveries)]

    async def _flush(self) -> None:
        try:
            await self._nc.flush(_FLUSH_TIMEOUT_S)
        except (errors.Error, TimeoutError) as error:
            _log.debug("not flushed: %r", error)

    async def _signal_progress(self) -> None:
        """Defends what is held against redelivery while the model works."""
        while True:
            await asyncio.sleep(self.consumer.ack_wait_s / 6)
            now = time.monotonic()
            for waiting in (*self._scoring, *self._queue):
                if now - waiting.signalled_at >= self.consumer.ack_wait_s / 3:
                    waiting.signalled_at = now
                    await settle(waiting.msg.in_progress)

    async def _follow_clock(self) -> None:
        """Reads the broker's clock now and then, soon again after a failure, and at once after a reconnection."""
        while True:
            try:
                async with asyncio.timeout(_CLOCK_REFRESH_S if self._is_clock_read else _CLOCK_RETRY_S):
                    await self._clock_due.wait()
            except TimeoutError:
                pass
            self._clock_due.clear()
            await self._refresh_clock()

    async def _refresh_clock(self) -> None:
        try:
            self._offset_us = await self.consumer.monotonic_offset_us()
        except (errors.Error, TimeoutError, ValueError) as error:
            _log.debug("broker's clock not read: %r", error)
            self._is_clock_read = False
        else:
            self._is_clock_read = True


def next_credit(present: int, least: int, scored: Sequence[Delivery], took_s: float) -> int:
    """Returns how many parcels may be taken ahead: as many as are scored in 20 ms, at most twice as many as now.

    What waits is scored as one table, so that more is taken ahead in a backlog of cheap parcels. A replica that
    dies delays what it had taken by `ack_wait`; where one did, or nothing is to be taken ahead, it stays at the least.

    Args:
        present: the credit now.
        least: the configured credit; 1 is kept, whatever the model's speed.
        scored: what was scored just now, at least one.
        took_s: seconds that it took.
    """
    if least == 1 or any(delivery.number > 1 for delivery in scored):
        return least
    affordable = int(_AHEAD_S * len(scored) / max(took_s, 1e-6))
    return max(least, min(affordable, 2 * present, _MOST_CREDIT))

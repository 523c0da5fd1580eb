"""A bridge at the postbox: takes parcels while the model server is well, hands them to lanes, answers."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_proto.errors import UnavailableError
from rendezvous_proto.postbox import MAX_PARCEL_BYTES
from rendezvous_sdk.consumer import ModelConsumer
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.pull import ContinuousPull
from rendezvous_sdk.scoring import Delivery, unix_us
from rendezvous_sdk.settling import answer_parcel, settle
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.bridge.clock import BrokerClock
from rendezvous_router.bridge.lane import Lane
from rendezvous_router.bridge.parcel_queue import HOLD_OFFS_S, ParcelQueue, WaitingParcel

__all__ = ["BridgeReader"]

_log = logging.getLogger(__name__)

_MAX_PAYLOAD_SHARE = 0.95


class BridgeReader:
    """Reads the postbox between `open` and `close`, any number of times. Belongs to the event loop.

    Args:
        nc: the connection; it buffers while disconnected, so that scores survive a reconnection.
        lanes: what scores.
        options: names, credit and limits.
        counters: counted into.
        on_lost: called when the model server could not be reached; `close` is to follow.
    """

    def __init__(
        self,
        nc: Connection,
        *,
        lanes: Sequence[Lane],
        options: ServeOptions,
        counters: Counters,
        on_lost: Callable[[UnavailableError], None],
    ) -> None:
        self.consumer = ModelConsumer(nc, options)
        self._nc = nc
        self._options = options
        self._counters = counters
        self._on_lost = on_lost
        self._queue = ParcelQueue(options.max_joined_rows)
        self._idle = list(lanes)
        self._running: dict[asyncio.Task[None], Sequence[WaitingParcel]] = {}
        self._is_alone = False
        self._is_open = False
        self._opening = 0
        self._opened_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._owed = 0
        self._clock = BrokerClock(nc, stream=self.consumer.stream, consumer=self.consumer.name)
        self._pull: ContinuousPull | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for lane in lanes:
            lane.limit_bytes(min(MAX_PARCEL_BYTES, int(nc.max_payload * _MAX_PAYLOAD_SHARE)))

    async def start(self) -> None:
        """Waits for the stream and the broker's time, and makes the consumer; reads nothing yet."""
        await self.consumer.wait_until_ensured()
        await self._clock.wait_read()
        self._tasks = [
            asyncio.create_task(self._signal_progress(), name="bridge-progress"),
            asyncio.create_task(self._clock.follow(), name="bridge-clock"),
        ]

    async def open(self) -> None:
        """Begins to pull."""
        if self._pull is not None:
            return
        self._is_open = True
        self._owed = 0
        self._opened_at = time.monotonic()
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(hold_off_s, self._dispatch) for hold_off_s in HOLD_OFFS_S[1:]]
        pull = await ContinuousPull.start(
            self._nc,
            stream=self.consumer.stream,
            consumer=self.consumer.name,
            on_message=self._take,
            credit=self._options.credit,
            manual_release=True,
            ensure=self.consumer.ensure,
        )
        self._pull, owed, self._owed = pull, self._owed, 0
        await pull.release(owed)

    async def close(self) -> None:
        """Stops to pull, then hands back what waits: so it goes to another replica, or stays in the postbox."""
        self._is_open = False
        for timer in self._timers:
            timer.cancel()
        if self._pull is not None:
            await self._pull.stop()
            self._pull = None
        self._opening += 1  # what was delivered until now counts against no later pull
        for parcel in self._queue.clear():
            await settle(parcel.msg.nak)

    async def wait_failed(self) -> None:
        """Returns never; raises what ended a lane, which is a fault of the bridge."""
        await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Closes, and finishes and publishes what is being scored."""
        await self.close()
        if self._running:
            await asyncio.wait(self._running)
        await end_tasks(*self._tasks)

    def _take(self, msg: Msg) -> None:
        self._queue.put(WaitingParcel(msg, self._delivery_of(msg), opening=self._opening))
        self._dispatch()

    def _dispatch(self) -> None:
        """Gives each idle lane what may go now."""
        while self._is_open and self._idle and not self._is_alone:
            batch = self._queue.take(is_idle=not self._running, open_s=time.monotonic() - self._opened_at)
            if not batch:
                return
            self._is_alone = self._queue.losses(batch[0]) > 0
            lane = self._idle.pop()
            task = asyncio.create_task(self._score(lane, batch), name="bridge-score")
            self._running[task] = batch
            task.add_done_callback(partial(self._finish, lane))

    def _finish(self, lane: Lane, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        self._is_alone = False
        self._idle.append(lane)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)
        self._dispatch()

    async def _score(self, lane: Lane, batch: Sequence[WaitingParcel]) -> None:
        deliveries = [parcel.delivery for parcel in batch]
        try:
            replies = await lane.score(deliveries)
        except UnavailableError as error:
            await self._hand_back(batch, error)
        else:
            await self._answer_all(batch, replies)
            await self._release(batch)

    async def _answer_all(
        self, batch: Sequence[WaitingParcel], replies: Sequence[tuple[v1.ParcelScore, bytes]]
    ) -> None:
        for parcel, (score, payload) in zip(batch, replies, strict=True):
            if await answer_parcel(self._nc, self._options, parcel.msg, parcel.delivery.parcel, payload):
                self._queue.note_answered(parcel)
                self._counters.count(score, parcel.delivery.received_unix_us)
            else:
                self._queue.note_unheard(parcel)

    async def _release(self, batch: Sequence[WaitingParcel]) -> None:
        """Gives back credit, unless the pull that gave these parcels is over."""
        if batch[0].opening != self._opening:
            return
        if self._pull is None:
            self._owed += len(batch)  # it is just being started
        else:
            await self._pull.release(len(batch))

    async def _hand_back(self, batch: Sequence[WaitingParcel], error: UnavailableError) -> None:
        """Returned while this bridge still pulls, a parcel would come straight back: `close` returns it then.

        Until then it counts against the credit, so that nothing more is pulled in its place.
        """
        if self._is_open and batch[0].opening == self._opening:
            self._is_open = False
            self._on_lost(error)
        self._queue.note_lost(batch)
        for parcel in batch:
            if parcel.opening == self._opening:
                self._queue.put(parcel)
            else:
                await settle(parcel.msg.nak)

    def _delivery_of(self, msg: Msg) -> Delivery:
        received, broker_us = unix_us(), self._clock.now_us()
        metadata = msg.metadata
        parcel = v1.Parcel()
        try:
            parcel.ParseFromString(msg.data)
        except DecodeError:
            _log.error("parcel %s of %s is no Parcel: taken off", metadata.sequence.stream, self.consumer.stream)
        return Delivery(
            parcel=parcel,
            sequence=metadata.sequence.stream,
            number=metadata.num_delivered,
            age_us=broker_us - round(metadata.timestamp.timestamp() * 1e6),
            received_unix_us=received,
        )

    async def _signal_progress(self) -> None:
        """Defends what is held against redelivery while the model server works."""
        while True:
            await asyncio.sleep(self.consumer.ack_wait_s / 6)
            now = time.monotonic()
            held = [parcel for batch in self._running.values() for parcel in batch]
            for parcel in (*held, *self._queue):
                if now - parcel.signalled_at >= self.consumer.ack_wait_s / 3:
                    parcel.signalled_at = now
                    await settle(parcel.msg.in_progress)

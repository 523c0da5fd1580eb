"""Continuous pull: a durable JetStream consumer read without a round trip for each message.

nats-py's `fetch()` asks, waits and asks again, which costs latency, caps the throughput and stalls. Here pull
requests *stand* at the server, in two halves that run out at different times, so that one of them always
waits for the next message. Every request counts against `credit`: at no time are more messages on their way
or unprocessed than that.

Source: ADR 0005; docs/protocol.md, "Reading the postbox".
"""

import asyncio
import inspect
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import cast

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from rendezvous_sdk.tasks import end_tasks

_log = logging.getLogger(__name__)

OnMessage = Callable[[Msg], Awaitable[None] | None]
Ensure = Callable[[], Awaitable[None]]

_EXPIRES_S = 20.0
_BACKOFF_FIRST_S = 0.05
_BACKOFF_LAST_S = 0.5
_STOP_TIMEOUT_S = 5.0

# Statuses after which the requests that stood are simply over; after others the consumer must be looked at.
_REQUEST_ENDED = frozenset({"404", "408"})
_REQUEST_FILLED = ("Batch Completed", "Message Size Exceeds MaxBytes")
_LEAST_BYTES = 1 << 20


class ContinuousPull:
    """Standing pull requests on one durable consumer; made by `start`.

    Liveness rule: when neither a message nor a heartbeat came for two intervals although a request stands, or
    the consumer is gone, or the connection was lost and is back, the subscription is rebuilt, with growing
    pauses while that fails. In a cluster a consumer whose server died says nothing for the seconds that its
    servers take to elect another leader; then it is not made anew, but asked again until it answers.

    Not thread-safe: belongs to the event loop of its connection.

    Attributes:
        rebuilds: how often the subscription was rebuilt.
    """

    def __init__(
        self,
        nc: Client,
        *,
        stream: str,
        consumer: str,
        on_message: OnMessage,
        credit: int,
        heartbeat_s: float,
        manual_release: bool,
        ensure: Ensure | None,
        max_bytes: int | None = None,
    ) -> None:
        if credit < 1:
            raise ValueError(f"credit is {credit}; at least 1 message must be allowed")
        self.rebuilds = 0
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = f"{stream}/{consumer}"
        self._on_message = on_message
        self._is_async = _is_coroutine_callback(on_message)
        self._credit = credit
        self._heartbeat_s = heartbeat_s
        self._manual_release = manual_release
        self._ensure = ensure
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._payloads: dict[int, bytes] = {}
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._standing = 0
        self._held = 0
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._stopping = False
        self._heard_at = time.monotonic()
        self._reconnects = nc.stats["reconnects"]
        self._failures = 0
        self._rebuilding: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(
        cls,
        nc: Client,
        *,
        stream: str,
        consumer: str,
        on_message: OnMessage,
        credit: int = 4,
        heartbeat_s: float = 1.0,
        manual_release: bool = False,
        ensure: Ensure | None = None,
        max_bytes: int | None = None,
    ) -> "ContinuousPull":
        """Subscribes and asks for the first messages.

        Args:
            nc: the connection.
            stream: name of the stream.
            consumer: name of the durable pull consumer.
            on_message: called with each message, in order; it must acknowledge. A coroutine function is
                awaited before the next message is handed over. An error that it raises is logged; the
                message stays unacknowledged and comes again after the consumer's `ack_wait`.
            credit: messages that may be on their way or unprocessed at one time.
            heartbeat_s: interval of the server's heartbeats while nothing comes, seconds.
            manual_release: a message counts as unprocessed until `release` is called, not until `on_message`
                is done.
            ensure: makes the stream's consumer where it is missing; called when it seems to be gone.
                Errors are logged and it is called again.
            max_bytes: bytes that may be on their way at one time, each request having its share, and at least 1 MiB;
                None: `credit` alone counts.

        Returns:
            The running pull.

        Raises:
            ValueError: credit below 1.
        """
        pull = cls(
            nc,
            stream=stream,
            consumer=consumer,
            on_message=on_message,
            credit=credit,
            heartbeat_s=heartbeat_s,
            manual_release=manual_release,
            ensure=ensure,
            max_bytes=max_bytes,
        )
        listeners = getattr(nc, "reconnect_listeners", None)
        if listeners is not None:
            listeners.append(pull._check_connection)
        if pull._is_async:
            pull._worker = pull._loop.create_task(pull._work())
        await pull._subscribe()
        pull._schedule_check()
        return pull

    @property
    def credit(self) -> int:
        """Messages that may be on their way or unprocessed at one time; a change counts from the next request on."""
        return self._credit

    @credit.setter
    def credit(self, credit: int) -> None:
        if credit < 1:
            raise ValueError(f"credit is {credit}; at least 1 message must be allowed")
        self._credit = credit
        self._payloads.clear()

    @property
    def held(self) -> int:
        """Messages handed over and not yet released."""
        return self._held

    async def release(self, count: int = 1) -> None:
        """Gives back the credit of *count* processed messages (`manual_release` only) and asks for more.

        Never waits for the network: the request leaves with what else was published in this turn of the loop.
        """
        self._held -= count
        await self._renew()

    async def stop(self) -> None:
        """Asks for nothing more; what is on its way or queued here goes back to the consumer at once (nak).

        A message in an asynchronous `on_message` is finished first, however long it takes.
        With `manual_release`, messages that were handed over stay the caller's.
        The server is waited for at most 5 seconds.
        """
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        listeners = getattr(self._nc, "reconnect_listeners", [])
        if self._check_connection in listeners:
            listeners.remove(self._check_connection)
        await end_tasks(self._rebuilding)
        if self._subscription is not None:
            await self._end_subscription(self._subscription)
            self._subscription = None
        if self._worker is not None:
            await self._queue.join()
            await end_tasks(self._worker)

    async def _end_subscription(self, subscription: Subscription) -> None:
        try:
            draining = subscription.drain()  # type: ignore[no-untyped-call] # nats-py lacks the annotation
            await asyncio.wait_for(draining, _STOP_TIMEOUT_S)
        except (errors.Error, TimeoutError) as error:
            _log.debug("pull %s: unsubscribed without the server's word: %r", self._name, error)

    async def _give_back(self, msg: Msg) -> None:
        try:
            await msg.nak()
        except errors.Error as error:
            _log.debug("pull %s: not given back, comes again after ack_wait: %r", self._name, error)

    async def _subscribe(self) -> None:
        self._inbox = self._nc.new_inbox()
        self._standing = 0
        self._heard_at = time.monotonic()
        self._subscription = await self._nc.subscribe(self._inbox, cb=self._receive)
        free = self._credit - self._held
        if free > 1:
            # One half runs out earlier, and so they stay apart: a request is always standing.
            await self._request(free // 2, _EXPIRES_S / 2)
        await self._request(self._credit - self._held - self._standing, _EXPIRES_S)

    async def _renew(self) -> None:
        """Asks for what credit allows, once half of it is free: fewer requests than one for each message."""
        free = self._credit - self._held - self._standing
        if free * 2 >= self._credit or (free and not self._standing):
            await self._request(free, _EXPIRES_S)

    async def _request(self, batch: int, expires_s: float) -> None:
        if batch < 1 or self._stopping or self._rebuilding is not None or self._subscription is None:
            return
        if not self._nc.is_connected:
            return
        if not self._standing:
            self._heard_at = time.monotonic()
        self._standing += batch
        await self._nc.publish(self._subject, self._payload(batch, expires_s), reply=self._inbox)

    def _payload(self, batch: int, expires_s: float) -> bytes:
        key = batch if expires_s == _EXPIRES_S else -batch
        if key not in self._payloads:
            request = {
                "batch": batch,
                "expires": int(expires_s * 1e9),
                "idle_heartbeat": int(self._heartbeat_s * 1e9),
            }
            if self._max_bytes is not None:
                request["max_bytes"] = max(_LEAST_BYTES, self._max_bytes * batch // self._credit)
            self._payloads[key] = json.dumps(request).encode()
        return self._payloads[key]

    async def _receive(self, msg: Msg) -> None:
        self._heard_at = time.monotonic()
        if msg.headers and "Status" in msg.headers:
            if not self._stopping:
                await self._take_status(msg)
            return
        if self._stopping:
            await self._give_back(msg)
            return
        self._failures = 0
        self._standing = max(0, self._standing - 1)
        self._held += 1
        if self._is_async:
            self._queue.put_nowait(msg)
            return
        try:
            self._on_message(msg)
        except Exception:  # noqa: BLE001 - the callback is the caller's; its trace goes to the log
            self._log_failure()
        await self._finish_one()

    async def _work(self) -> None:
        """Awaits the callback apart from the subscription: heartbeats are heard while it runs."""
        while True:
            msg = await self._queue.get()
            if self._stopping:
                await self._give_back(msg)
            else:
                await self._await_callback(msg)
            self._queue.task_done()

    async def _await_callback(self, msg: Msg) -> None:
        try:
            await cast("Awaitable[None]", self._on_message(msg))
        except Exception:  # noqa: BLE001 - the callback is the caller's; its trace goes to the log
            self._log_failure()
        await self._finish_one()

    def _log_failure(self) -> None:
        _log.exception("pull %s: a message failed; it comes again after ack_wait", self._name)

    async def _finish_one(self) -> None:
        if self._manual_release:
            await self._renew()
        else:
            await self.release()

    async def _take_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, description = headers["Status"], headers.get("Description", "")
        if status == "100":
            self._failures = 0
            return
        if status in _REQUEST_ENDED or description.startswith(_REQUEST_FILLED):
            ended = int(headers.get("Nats-Pending-Messages", self._standing))
            self._standing = max(0, self._standing - ended)
            await self._renew()
            return
        is_gone = status == "503" or "Consumer Deleted" in description
        self._rebuild(f"{status} {description}".strip(), is_gone=is_gone)

    def _schedule_check(self) -> None:
        interval_s = self._heartbeat_s / 2
        self._timer = self._loop.call_later(interval_s, self._check, time.monotonic() + interval_s)

    def _check(self, due: float) -> None:
        """The liveness rule."""
        self._schedule_check()
        now = time.monotonic()
        if now - due > self._heartbeat_s / 2:
            # This process was stopped or busy: what came meanwhile has not been read yet.
            self._heard_at = now
            return
        self._check_connection()
        subscription = self._subscription
        if self._rebuilding is not None or subscription is None or not self._nc.is_connected:
            return
        if subscription.pending_msgs:
            self._heard_at = now
        elif self._standing and now - self._heard_at > 2 * self._heartbeat_s:
            self._rebuild(f"nothing heard for {now - self._heard_at:.1f} s", is_gone=True)

    def _check_connection(self) -> None:
        if self._nc.is_connected and self._nc.stats["reconnects"] != self._reconnects:
            self._reconnects = self._nc.stats["reconnects"]
            self._failures = 0
            if self._rebuilding is not None:
                self._rebuilding.cancel()
                self._rebuilding = None
            self._rebuild("reconnected", is_gone=False)

    def _rebuild(self, reason: str, *, is_gone: bool) -> None:
        if self._rebuilding is None and not self._stopping:
            self._rebuilding = self._loop.create_task(self._rebuild_now(reason, is_gone=is_gone))

    async def _rebuild_now(self, reason: str, *, is_gone: bool) -> None:
        self.rebuilds += 1
        pause_s = self._next_pause_s()
        level = logging.INFO if self._failures < 2 else logging.WARNING
        _log.log(level, "pull %s: %s; subscribing again in %.2f s", self._name, reason, pause_s)
        old, self._subscription = self._subscription, None
        if old is not None:
            try:
                await old.unsubscribe()
            except errors.Error as error:
                _log.debug("pull %s: old subscription: %r", self._name, error)
        await asyncio.sleep(pause_s)
        if is_gone:
            await self._ensure_consumer()
        self._rebuilding = None
        if self._nc.is_connected:
            await self._subscribe()

    async def _ensure_consumer(self) -> None:
        """Returns when the consumer is there, or when nobody says: then asking it for messages will tell."""
        while self._ensure is not None:
            try:
                await self._ensure()
            except TimeoutError:
                _log.info("pull %s: no word of the consumer; it may have no leader now", self._name)
                return
            except (errors.Error, OSError) as error:
                pause_s = self._next_pause_s()
                _log.warning("pull %s: consumer not there (%r); again in %.2f s", self._name, error, pause_s)
                await asyncio.sleep(pause_s)
            else:
                return

    def _next_pause_s(self) -> float:
        """Nothing at first, then doubling from 50 ms to half a second, give or take a quarter."""
        self._failures += 1
        if self._failures == 1:
            return 0.0
        pause_s: float = min(_BACKOFF_FIRST_S * 2.0 ** (self._failures - 2), _BACKOFF_LAST_S)
        return pause_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing


def _is_coroutine_callback(callback: OnMessage) -> bool:
    called = callback if inspect.isroutine(callback) else type(callback).__call__
    return inspect.iscoroutinefunction(called)

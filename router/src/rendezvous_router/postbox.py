"""The postbox as the router uses it: publish and wait for JetStream's acknowledgement, hear scores.

One NATS connection. Publishes carry a `Nats-Msg-Id`; acknowledgements come to one inbox subscription, so a publish
costs no task and no subscription of its own. When the connection breaks, every publish that waits for its
acknowledgement fails at once: its outcome is unknown, and the caller says so (UNAVAILABLE, retry with the same id).
When instead the server of the stream dies, nobody says so: what is not acknowledged within `RESEND_S` is sent again
with its id, under which JetStream keeps it once, until the caller's time is up (docs/cluster.md).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from time import monotonic

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from rendezvous_proto.keys import Key
from rendezvous_proto.postbox import MSG_ID_HEADER, durable_stream, router_scores_subject
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect

PENDING_SCORES = 65_536
"""Scores that may wait in this process; beyond that nats-py drops, which is counted and logged."""
PENDING_BYTES = 256 << 20
"""The same in bytes."""
NO_RESPONDERS = "503"
_IN_PROCESS = 10158
"""JetStream's error code for a message that comes again while it is being replicated: its first sending will be
acknowledged."""
RESEND_S = 1.0
"""How long an acknowledgement is waited for before the message is sent again."""

_log = logging.getLogger(__name__)

OnScore = Callable[[str, bytes], None]
"""Takes (subject, payload) of a score."""


class PostboxError(ConnectionError):
    """JetStream did not take the message, or it is not known whether it did."""


@dataclass(slots=True, eq=False)
class _Sent:
    """A message that JetStream has not acknowledged yet."""

    subject: str
    payload: bytes
    message_id: str
    acknowledged: "asyncio.Future[int]"
    sent_at: float
    give_up_at: float


class _PubAck(msgspec.Struct):
    """JetStream's acknowledgement of a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: dict[str, object] | None = None


class Postbox:
    """The router's connection to NATS. Made by `Postbox.open`; belongs to one event loop.

    Args:
        client: the connection.
        router: id of this router's life; scores of an earlier life have another return address.
    """

    def __init__(self, client: Connection, router: str) -> None:
        self.client = client
        self.router = router
        self.inbox = client.new_inbox()
        self._tokens = count()
        self._waiting: dict[str, _Sent] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._decoder = msgspec.json.Decoder(_PubAck)
        self._scores: Subscription | None = None

    @classmethod
    async def open(cls, url: str, *, router: str, timeout_s: float | None = None, key: Key | None = None) -> "Postbox":
        """Connects to *url* and listens for acknowledgements. Waits for the server for *timeout_s*; None: for ever.

        Certificates are those that the environment names, and so is the key where *key* is None.

        Raises:
            ConnectionError, nats.errors.Error: the server cannot be reached, or refuses.
        """
        shown = Credentials.read()
        client = await connect(
            url,
            name=f"rendezvous-router {router}",
            buffer_bytes=-1,
            timeout_s=timeout_s,
            credentials=shown if key is None else replace(shown, key=key),
        )
        box = cls(client, router)
        client.disconnect_listeners.append(
            lambda: box.fail_waiting("the connection to nats-server was lost before it acknowledged")
        )
        await client.subscribe(f"{box.inbox}.*", cb=box.take_ack)
        return box

    @property
    def is_connected(self) -> bool:
        """Whether a publish can be tried now."""
        return bool(self.client.is_connected)

    async def hear_scores(self, on_score: OnScore) -> None:
        """Calls *on_score* with every score that is addressed to this router."""

        async def take(msg: Msg) -> None:
            on_score(msg.subject, msg.data)

        self._scores = await self.client.subscribe(
            router_scores_subject(self.router),
            cb=take,
            pending_msgs_limit=PENDING_SCORES,
            pending_bytes_limit=PENDING_BYTES,
        )

    def send(
        self, subject: str, payload: bytes, message_id: str, *, within_s: float | None = None
    ) -> "asyncio.Future[int]":
        """Publishes to JetStream.

        Args:
            subject: a subject of a stream.
            payload: the message.
            message_id: its `Nats-Msg-Id`.
            within_s: seconds for which it is sent again every `RESEND_S` while nothing is heard of it; at most
                JetStream's memory of ids. None: it is sent once, and waited for without end.

        Returns:
            The stream sequence, once JetStream has acknowledged. Fails with PostboxError when it refused, when the
            connection broke meanwhile or *within_s* was over (then the message may have landed).
        """
        token = str(next(self._tokens))
        acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        now = monotonic()
        give_up_at = float("inf") if within_s is None else now + within_s
        sent = _Sent(subject, payload, message_id, acknowledged, now, give_up_at)
        self._waiting[token] = sent
        acknowledged.add_done_callback(lambda _: self._waiting.pop(token, None))
        self._publish_soon(token, sent)
        if self._timer is None and within_s is not None:
            self._timer = asyncio.get_running_loop().call_later(RESEND_S / 2, self._look_after_waiting)
        return acknowledged

    async def write(self, subject: str, payload: bytes, message_id: str, *, timeout_s: float = 5.0) -> None:
        """Publishes and waits for the acknowledgement, for at most *timeout_s* seconds.

        Raises:
            PostboxError, TimeoutError: as `send`, and when the time was up.
        """
        await asyncio.wait_for(self.send(subject, payload, message_id, within_s=timeout_s), timeout_s)

    async def has_lost(self, endpoint: str) -> bool:
        """Returns whether JetStream says that an endpoint has no durable stream; False where it says nothing."""
        if not self.is_connected:
            return False
        try:
            await self.client.jetstream().stream_info(durable_stream(endpoint))
        except NotFoundError:
            return True
        except (NatsError, OSError, TimeoutError):
            return False
        return False

    def fail_waiting(self, reason: str) -> None:
        """Fails every publish that waits for its acknowledgement."""
        for sent in list(self._waiting.values()):
            if not sent.acknowledged.done():
                sent.acknowledged.set_exception(PostboxError(reason))

    async def close(self) -> None:
        """Sends what is buffered and closes the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.client.is_closed:
            try:
                await asyncio.wait_for(self.client.flush(), 2.0)
            except (NatsError, OSError, TimeoutError) as error:
                _log.warning("closing without a last flush: %s", error)
            await self.client.close()

    def _look_after_waiting(self) -> None:
        """Sends again what waits for long, and gives up what has waited too long."""
        self._timer = None
        now = monotonic()
        for token, sent in list(self._waiting.items()):
            if now >= sent.give_up_at and not sent.acknowledged.done():
                sent.acknowledged.set_exception(PostboxError("JetStream did not acknowledge in time"))
            elif now - sent.sent_at >= RESEND_S and sent.give_up_at != float("inf") and self.is_connected:
                sent.sent_at = now
                self._publish_soon(token, sent)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(RESEND_S / 2, self._look_after_waiting)

    def _publish_soon(self, token: str, sent: _Sent) -> None:
        task = asyncio.ensure_future(self._publish(token, sent))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _publish(self, token: str, sent: _Sent) -> None:
        try:
            await self.client.publish(
                sent.subject, sent.payload, reply=f"{self.inbox}.{token}", headers={MSG_ID_HEADER: sent.message_id}
            )
        except (NatsError, OSError) as error:
            if not sent.acknowledged.done():
                sent.acknowledged.set_exception(PostboxError(f"nats-server is not connected ({type(error).__name__})"))

    async def take_ack(self, msg: Msg) -> None:
        """Takes JetStream's reply to one publish (callback of the inbox)."""
        sent = self._waiting.get(msg.subject.rpartition(".")[2])
        if sent is None or sent.acknowledged.done():
            return
        acknowledged = sent.acknowledged
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            acknowledged.set_exception(
                PostboxError("no stream takes this subject now: it is not made yet, or its server is gone")
            )
            return
        try:
            ack = self._decoder.decode(msg.data)
        except msgspec.DecodeError as error:
            acknowledged.set_exception(PostboxError(f"unreadable acknowledgement: {error}"))
            return
        if ack.error is not None and ack.error.get("err_code") == _IN_PROCESS:
            return
        if ack.error is not None:
            acknowledged.set_exception(PostboxError(str(ack.error.get("description", "refused by JetStream"))))
        else:
            acknowledged.set_result(ack.seq)

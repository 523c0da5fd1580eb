"""The postbox as the router uses it: publish and wait for JetStream's acknowledgement, hear scores.

One NATS connection. Publishes carry a `Nats-Msg-Id`; acknowledgements come to one inbox subscription, so a publish
costs no task and no subscription of its own. When the connection breaks, every publish that waits for its
acknowledgement fails at once: its outcome is unknown, and the caller says so (UNAVAILABLE, retry with the same id).
"""

import asyncio
import logging
from collections.abc import Callable
from itertools import count

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from rendezvous_proto.postbox import MSG_ID_HEADER, router_scores_subject
from rendezvous_sdk.nats_connection import Connection, connect

PENDING_SCORES = 65_536
"""Scores that may wait in this process; beyond that nats-py drops, which is counted and logged."""
PENDING_BYTES = 256 << 20
"""The same in bytes."""
NO_RESPONDERS = "503"

_log = logging.getLogger(__name__)

OnScore = Callable[[str, bytes], None]
"""Takes (subject, payload) of a score."""


class PostboxError(ConnectionError):
    """JetStream did not take the message, or it is not known whether it did."""


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
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._sends: set[asyncio.Task[None]] = set()
        self._decoder = msgspec.json.Decoder(_PubAck)
        self._scores: Subscription | None = None

    @classmethod
    async def open(cls, url: str, *, router: str, timeout_s: float | None = None) -> "Postbox":
        """Connects to *url* and listens for acknowledgements. Waits for the server for *timeout_s*; None: for ever.

        Raises:
            ConnectionError, nats.errors.Error: the server cannot be reached, or refuses.
        """
        client = await connect(url, name=f"rendezvous-router {router}", buffer_bytes=-1, timeout_s=timeout_s)
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

    def send(self, subject: str, payload: bytes, message_id: str) -> "asyncio.Future[int]":
        """Publishes to JetStream.

        Returns:
            The stream sequence, once JetStream has acknowledged. Fails with PostboxError when it refused, or when the
            connection broke meanwhile (then the message may have landed). The caller limits the time.
        """
        token = str(next(self._tokens))
        acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[token] = acknowledged
        acknowledged.add_done_callback(lambda _: self._waiting.pop(token, None))
        task = asyncio.ensure_future(self._publish(subject, payload, message_id, token))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)
        return acknowledged

    async def write(self, subject: str, payload: bytes, message_id: str, *, timeout_s: float = 5.0) -> None:
        """Publishes and waits for the acknowledgement, for at most *timeout_s* seconds.

        Raises:
            PostboxError, TimeoutError: as `send`, and when the time was up.
        """
        await asyncio.wait_for(self.send(subject, payload, message_id), timeout_s)

    def fail_waiting(self, reason: str) -> None:
        """Fails every publish that waits for its acknowledgement."""
        for acknowledged in list(self._waiting.values()):
            if not acknowledged.done():
                acknowledged.set_exception(PostboxError(reason))

    async def close(self) -> None:
        """Sends what is buffered and closes the connection."""
        if not self.client.is_closed:
            try:
                await asyncio.wait_for(self.client.flush(), 2.0)
            except (NatsError, OSError, TimeoutError) as error:
                _log.warning("closing without a last flush: %s", error)
            await self.client.close()

    async def _publish(self, subject: str, payload: bytes, message_id: str, token: str) -> None:
        try:
            await self.client.publish(
                subject, payload, reply=f"{self.inbox}.{token}", headers={MSG_ID_HEADER: message_id}
            )
        except (NatsError, OSError) as error:
            acknowledged = self._waiting.get(token)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_exception(PostboxError(f"nats-server is not connected ({type(error).__name__})"))

    async def take_ack(self, msg: Msg) -> None:
        """Takes JetStream's reply to one publish (callback of the inbox)."""
        acknowledged = self._waiting.get(msg.subject.rpartition(".")[2])
        if acknowledged is None or acknowledged.done():
            return
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            acknowledged.set_exception(PostboxError("no stream takes this subject yet"))
            return
        try:
            ack = self._decoder.decode(msg.data)
        except msgspec.DecodeError as error:
            acknowledged.set_exception(PostboxError(f"unreadable acknowledgement: {error}"))
            return
        if ack.error is not None:
            acknowledged.set_exception(PostboxError(str(ack.error.get("description", "refused by JetStream"))))
        else:
            acknowledged.set_result(ack.seq)

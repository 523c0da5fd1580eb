"""The kit in the router's place at a postbox: puts parcels in, takes scores out, and listens to acknowledgements."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_proto.frames import join_frames
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import (
    MSG_ID_HEADER,
    consumer_name,
    durable_stream,
    input_subject,
    router_scores_subject,
)
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.conformance.case import Failed

__all__ = ["Arrival", "Postman", "Sign"]

_PUBLISH_LIMIT_S = 5.0
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One score as it came."""

    score: v1.ParcelScore
    subject: str
    payload_bytes: int
    order: int
    """Its place among all that was heard."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One acknowledgement of any kind as it was sent."""

    word: str
    """`+ACK`, `-NAK`, `+WPI` (in progress) or `+TERM`."""
    sequence: int
    """Stream sequence of the message."""
    delivery: int
    """Number of the delivery."""
    subject: str
    order: int


class Postman:
    """Acts as one router, with a return address of its own. Belongs to the event loop.

    Args:
        nc: the connection.
        endpoint: whose postbox.
        model: whose scores are waited for.
        version: its version.
    """

    def __init__(self, nc: Connection, *, endpoint: str, model: str, version: str) -> None:
        self.nc = nc
        self.endpoint = endpoint
        self.model = model
        self.stream = durable_stream(endpoint)
        self.consumer = consumer_name(model, version)
        self.router = f"conformance-{uuid4().hex[:8]}"
        self.arrivals: list[Arrival] = []
        self.garbage: list[str] = []
        self.signs: list[Sign] = []
        self.calls: list[str] = []
        self._heard = 0
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Subscribes to what is told to this router, and to the consumer's acknowledgements.

        Of a burst nobody knows which of a score and an acknowledgement came first: they are two subscriptions. One to
        everything would be an interest in the inboxes of dead replicas, and the server would deliver there.
        """
        await self.nc.subscribe(router_scores_subject(self.router), cb=self._take_score)
        await self.nc.subscribe(f"$JS.ACK.{self.stream}.{self.consumer}.>", cb=self._take_sign)
        await self.nc.subscribe(f"$JS.ACK.*.*.{self.stream}.{self.consumer}.>", cb=self._take_sign)
        await self.nc.flush()

    async def listen_to_calls(self) -> None:
        """Subscribes to what anybody asks of JetStream or writes into buckets; for a server of the kit's own."""
        for subject in ("$JS.API.>", "$KV.>"):
            await self.nc.subscribe(subject, cb=self._take_call)
        await self.nc.flush()

    def parcel(
        self,
        *tables: v1.Frame,
        budget_s: float = 60.0,
        budgets_s: Sequence[float] = (),
        traces: Sequence[str] = (),
        clock_off_s: float = 0.0,
    ) -> v1.Parcel:
        """Returns a parcel of one request for each table.

        Args:
            tables: the requests' rows.
            budget_s: every request's budget.
            budgets_s: in its place, one for each request.
            traces: `traceparent` of each request.
            clock_off_s: how far this router's clock is ahead.
        """
        sealed = time.time_ns() // 1000 + round(clock_off_s * 1e6)
        items = []
        for index, table in enumerate(tables):
            budget_us = round((budgets_s[index] if budgets_s else budget_s) * 1e6)
            item = v1.ParcelItem(request_id=new_id(), rows=table.rows, budget_us=budget_us)
            item.deadline_unix_us = sealed + budget_us
            item.traceparent = traces[index] if traces else ""
            items.append(item)
        return v1.Parcel(
            parcel_id=new_id(),
            endpoint=self.endpoint,
            router=self.router,
            sealed_unix_us=sealed,
            spec_revision=1,
            items=items,
            inputs=join_frames(list(tables)),
        )

    async def send(self, parcel: v1.Parcel, *, msg_id: str | None = None) -> int:
        """Puts a parcel into the postbox; returns its sequence once it is stored."""
        return await self.send_raw(parcel.SerializeToString(), msg_id=msg_id or parcel.parcel_id)

    async def send_raw(self, payload: bytes, *, msg_id: str = "") -> int:
        """Puts any bytes into the postbox; returns their sequence once they are stored."""
        acknowledged = await self.nc.jetstream().publish(
            input_subject(self.endpoint),
            payload,
            timeout=_PUBLISH_LIMIT_S,
            headers={MSG_ID_HEADER: msg_id} if msg_id else None,
        )
        return int(acknowledged.seq)

    async def ask(self, *tables: v1.Frame, limit_s: float = 10.0) -> v1.ParcelScore:
        """Sends one request for each table in one parcel; returns its score."""
        parcel = self.parcel(*tables)
        await self.send(parcel)
        return await self.score_of(parcel, limit_s=limit_s)

    async def score_of(self, parcel: v1.Parcel, *, limit_s: float = 10.0) -> v1.ParcelScore:
        """Waits for the first score of a parcel."""
        found = await self.wait(
            lambda: next((a for a in self.arrivals if a.score.parcel_id == parcel.parcel_id), None),
            limit_s=limit_s,
            what=f"no score of parcel {parcel.parcel_id}",
        )
        return found.score

    def arrivals_of(self, parcel: v1.Parcel) -> list[Arrival]:
        """Returns what came for a parcel so far."""
        return [arrival for arrival in self.arrivals if arrival.score.parcel_id == parcel.parcel_id]

    async def settled(self, sequence: int, *, limit_s: float = 5.0) -> Sign:
        """Waits until a message is acknowledged or terminated."""
        return await self.wait(
            lambda: next((s for s in self.signs if s.sequence == sequence and s.word in {"+ACK", "+TERM"}), None),
            limit_s=limit_s,
            what=f"message {sequence} neither acknowledged nor terminated",
        )

    async def wait(self, found: Callable[[], _Found | None], *, limit_s: float, what: str) -> _Found:
        """Waits until *found* gives something; it is asked after each message that is heard.

        Raises:
            Failed: it did not in time; tells *what*.
        """
        try:
            async with asyncio.timeout(limit_s):
                while (value := found()) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Failed(f"{what} within {limit_s:g} s") from None
        return value

    async def _take_call(self, msg: Msg) -> None:
        self.calls.append(msg.subject)
        self._changed.set()

    async def _take_score(self, msg: Msg) -> None:
        try:
            score = v1.ParcelScore.FromString(msg.data)
        except Exception:  # noqa: BLE001 - protobuf's decoders raise several kinds
            self.garbage.append(msg.subject)
        else:
            self.arrivals.append(Arrival(score, msg.subject, len(msg.data), self._next()))
        self._changed.set()

    async def _take_sign(self, msg: Msg) -> None:
        tokens = msg.subject.split(".")
        first = tokens.index(self.consumer) + 1
        word = msg.data.decode(errors="replace").split(" ")[0] or "+ACK"
        self.signs.append(Sign(word, int(tokens[first + 1]), int(tokens[first]), msg.subject, self._next()))
        self._changed.set()

    def _next(self) -> int:
        self._heard += 1
        return self._heard

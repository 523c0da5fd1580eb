"""Requests on their way, and the parcels in which they travel."""

import time
from asyncio import Future
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from rendezvous.mailbox import Mailbox
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import join_frames
from rendezvous_proto.ids import new_id
from rendezvous_proto.v1 import (
    Frame,
    Parcel,
    ParcelItem,
    Provenance,
    ScoreReply,
    ScoreRequest,
)

from rendezvous_router.checker import AcceptedFrame
from rendezvous_router.clock import Wake
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.telemetry.tracing import RequestTrace

_PROVENANCE = Provenance(component="rendezvous-router", version="0.1.0")


@dataclass(slots=True, eq=False)
class Request:
    """One accepted request, from its arrival to its answer."""

    request_id: str
    """Its id."""
    message: ScoreRequest
    """What the client sent."""
    endpoint: Endpoint
    """The revision of the endpoint under which it was accepted."""
    inputs: AcceptedFrame
    """Its rows, in the signature's order."""
    rows: int
    """Number of them."""
    accepted_at: float
    """Moment of acceptance, seconds of the monotonic clock."""
    accepted_unix_us: int
    """The same, microseconds since 1970-01-01 UTC."""
    deadline_at: float
    """Moment by which it is answered, seconds of the monotonic clock."""
    answer: "Future[ScoreReply]"
    """Its answer or error; set exactly once."""
    method: str = ""
    """Through which method it came."""
    traceparent: str = ""
    """W3C trace context of the client, or empty."""
    tracestate: str = ""
    """The same, vendors' part."""
    trace: RequestTrace | None = None
    """The ids of its spans, if it is sampled."""
    mailbox: Mailbox | None = None
    """Its mailbox."""
    reply: ScoreReply | RendezvousError | None = None
    """What it is answered once it is kept, from the moment it is decided."""
    parcel: "OpenParcel | None" = None
    """Its parcel, from the moment it is sealed."""
    first_row: int = 0
    """Its first row in the parcel."""
    wake: Wake | None = None
    """Its next planned wake."""
    wake_due_s: float = 0.0
    """What that wake is planned for, seconds from acceptance."""
    elapsed_ns: int = -1
    """The last moment that its mailbox saw, nanoseconds from acceptance."""
    outcome: ScoreReply | RendezvousError | None = None
    """What it was answered."""
    ended_at: float = 0.0
    """Moment of that, seconds of the monotonic clock."""

    def elapse(self, now: float, least_s: float = 0.0) -> float:
        """Returns the moment of an event as the mailbox sees it, seconds from acceptance.

        A whole number of nanoseconds, so that the record can hold it exactly, and later than the event before it,
        also where the clock woke the mailbox a little early: replayed in this order, events give the same decision.

        Args:
            now: the event's, seconds of the monotonic clock.
            least_s: what has been reached all the same: the moment that a wake was planned for.
        """
        elapsed_ns = int((now - self.accepted_at) * 1e9)
        if elapsed_ns <= self.elapsed_ns:
            elapsed_ns = self.elapsed_ns + 1
        if elapsed_ns / 1e9 < least_s:
            elapsed_ns = ceil(least_s * 1e9)
        self.elapsed_ns = elapsed_ns
        return elapsed_ns / 1e9


@dataclass(slots=True, eq=False)
class OpenParcel:
    """A parcel whose requests are not all done."""

    parcel_id: str
    """Its id."""
    endpoint: Endpoint
    """The revision under which it was sealed."""
    requests: list[Request]
    """Its requests, in the order of their rows."""
    request_ids: list[str]
    """Their ids, for comparison with a score's."""
    request_rows: list[int]
    """Their numbers of rows, for the same."""
    rows: int
    """All its rows."""
    sealed_at: float
    """Moment at which it was sealed, seconds of the monotonic clock."""
    closes_at: float
    """Moment until which its scores are awaited: the latest deadline of its requests."""
    undecided: int
    """Requests without a decision."""
    is_kept: bool = False
    """Whether JetStream has acknowledged it."""
    kept_at: float = 0.0
    """Moment of that, seconds of the monotonic clock."""
    scores: dict[str, Any] = field(default_factory=dict)
    """The scores taken, by model (`scores.TakenScore`)."""
    way: Any = None
    """Its way through the enrichers (`enriching.Way`); None: the endpoint has none."""

    def close(self) -> None:
        """Lets go of the requests: they refer to the parcel, and the cycle would wait for the garbage collector."""
        self.requests = []
        self.way = None

    def keep_requests(self, requests: list[Request]) -> None:
        """Goes on with *requests*, some of its own, alone."""
        self.requests = requests
        self.request_ids = [request.request_id for request in requests]
        self.request_rows = [request.rows for request in requests]
        self.rows = sum(self.request_rows)
        self.place_rows()

    def place_rows(self) -> None:
        """Tells the requests their place in it."""
        row = 0
        for request in self.requests:
            request.parcel, request.first_row = self, row
            row += request.rows


def seal_parcel(endpoint: Endpoint, requests: list[Request], *, router: str, now: float) -> tuple[OpenParcel, bytes]:
    """Joins *requests* to one parcel.

    Returns:
        The open parcel, and the serialized `Parcel` for the postbox.
    """
    parcel = open_parcel(endpoint, requests, now=now)
    sealed_unix_us = time.time_ns() // 1000
    items = [make_item(request, now, sealed_unix_us) for request in requests]
    message = make_message(parcel, items, join_rows(requests), router=router, sealed_unix_us=sealed_unix_us)
    return parcel, message.SerializeToString()


def open_parcel(endpoint: Endpoint, requests: list[Request], *, now: float) -> OpenParcel:
    """Returns a new parcel of *requests*, which are told their place in it."""
    parcel = OpenParcel(
        parcel_id=new_id(),
        endpoint=endpoint,
        requests=requests,
        request_ids=[request.request_id for request in requests],
        request_rows=[request.rows for request in requests],
        rows=sum(request.rows for request in requests),
        sealed_at=now,
        closes_at=max(request.deadline_at for request in requests),
        undecided=len(requests),
    )
    parcel.place_rows()
    return parcel


def make_message(
    parcel: OpenParcel, items: list[ParcelItem], inputs: Frame, *, router: str, sealed_unix_us: int
) -> Parcel:
    """Returns *parcel* as it travels."""
    return Parcel(
        parcel_id=parcel.parcel_id,
        endpoint=parcel.endpoint.name,
        router=router,
        sealed_unix_us=sealed_unix_us,
        spec_revision=parcel.endpoint.revision,
        items=items,
        inputs=inputs,
    )


def make_item(request: Request, now: float, sealed_unix_us: int, due_at: float | None = None) -> ParcelItem:
    """Returns *request* as it travels; *due_at* is the moment by which scores are wanted, None for its deadline."""
    message = request.message
    budget_us = max(0, int(((request.deadline_at if due_at is None else due_at) - now) * 1e6))
    item = ParcelItem(
        request_id=request.request_id,
        rows=request.rows,
        deadline_unix_us=sealed_unix_us + budget_us,
        budget_us=budget_us,
        provenance=[*message.provenance, _PROVENANCE],
    )
    if request.trace is not None:
        item.traceparent, item.tracestate = request.trace.item_traceparent, request.trace.tracestate
    elif request.traceparent:
        item.traceparent, item.tracestate = request.traceparent, request.tracestate
    if message.context:
        item.context.update(message.context)
    if message.HasField("diagnostics"):
        item.diagnostics.CopyFrom(message.diagnostics)
    return item


def join_rows(requests: list[Request]) -> Frame:
    """Returns the rows of *requests* in one frame."""
    if len(requests) == 1:
        return requests[0].inputs.frame
    rows = [request.inputs.row for request in requests if request.inputs.row is not None]
    if len(rows) == len(requests):
        return requests[0].endpoint.inputs.join_rows(rows)
    return join_frames([request.inputs.frame for request in requests])

"""How a desk's parcels pass the enrichers: published as they came, completed stage by stage, then put to the models.

The rules are `enrichment`'s; here are the postbox, the clock and the counts. A request of an endpoint with enrichers is
kept when JetStream has acknowledged both its raw parcel and the completed one. Nothing here waits longer than the
stages' budgets, whatever the enrichers do; everything runs in callbacks of one event loop, and nothing awaits.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from rendezvous_proto.postbox import MAX_PARCEL_BYTES, raw_message_id, raw_subject
from rendezvous_proto.v1 import ParcelScore

from rendezvous_router.clock import Wake
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.enrichment import Enrichment
from rendezvous_router.enrichment_plan import Enricher, EnrichmentPlan
from rendezvous_router.parcels import OpenParcel, Request, join_rows, make_item, make_message, open_parcel
from rendezvous_router.scores import TakenScore, take_score
from rendezvous_router.streams import duplicate_window_s
from rendezvous_router.telemetry.tracing import RequestTrace

if TYPE_CHECKING:
    from rendezvous_router.desk import Desk, DeskRoom

_log = logging.getLogger(__name__)

GROUP_BYTES = MAX_PARCEL_BYTES // 2
"""Bytes of rows and what is added to them, about, from which on waiting requests go into several parcels."""


@dataclass(slots=True, eq=False)
class Asking:
    """One stage of one parcel, as it happened."""

    stage: int
    """Number of the stage."""
    enrichers: Sequence[str]
    """Who was asked."""
    requests: list[Request]
    """The requests that had come so far."""
    traces: list[RequestTrace | None]
    """Ids of their spans at this stage; None: not sampled."""
    sealed_at: float
    """Moment of its publishing, seconds of the monotonic clock."""
    kept_at: float = 0.0
    """Moment of JetStream's acknowledgement; 0: there was none."""
    scores: dict[str, TakenScore] = field(default_factory=dict)
    """The first score of each enricher, late ones included."""


@dataclass(slots=True, eq=False)
class Way:
    """A parcel's way through the enrichers."""

    enrichment: Enrichment
    """Where it is."""
    raw: "asyncio.Future[int] | None" = None
    """JetStream's acknowledgement of the parcel as it came."""
    askings: list[Asking] = field(default_factory=list)
    """The stages up to now."""
    ended: list[Request] = field(default_factory=list)
    """Requests that went no further."""
    wake: Wake | None = None
    """The end of the present stage."""
    wake_at: float = 0.0
    """When that is, seconds of the monotonic clock."""
    is_at_models: bool = False
    """Whether the parcel has been put to the models, complete."""

    @property
    def is_kept(self) -> bool:
        """Whether JetStream has acknowledged the parcel as it came."""
        return bool(self.askings and self.askings[0].kept_at)


class EnrichingDesk:
    """Belongs to one desk.

    Args:
        desk: answers the requests.
        room: what the desks share.
    """

    def __init__(self, desk: "Desk", room: "DeskRoom") -> None:
        self._desk = desk
        self._room = room

    def begin(self, endpoint: Endpoint, plan: EnrichmentPlan, requests: list[Request], now: float) -> None:
        """Sends *requests* of one revision on their way: in one parcel, or several where that is better for them."""
        for group in divide(plan, requests, now):
            parcel = open_parcel(endpoint, group, now=now)
            parcel.way = Way(Enrichment(plan, join_rows(group), list(parcel.request_rows)))
            self._desk.open(parcel)
            self._ask(parcel, parcel.way, now)

    def take(self, message: ParcelScore, parcel: OpenParcel, now: float) -> str:
        """Takes the score of an enricher.

        Returns:
            What is wrong with it, for the log; empty: nothing, or it is of no enricher that was asked.
        """
        way: Way | None = parcel.way
        name = message.model
        asking = None if way is None else next((each for each in way.askings if name in each.enrichers), None)
        if way is None or not way.enrichment.plan.has(name):
            return ""
        if asking is None or message.stage not in {0, asking.stage}:
            return "answers a stage that is not its own"
        if message.endpoint != parcel.endpoint.name:
            return "answers a parcel of another endpoint"
        if name in asking.scores:
            is_again = max(message.delivery, asking.scores[name].message.delivery) > 1
            return "" if is_again else "answers a parcel twice"
        enricher = way.enrichment.plan.stages[asking.stage - 1].enrichers[name]
        if not way.enrichment.awaits(name):
            self._note_late(message, asking, now)
            return ""
        self._note(message, enricher, parcel, asking, now)
        if way.enrichment.is_complete:
            self._end_stage(parcel, way, way.enrichment.position, now)
        elif way.enrichment.due_at < way.wake_at:
            self._await(parcel, way)  # those that are still awaited have less time than who has answered
        return ""

    def _await(self, parcel: OpenParcel, way: Way) -> None:
        """Has the present stage end when the budgets of those that have not answered are over."""
        if way.wake is not None:
            way.wake.cancel()
        way.wake_at = way.enrichment.due_at
        end = partial(self._end_stage, parcel, way, way.enrichment.position)
        way.wake = self._room.clock.wake_at(way.wake_at, end)

    def _note(self, message: ParcelScore, enricher: Enricher, parcel: OpenParcel, asking: Asking, now: float) -> None:
        taken = asking.scores[enricher.name] = take_score(message, parcel, now, enricher.outputs)
        is_late = not parcel.way.enrichment.take(enricher.name, taken)
        tally = self._desk.tally.model(enricher.name)
        tally.time(message.timing, now - asking.sealed_at)
        for score in taken.scores:
            tally.count(score.error.code if score.error else None, is_late=is_late)

    def _note_late(self, message: ParcelScore, asking: Asking, now: float) -> None:
        """Counts what nobody waits for any more; it is not checked."""
        asking.scores[message.model] = TakenScore(message=message, scores=[], arrived_at=now)
        tally = self._desk.tally.model(message.model)
        tally.time(message.timing, now - asking.sealed_at)
        for item in message.items[: len(asking.requests)]:
            tally.count(item.error.code if item.HasField("error") else None, is_late=True)

    def _ask(self, parcel: OpenParcel, way: Way, now: float) -> None:
        """Publishes the parcel for the enrichers of the next stage."""
        enrichment, requests = way.enrichment, parcel.requests
        inputs = enrichment.begin(now, min(request.deadline_at for request in requests) - now)
        stage, due_at = enrichment.stage, enrichment.due_at
        spans = self._room.spans
        traces = [spans.trace_stage(each.trace) if spans is not None and each.trace else None for each in requests]
        asking = Asking(stage.number, list(stage.enrichers), requests, traces, now)
        way.askings.append(asking)
        sealed_unix_us = time.time_ns() // 1000
        items = [make_item(request, now, sealed_unix_us, due_at) for request in requests]
        for item, trace, notes in zip(items, traces, enrichment.provenance, strict=True):
            item.provenance.extend(notes)
            if trace is not None:
                item.traceparent = trace.item_traceparent
        message = make_message(parcel, items, inputs, router=self._room.postbox.router, sealed_unix_us=sealed_unix_us)
        payload = message.SerializeToString()
        self._await(parcel, way)
        acknowledged = self._room.postbox.send(
            raw_subject(parcel.endpoint.name, stage.number),
            payload,
            raw_message_id(parcel.parcel_id, stage.number),
            within_s=min(parcel.closes_at - now, duplicate_window_s(parcel.endpoint.spec)),
        )
        if way.raw is None:
            enrichment.overhead_bytes = len(payload) - inputs.ByteSize()
            way.raw = acknowledged
        acknowledged.add_done_callback(partial(self._take_ack, parcel, way, asking))

    def _take_ack(self, parcel: OpenParcel, way: Way, asking: Asking, acknowledged: "asyncio.Future[int]") -> None:
        error = acknowledged.exception()
        if error is None:
            asking.kept_at = monotonic()
        if acknowledged is not way.raw:
            return  # a later stage's parcel can be made again from what is kept, and its enrichers will be late
        if error is None:
            for request in way.ended:
                self._desk.settle_reply(request)
            return
        way.enrichment.dues = {}
        for request in (*parcel.requests, *way.ended):
            self._desk.refuse_unkept(request, str(error))

    def _end_stage(self, parcel: OpenParcel, way: Way, position: int, now: float) -> None:
        """Ends the stage of that position, if it has not ended yet."""
        if position != way.enrichment.position or not way.enrichment.dues:
            return
        if way.wake is not None:
            way.wake.cancel()
        try:
            self._go_on(parcel, way, now)
        except Exception:  # noqa: BLE001 # others' wakes must not suffer; these requests end at their deadlines
            _log.exception("a fault of the router while it joined columns of enrichers: please report it")

    def _go_on(self, parcel: OpenParcel, way: Way, now: float) -> None:
        requests = parcel.requests
        result = way.enrichment.finish()
        for (name, why), count in result.defaults.items():
            self._desk.tally.model(name).default(why, count)
        for ended in result.ended:
            request = requests[ended.index]
            way.ended.append(request)
            self._desk.end_unscored(request, f"enrichers.{ended.enricher}", ended.error, now)
            if way.is_kept:
                self._desk.settle_reply(request)
        if len(result.kept) < len(requests):
            parcel.keep_requests([requests[index] for index in result.kept])
        if all(request.answer.done() for request in parcel.requests):
            return
        if not way.enrichment.is_last:
            self._ask(parcel, way, now)
        else:
            self._put_to_models(parcel, way, now)

    def _put_to_models(self, parcel: OpenParcel, way: Way, now: float) -> None:
        sealed_unix_us = time.time_ns() // 1000
        items = [make_item(request, now, sealed_unix_us) for request in parcel.requests]
        for item, notes in zip(items, way.enrichment.provenance, strict=True):
            item.provenance.extend(notes)
        message = make_message(
            parcel, items, way.enrichment.frame, router=self._room.postbox.router, sealed_unix_us=sealed_unix_us
        )
        parcel.sealed_at = now
        way.is_at_models = True
        self._desk.post(parcel, message.SerializeToString(), way.raw)


def divide(plan: EnrichmentPlan, requests: Sequence[Request], now: float) -> Iterator[list[Request]]:
    """Yields requests in groups that are to travel together.

    Those whose clients have too little time for the budgets go apart, so that the others' are not cut with theirs, and
    so do those with less than half the time of others; and no group is larger than what fits into a message with the
    columns that are to come.
    """
    by_haste: dict[int, list[Request]] = {}
    for request in requests:
        by_haste.setdefault(plan.haste(request.deadline_at - now), []).append(request)
    for haste in sorted(by_haste):
        group: list[Request] = []
        group_bytes = 0
        for request in by_haste[haste]:
            size_bytes = request.inputs.frame.ByteSize() + request.rows * plan.row_bytes + plan.item_bytes
            if group and group_bytes + size_bytes > GROUP_BYTES:
                yield group
                group, group_bytes = [], 0
            group.append(request)
            group_bytes += size_bytes
        if group:
            yield group


def both(first: "asyncio.Future[int]", second: "asyncio.Future[int]") -> "asyncio.Future[int]":
    """Returns what is done when both are, with the result of *second*; fails as soon as one does."""
    joined: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def look(done: "asyncio.Future[int]") -> None:
        error = done.exception()
        if joined.done():
            return
        if error is not None:
            joined.set_exception(error)
        elif first.done() and second.done():
            joined.set_result(second.result())

    first.add_done_callback(look)
    second.add_done_callback(look)
    return joined

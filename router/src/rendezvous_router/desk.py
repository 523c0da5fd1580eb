"""The desk of one endpoint: takes requests, seals parcels, opens mailboxes, gives answers.

A request is *accepted* when it matches the signature and there is room; it is *kept* when JetStream has acknowledged
its parcel; it is *decided* when its mailbox is; it is answered when it is both kept and decided, or at its deadline.
Everything here runs in callbacks of one event loop; nothing awaits.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from rendezvous.mailbox import Decision
from rendezvous_proto.errors import ErrorCode, RendezvousError, UnavailableError
from rendezvous_proto.postbox import MAX_PARCEL_BYTES, input_subject
from rendezvous_proto.v1 import ScoreReply

from rendezvous_router.answers import record_of, reply_to
from rendezvous_router.clock import TICK_S, Clock
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.enriching import EnrichingDesk, both
from rendezvous_router.ledger import Ledger
from rendezvous_router.pacing import NEVER, Pacer, RowCost
from rendezvous_router.parcels import OpenParcel, Request, seal_parcel
from rendezvous_router.postbox import Postbox
from rendezvous_router.scores import TakenScore
from rendezvous_router.streams import duplicate_window_s
from rendezvous_router.tally import ANSWERED, NO_ANSWER, UNAVAILABLE, EndpointTally
from rendezvous_router.telemetry.spans import SpanBook
from rendezvous_router.throttle import Throttle

_log = logging.getLogger(__name__)

SEAL_BYTES = MAX_PARCEL_BYTES // 2
"""Waiting bytes at which a parcel is full; one request may be up to the limit by itself."""
SEAL_ROWS = 8192
"""Waiting rows at which a parcel is full."""
TELL_SPEC_S = 60.0
"""How often the record of a decision holds the specification in force, so that the record explains itself."""


@dataclass(slots=True, frozen=True)
class DeskRoom:
    """What the desks of one router share."""

    loop: asyncio.AbstractEventLoop
    """The event loop."""
    clock: Clock
    """Wakes mailboxes."""
    postbox: Postbox
    """Takes parcels."""
    ledger: Ledger
    """Takes decisions."""
    spans: SpanBook | None
    """Draws sampled requests; None: nothing is traced."""
    parcels: dict[str, OpenParcel] = field(default_factory=dict)
    """Open parcels by id."""


class Desk:
    """See the module's docstring. *endpoint* is replaced by `adopt` when the specification changes."""

    def __init__(self, endpoint: Endpoint, room: DeskRoom) -> None:
        self.endpoint = endpoint
        self.tally = EndpointTally()
        self.in_flight = 0
        self.enriching = EnrichingDesk(self, room)
        self._room = room
        self._pacer = Pacer()
        self._row_cost = RowCost()
        self.refusals = Throttle()
        self._complaints = Throttle()
        self._waiting: list[Request] = []
        self._waiting_bytes = 0
        self._waiting_rows = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._told_revision = -1
        self._told_at = 0.0

    def adopt(self, endpoint: Endpoint) -> None:
        """Works by a new revision from now on; what was accepted keeps the one it was accepted under."""
        self._seal()
        self.endpoint = endpoint
        self._row_cost.keep(endpoint.roles)

    def take_request(self, request: Request, size_bytes: int) -> None:
        """Accepts *request*, of *size_bytes* on the wire: it will be answered by its deadline."""
        self.in_flight += 1
        self.tally.requests += 1
        if self._waiting and self._waiting_bytes + size_bytes > MAX_PARCEL_BYTES:
            self._seal()
        self._waiting.append(request)
        self._waiting_bytes += size_bytes
        self._waiting_rows += request.rows
        assert request.mailbox is not None, "a request comes with its mailbox"
        self._plan_wake(request, request.mailbox.next_wake)
        now = request.accepted_at
        due = self._pacer.arrive(now, budget_s=request.deadline_at - now, unanswered=self.in_flight)
        if due <= now + TICK_S / 2 or self._is_full():
            self._seal()
        else:
            self._arm(due)

    def take_score(self, taken: TakenScore, parcel: OpenParcel) -> None:
        """Puts a model's score into the mailboxes of its parcel's requests."""
        now = taken.arrived_at
        model = taken.message.model
        tally = self.tally.model(model)
        scoring_s = tally.time(taken.message.timing, now - parcel.sealed_at)
        if scoring_s >= 0 and not any(score.error for score in taken.scores):
            self._row_cost.note(model, parcel.rows, scoring_s)
        for request, score in zip(parcel.requests, taken.scores, strict=True):
            tally.count(score.error.code if score.error else None, is_late=now > request.deadline_at)
            mailbox = request.mailbox
            assert mailbox is not None, "a request comes with its mailbox"
            decision = mailbox.deliver(score, request.elapse(now))
            if decision is not None:
                self._decide(request, decision)

    def wake(self, request: Request, now: float) -> None:
        """Lets time pass for *request*: its policy's next step, or its deadline."""
        if request.answer.done():
            return
        mailbox = request.mailbox
        assert mailbox is not None, "a request comes with its mailbox"
        if mailbox.decision is None:
            decision = mailbox.wake(request.elapse(now, request.wake_due_s))
            if decision is None:
                self._plan_wake(request, mailbox.next_wake)
                return
            self._decide(request, decision)
        if not request.answer.done():
            if now < request.deadline_at:
                request.wake = self._room.clock.wake_at(request.deadline_at, partial(self.wake, request))
            else:
                self.refuse_unkept(request, "JetStream did not acknowledge the request by its deadline")

    def _plan_wake(self, request: Request, due_s: float) -> None:
        request.wake_due_s = due_s
        request.wake = self._room.clock.wake_at(request.accepted_at + due_s, partial(self.wake, request))

    def _is_full(self) -> bool:
        return (
            self._waiting_bytes >= SEAL_BYTES
            or self._waiting_rows >= SEAL_ROWS
            or self._row_cost.fills(self._waiting_rows)
        )

    def _arm(self, due: float) -> None:
        if due >= self._timer_at and self._timer is not None:
            return  # it fires earlier, looks again and re-arms
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._room.loop.call_later(max(TICK_S, due - monotonic()), self._pace)

    def _pace(self) -> None:
        self._timer, self._timer_at = None, NEVER
        now = monotonic()
        due = self._pacer.due()
        if due <= now + TICK_S / 2:
            self._seal()
        elif due < NEVER:
            self._arm(due)

    def _seal(self) -> None:
        requests = [request for request in self._waiting if not request.answer.done()]
        self._waiting, self._waiting_bytes, self._waiting_rows = [], 0, 0
        if not requests:
            self._pacer.waiting = 0
            return
        now = monotonic()
        # Requests of one parcel share one revision: `adopt` seals before it changes the endpoint.
        endpoint = requests[0].endpoint
        self._pacer.seal(now)
        if endpoint.enrichment is not None:
            self.enriching.begin(endpoint, endpoint.enrichment, requests, now)
            return
        parcel, payload = seal_parcel(endpoint, requests, router=self._room.postbox.router, now=now)
        self.open(parcel)
        self.post(parcel, payload)

    def open(self, parcel: OpenParcel) -> None:
        """Has the scores of *parcel* brought here from now on."""
        parcel.undecided -= sum(
            request.mailbox is not None and request.mailbox.decision is not None for request in parcel.requests
        )
        self._room.parcels[parcel.parcel_id] = parcel

    def post(self, parcel: OpenParcel, payload: bytes, raw: "asyncio.Future[int] | None" = None) -> None:
        """Puts *parcel*, serialized, to the models; its requests are kept once it and *raw* are acknowledged."""
        self.tally.seal(len(parcel.requests), parcel.rows, len(payload))
        acknowledged = self._room.postbox.send(
            input_subject(parcel.endpoint.name),
            payload,
            parcel.parcel_id,
            within_s=min(parcel.closes_at - parcel.sealed_at, duplicate_window_s(parcel.endpoint.spec)),
        )
        if raw is not None:
            acknowledged = both(raw, acknowledged)
        acknowledged.add_done_callback(partial(self._take_ack, parcel))

    def _take_ack(self, parcel: OpenParcel, acknowledged: "asyncio.Future[int]") -> None:
        error = acknowledged.exception()
        if error is not None:
            for request in parcel.requests:
                self.refuse_unkept(request, str(error))
            return
        parcel.is_kept, parcel.kept_at = True, monotonic()
        self.tally.publish_s.fresh.append(parcel.kept_at - parcel.sealed_at)
        for request in parcel.requests:
            if request.reply is not None:
                self._settle(request, request.reply)

    def _decide(self, request: Request, decision: Decision, refusal: RendezvousError | None = None) -> None:
        mailbox = request.mailbox
        assert mailbox is not None, "a request comes with its mailbox"
        try:
            request.reply = refusal or reply_to(request, mailbox, decision)
        except RendezvousError as error:
            request.reply = error
        took_s = decision.decided_at
        share = took_s / mailbox.deadline
        self.tally.decide(decision.rule, decision.models[0] if decision.models else "", took_s, share)
        parcel = request.parcel
        if parcel is None:
            return  # decided before it was sealed (its deadline was very short): it ends unkept
        parcel.undecided -= 1
        if not parcel.undecided:
            self._pacer.settle(request.accepted_at + took_s - parcel.sealed_at)
        if parcel.is_kept:
            self._settle(request, request.reply)

    def end_unscored(self, request: Request, rule: str, error: RendezvousError, now: float) -> None:
        """Decides that *request* is answered *error*, by *rule*, before it was put to the models."""
        mailbox = request.mailbox
        assert mailbox is not None, "a request comes with its mailbox"
        decision = mailbox.close(rule, error.message, request.elapse(now))
        if decision is not None:
            self._decide(request, decision, error)

    def settle_reply(self, request: Request) -> None:
        """Answers *request* what was decided: it is kept."""
        if request.reply is not None:
            self._settle(request, request.reply)

    def refuse_unkept(self, request: Request, reason: str) -> None:
        """Answers *request* UNAVAILABLE, unless it has an answer: JetStream has not kept it, or has not said so."""
        if request.answer.done():
            return
        error = UnavailableError(
            f"endpoint {request.endpoint.name}: {reason}; it may have been kept all the same: "
            "retry with the same request id",
            {"request_id": request.request_id},
        )
        self._settle(request, error)

    def _settle(self, request: Request, reply: ScoreReply | RendezvousError) -> None:
        if request.answer.done():
            return
        self.in_flight -= 1
        if request.wake is not None:
            request.wake.cancel()
        mailbox = request.mailbox
        if mailbox is not None and mailbox.decision is not None and request.parcel is not None:
            make_record: Callable[[], object] = partial(
                record_of,
                request,
                mailbox,
                mailbox.decision,
                reply,
                self._room.postbox.router,
                with_spec=self._tells_spec(request),
            )
            self._room.ledger.enter(request.endpoint.name, make_record)  # type: ignore[arg-type] # partial of record_of
        request.outcome, request.ended_at = reply, monotonic()
        took_s = request.ended_at - request.accepted_at
        if isinstance(reply, RendezvousError):
            how = UNAVAILABLE if reply.code == ErrorCode.UNAVAILABLE else NO_ANSWER
            self.tally.end(request.method, how, reply, took_s)
            self._log_unanswered(request, reply)
            request.answer.set_exception(reply)
        else:
            self.tally.end(request.method, ANSWERED, None, took_s)
            request.answer.set_result(reply)
        if request.trace is not None and request.parcel is None and self._room.spans is not None:
            self._room.spans.draw_unsealed(request)

    def _tells_spec(self, request: Request) -> bool:
        """Returns whether the record of *request* is to hold its specification: see `DecisionRecord.spec`."""
        revision, now = request.endpoint.revision, monotonic()
        is_known = revision == self._told_revision and now < self._told_at + TELL_SPEC_S
        if not is_known:
            self._told_revision, self._told_at = revision, now
        return not is_known

    def _log_unanswered(self, request: Request, error: RendezvousError) -> None:
        held = self._complaints.admit(request.ended_at)
        if held is not None:
            fields = _fields(request, error)
            _log.warning("not answered: %s", error.message, extra=fields | ({"held_back": held} if held else {}))


def _fields(request: Request, error: RendezvousError) -> dict[str, object]:
    fields: dict[str, object] = {
        "endpoint": request.endpoint.name,
        "request_id": request.request_id,
        "error_code": error.code.name,
    }
    if request.trace is not None:
        fields["trace_id"] = f"{request.trace.trace_id:032x}"
    elif request.traceparent:
        fields["trace_id"] = request.traceparent.split("-")[1]
    if request.parcel is not None:
        fields["parcel_id"] = request.parcel.parcel_id
    return fields

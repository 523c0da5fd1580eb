"""Requests that travel in no parcel of their own, refused ones and retries: counted, traced and logged here."""

import logging
import re
import time
from asyncio import Future
from functools import partial

from rendezvous_proto.errors import InternalError, RendezvousError
from rendezvous_proto.v1 import ScoreReply, ScoreRequest

from rendezvous_router.desk import Desk
from rendezvous_router.tally import REFUSED, REPEATED, EndpointTally
from rendezvous_router.telemetry.noted import Call
from rendezvous_router.telemetry.spans import SpanBook
from rendezvous_router.telemetry.tracing import Tracing
from rendezvous_router.throttle import Throttle

_log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CallBook:
    """Belongs to one router.

    Args:
        tracing: samples requests; None: nothing is traced.
        spans: draws them.
    """

    def __init__(self, tracing: Tracing | None, spans: SpanBook | None) -> None:
        self.nowhere = EndpointTally()
        """Requests that found no endpoint."""
        self._tracing = tracing
        self._spans = spans
        self._refusals = Throttle()

    def begin(self, message: ScoreRequest, traceparent: str, tracestate: str, method: str) -> Call:
        """Returns a request as it arrives, sampled or not."""
        trace = None
        if self._tracing is not None:
            trace = self._tracing.begin(traceparent, tracestate, force=message.diagnostics.force_trace)
        trace_id = f"{trace.trace_id:032x}" if trace is not None else traceparent[3:35]
        return Call(method, message.request_id, trace, trace_id)

    def refuse(self, desk: Desk | None, call: Call, error: RendezvousError, since: float) -> None:
        """Notes that a request was refused.

        Args:
            desk: of its endpoint; None: there is none of that name, or it could not be read.
            call: the request.
            error: what it was answered.
            since: when it arrived, seconds of the monotonic clock.
        """
        self._note(desk, call, REFUSED, error, since)
        throttle = desk.refusals if desk is not None else self._refusals
        held = throttle.admit(since)
        if held is None:
            return
        fields: dict[str, object] = {"endpoint": call.endpoint, "error_code": error.code.name}
        if _ID.fullmatch(call.request_id):
            fields["request_id"] = call.request_id
        if call.trace_id:
            fields["trace_id"] = call.trace_id
        if held:
            fields["held_back"] = held
        _log.info("refused: %s", error.message, extra=fields)

    def share(self, desk: Desk, call: Call, answer: "Future[ScoreReply]", since: float) -> None:
        """Notes, when it is given, that a retry shares the answer of an earlier attempt."""
        call.is_repeat = True
        answer.add_done_callback(partial(self._end_shared, desk, call, since))

    def _end_shared(self, desk: Desk, call: Call, since: float, answer: "Future[ScoreReply]") -> None:
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not isinstance(error, RendezvousError):
            error = InternalError("a fault of the router: see its log")
        self._note(desk, call, REPEATED, error, since)

    def _note(self, desk: Desk | None, call: Call, how: str, error: RendezvousError | None, since: float) -> None:
        took_s = time.monotonic() - since
        tally = desk.tally if desk is not None else self.nowhere
        call.endpoint = desk.endpoint.name if desk is not None else ""
        tally.end(call.method, how, error, took_s)
        if call.trace is not None and self._spans is not None:
            self._spans.draw_call(call, error, took_s)

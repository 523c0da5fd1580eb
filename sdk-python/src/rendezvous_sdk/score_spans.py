"""Spans of the requests that a model scores, where the process uses OpenTelemetry; nothing else.

Only requests that the caller samples have one. From the postbox it is a CONSUMER span `score <model>`, child of the
router's publishing; over gRPC a SERVER span, as gRPC's semantic conventions have it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode, RendezvousError
from rendezvous_proto.postbox import consumer_name, input_subject, raw_subject

from rendezvous_sdk.traces import find_tracer, is_sampled, is_traceparent, parent_context, traceparent_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["SERVICE", "CallSpan", "CallSpans", "ScoreSpans"]

SERVICE = "rendezvous.v1.Score"


class ScoreSpans:
    """Makes the spans of a model's requests from the postbox.

    Args:
        endpoint: the endpoint.
        name: the model's name.
        version: its version.
        enricher: stage of the enricher that it is; 0: a model.
    """

    def __init__(self, *, endpoint: str, name: str, version: str, enricher: int = 0) -> None:
        self._name = f"score {name}"
        self._attributes: dict[str, str | int] = {
            "messaging.system": "nats",
            "messaging.operation.name": "score",
            "messaging.operation.type": "process",
            "messaging.destination.template": "rv.{endpoint}.raw" if enricher else "rv.{endpoint}.input",
            "messaging.destination.name": raw_subject(endpoint, enricher) if enricher else input_subject(endpoint),
            "messaging.consumer.group.name": consumer_name(name, version),
            "rendezvous.endpoint": endpoint,
            "rendezvous.model": name,
            "rendezvous.version": version,
        }

    def start(self, items: Sequence[v1.ParcelItem], *, delivery: int, started_unix_us: int) -> "dict[int, Span]":
        """Starts the spans of a parcel's sampled requests.

        Args:
            items: the parcel's requests.
            delivery: which delivery this is, 1 = the first.
            started_unix_us: when scoring started.

        Returns:
            The spans by index of the request; empty where the process does not use OpenTelemetry.
        """
        tracer = find_tracer()
        if tracer is None:
            return {}
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - imported already by whoever set it up

        spans = {
            index: tracer.start_span(
                self._name,
                context=parent_context(item.traceparent, item.tracestate),
                kind=SpanKind.CONSUMER,
                start_time=started_unix_us * 1000,
                attributes={
                    **self._attributes,
                    "rendezvous.request_id": item.request_id,
                    "rendezvous.rows": item.rows,
                    "rendezvous.delivery": delivery,
                },
            )
            for index, item in enumerate(items)
            if is_sampled(item.traceparent)
        }
        return {index: span for index, span in spans.items() if span.is_recording()}

    @staticmethod
    def link(spans: "Sequence[Span]") -> None:
        """Links the first span, in which the table is scored, with those of the table's other requests."""
        for other in spans[1:]:
            spans[0].add_link(other.get_span_context())
            other.add_link(spans[0].get_span_context())

    @staticmethod
    def end(span: "Span", answered: v1.ItemScore, finished_unix_us: int) -> None:
        """Ends a span with what its request was answered."""
        if answered.HasField("error"):
            _fail(span, ErrorCode(answered.error.code).name, answered.error.message)
        span.end(finished_unix_us * 1000)


class CallSpan:
    """One request over gRPC: its span, if it has one.

    Args:
        span: None where none was made.
        own: the request's own `traceparent`; empty if it has none.
    """

    def __init__(self, span: "Span | None", own: str) -> None:
        self.span = span
        self._own = own
        self._is_settled = False

    @property
    def traceparent(self) -> str:
        """What the request is answered with: its span, else its own context; nothing if it had none."""
        return traceparent_of(self.span) if self.span is not None and self._own else self._own

    def answer(self, reply: v1.ScoreReply) -> None:
        """Notes the answer."""
        if self.span is not None:
            self.span.set_attributes({"rendezvous.request_id": reply.request_id, "rpc.response.status_code": "OK"})
        self._is_settled = True

    def fail(self, error: RendezvousError) -> None:
        """Notes the failure."""
        self._note_failure(error.facts.grpc_status, error.code.name, error.message)

    def end(self) -> None:
        """Ends the span; a call that has no outcome by now was given up by its client."""
        if not self._is_settled:
            self._note_failure("CANCELLED", "CANCELLED", "the client has given up")
        if self.span is not None:
            self.span.end()

    def _note_failure(self, status: str, error_type: str, message: str) -> None:
        self._is_settled = True
        if self.span is not None:
            self.span.set_attribute("rpc.response.status_code", status)
            _fail(self.span, error_type, message)


class CallSpans:
    """Makes the spans of a model's requests over gRPC.

    Args:
        endpoint: the endpoint.
        name: the model's name.
        version: its version.
        host: address that is listened on.
    """

    def __init__(self, *, endpoint: str, name: str, version: str, host: str) -> None:
        self._attributes: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "server.address": host,
            "rendezvous.endpoint": endpoint,
            "rendezvous.model": name,
            "rendezvous.version": version,
        }

    def set_port(self, port: int) -> None:
        """Is told the port that is listened on."""
        self._attributes["server.port"] = port

    @contextmanager
    def call(self, method: str, request: v1.ScoreRequest, of_call: tuple[str, str]) -> Iterator[CallSpan]:
        """Has a span for the length of a request's stay.

        Args:
            method: `Score` or `ScoreStream`.
            request: the request; its own trace context goes before that of the call.
            of_call: `traceparent` and `tracestate` of the call.
        """
        traceparent, tracestate = (request.traceparent, request.tracestate) if request.traceparent else of_call
        own = traceparent if is_traceparent(traceparent) else ""
        call = CallSpan(self._start(method, request, own, tracestate), own)
        try:
            yield call
        finally:
            call.end()

    def _start(self, method: str, request: v1.ScoreRequest, traceparent: str, tracestate: str) -> "Span | None":
        tracer = None if traceparent and not is_sampled(traceparent) else find_tracer()
        if tracer is None:
            return None
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - imported already by whoever set it up

        span = tracer.start_span(
            f"{SERVICE}/{method}",
            context=parent_context(traceparent, tracestate),
            kind=SpanKind.SERVER,
            attributes={
                **self._attributes,
                "rpc.method": f"{SERVICE}/{method}",
                "rendezvous.request_id": request.request_id,
                "rendezvous.rows": request.inputs.rows,
            },
        )
        return span if span.is_recording() else None


def _fail(span: "Span", error_type: str, message: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - whoever made the span has imported it

    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, message))

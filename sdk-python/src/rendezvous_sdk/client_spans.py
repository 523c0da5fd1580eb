"""Spans of a client's requests, where the process uses OpenTelemetry, and the trace context that travels with them.

Each request has one span of kind CLIENT, whatever number of attempts it takes; a retry is an event of it. What travels
is the context of that span; without OpenTelemetry, the context that the caller passes, if any.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, RendezvousError, shown

from rendezvous_sdk.score_spans import SERVICE
from rendezvous_sdk.traces import find_tracer, is_traceparent, parent_context

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["UNTRACED", "ClientSpan", "ClientSpans", "StreamSpans", "TraceContext", "trace_context"]

TraceContext = tuple[str, str]
"""`traceparent` and `tracestate`; empty: none."""

_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|passthrough):(?://[^/]*/)?")


def trace_context(traceparent: str | None, tracestate: str | None) -> TraceContext:
    """Returns the context that a caller passes.

    Args:
        traceparent: None: none is passed.
        tracestate: what belongs to it.

    Raises:
        InvalidRequestError: one of them is malformed.
    """
    if traceparent is not None and not is_traceparent(traceparent):
        raise InvalidRequestError(
            f"traceparent is {shown(traceparent)!r}: it must be as W3C has it, 00-<32 hex>-<16 hex>-<2 hex>, not all 0",
            {"traceparent": shown(traceparent)},
        )
    if tracestate is not None and (traceparent is None or not _PRINTABLE.fullmatch(tracestate)):
        raise InvalidRequestError(
            f"tracestate is {shown(tracestate)!r}: it must be printable ASCII, and have a traceparent beside it",
            {"tracestate": shown(tracestate)},
        )
    return traceparent or "", tracestate or ""


class ClientSpan:
    """One request: its span, if it has one, and what travels with it.

    Args:
        span: None where none was made.
        context: travels with the request.
    """

    def __init__(self, span: "Span | None" = None, context: TraceContext = ("", "")) -> None:
        self.context = context
        self._span = span
        self._is_settled = span is None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """The context as metadata of a call."""
        pairs = zip(("traceparent", "tracestate"), self.context, strict=True)
        return tuple((name, text) for name, text in pairs if text) or None

    def retry(self, error: RendezvousError, pause_s: float) -> None:
        """Notes that another attempt follows."""
        if self._span is not None:
            outcome = {"error.type": error.code.name, "rpc.response.status_code": _status(error)}
            self._span.add_event("rendezvous.retry", {**outcome, "rendezvous.pause_ms": round(pause_s * 1000)})

    def answer(self, reply: v1.ScoreReply) -> None:
        """Notes the answer, which is an error where one of a stream failed."""
        if reply.HasField("error"):
            self.fail(RendezvousError.from_proto(reply.error))
        else:
            self._settle("OK")

    def fail(self, error: RendezvousError) -> None:
        """Notes that there is no answer."""
        self._settle(_status(error), error.code.name, error.message)

    def end(self) -> None:
        """Ends the span; what has no outcome by now was given up."""
        if not self._is_settled:
            self._settle("CANCELLED", "CANCELLED", "given up by the caller")
        if self._span is not None:
            self._span.end()

    def _settle(self, status: str, error_type: str = "", message: str = "") -> None:
        self._is_settled = True
        if self._span is None:
            return
        self._span.set_attribute("rpc.response.status_code", status)
        if error_type:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - whoever made the span has imported it

            self._span.set_attribute("error.type", error_type)
            self._span.set_status(Status(StatusCode.ERROR, message))


UNTRACED = ClientSpan()
"""Of calls that have no span."""


class ClientSpans:
    """Makes the spans of a client's requests.

    Args:
        address: `host:port` that is called, or what else gRPC takes.
        endpoint: endpoint asked; empty where none is named.
    """

    def __init__(self, address: str, endpoint: str) -> None:
        host, _, port = _SCHEME.sub("", address).rpartition(":")
        self._attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "server.address": address}
        if host and port.isdecimal():
            self._attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
        if endpoint:
            self._attributes["rendezvous.endpoint"] = endpoint

    @contextmanager
    def call(self, request: v1.ScoreRequest, context: TraceContext) -> Iterator[ClientSpan]:
        """Has a span for the length of a call of `Score`.

        Args:
            request: what is sent.
            context: passed by the caller; goes before the present span.
        """
        span = self.start("Score", request, context)
        try:
            yield span
        except RendezvousError as error:
            span.fail(error)
            raise
        finally:
            span.end()

    def stream(self, context: TraceContext) -> "StreamSpans":
        """Returns what makes the spans of a stream's requests; their parent is *context*, else the present span."""
        return StreamSpans(self, context)

    def start(
        self, method: str, request: v1.ScoreRequest, context: TraceContext, parent: "Context | None" = None
    ) -> ClientSpan:
        """Starts a span.

        Args:
            method: `Score` or `ScoreStream`.
            request: what is sent.
            context: passed by the caller; goes before *parent*.
            parent: context in which the span begins; None: the present one.
        """
        tracer = find_tracer()
        if tracer is None:
            return ClientSpan(context=context)
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - imported by whoever set it up
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - same

        span = tracer.start_span(
            f"{SERVICE}/{method}",
            context=parent_context(*context) if context[0] else parent,
            kind=SpanKind.CLIENT,
            attributes={
                **self._attributes,
                "rpc.method": f"{SERVICE}/{method}",
                "rendezvous.request_id": request.request_id,
                "rendezvous.rows": request.inputs.rows,
            },
        )
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
        return ClientSpan(span, (carrier.get("traceparent", ""), carrier.get("tracestate", "")))


class StreamSpans:
    """The spans of the requests of one stream; `start` may be called in another thread than the rest.

    Args:
        spans: makes them.
        context: passed by the caller; goes before the span that is present now.
    """

    def __init__(self, spans: ClientSpans, context: TraceContext) -> None:
        self._spans = spans
        self._context = context
        self._open: dict[str, ClientSpan] = {}
        self._parent: Context | None = None
        if find_tracer() is not None:
            from opentelemetry.context import get_current  # noqa: PLC0415 - imported already by whoever set it up

            self._parent = get_current()

    def start(self, request: v1.ScoreRequest) -> None:
        """Starts the span of a request, and writes its context into it."""
        span = self._spans.start("ScoreStream", request, self._context, self._parent)
        request.traceparent, request.tracestate = span.context
        self._open[request.request_id] = span

    def answer(self, reply: v1.ScoreReply) -> None:
        """Ends the span of the request that was answered."""
        span = self._open.pop(reply.request_id, None)
        if span is not None:
            span.answer(reply)
            span.end()

    def close(self, error: RendezvousError | None = None) -> None:
        """Ends the spans of all requests that were not answered."""
        while self._open:
            _, span = self._open.popitem()
            if error is not None:
                span.fail(error)
            span.end()


def _status(error: RendezvousError) -> str:
    """Returns the name of the call's status: as it came, where the error was made of it."""
    return str(error.attributes.get("grpc_status") or error.facts.grpc_status)

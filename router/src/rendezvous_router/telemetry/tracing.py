"""Which requests are traced, under which ids, and where their spans go.

Sampling is at the head: decided when a request arrives, by the standard `OTEL_TRACES_SAMPLER`, or by the client with
`diagnostics.force_trace`. A sampled request gets the ids of its two spans at once, because its models must know their
parent; the spans themselves are drawn when everything about them is known (`spans`).
"""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context
from rendezvous_sdk.span_export import asking_variable, make_span_exporter, shut_down_spans
from rendezvous_sdk.traces import is_traceparent

QUEUE = 16_384
"""Spans that may wait for the exporter where `OTEL_BSP_MAX_QUEUE_SIZE` says nothing: what a loaded router draws in
the second that a slow collector takes."""

STATE_CHARACTERS = 512
"""Longest `tracestate` that is passed on; W3C asks for no more."""

_MEMBER = r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_STATE = re.compile(rf"{_MEMBER}(,{_MEMBER}){{0,31}}")
_log = logging.getLogger(__name__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(slots=True, eq=False)
class RequestTrace:
    """The ids of one sampled request's spans."""

    trace_id: int
    """Its trace."""
    parent: SpanContext | None
    """The client's span."""
    server: SpanContext
    """The router's own span."""
    publish: SpanContext
    """The span of its way into the postbox; the models' parent."""
    tracestate: str
    """Vendors' part, as it came."""

    @property
    def item_traceparent(self) -> str:
        """What its parcel carries."""
        return _text(self.publish)

    @property
    def reply_traceparent(self) -> str:
        """What its answer carries."""
        return _text(self.server)


class Tracing:
    """Samples requests and takes spans. Belongs to one router; its exporter works in a thread of its own.

    Args:
        sampler: decides at the head.
        exporter: sends spans.
        resource: says who draws them.
    """

    def __init__(self, sampler: Sampler, exporter: SpanExporter, resource: Resource) -> None:
        self.resource = resource
        self._sampler = sampler
        self._ids = RandomIdGenerator()
        configured = "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ
        self._processor = BatchSpanProcessor(exporter, max_queue_size=None if configured else QUEUE)

    @classmethod
    def from_environment(cls, resource: Resource, environment: Mapping[str, str] = os.environ) -> "Tracing | None":
        """Returns what the standard `OTEL_*` variables ask for; None: they ask for no traces.

        Raises:
            ValueError: they ask for an exporter or protocol that there is none for.
        """
        if asking_variable("TRACES", environment) is None:
            return None
        exporter = make_span_exporter(environment)
        return cls(TracerProvider(resource=resource, shutdown_on_exit=False).sampler, exporter, resource)

    def begin(self, traceparent: str, tracestate: str, *, force: bool) -> RequestTrace | None:
        """Returns the ids for a request that is sampled, else None.

        Args:
            traceparent: the client's; a malformed one is as none.
            tracestate: the same, vendors' part.
            force: whatever the sampler says.
        """
        parent = context_of_span(traceparent)
        trace_id = parent.trace_id if parent is not None else self._ids.generate_trace_id()
        if not force and not self._is_sampled(trace_id, parent):
            return None
        state = _state_of(tracestate) if parent is not None else None
        return RequestTrace(
            trace_id=trace_id,
            parent=parent,
            server=SpanContext(trace_id, self._ids.generate_span_id(), False, _SAMPLED, state),
            publish=SpanContext(trace_id, self._ids.generate_span_id(), False, _SAMPLED, state),
            tracestate=tracestate if state is not None else "",
        )

    def new_span(self, trace_id: int) -> SpanContext:
        """Returns the context of a new span of a trace."""
        return SpanContext(trace_id, self._ids.generate_span_id(), False, _SAMPLED)

    def end(self, span: ReadableSpan) -> None:
        """Takes a finished span."""
        self._processor.on_end(span)

    def close(self, limit_s: float) -> None:
        """Sends what waits, and ends the exporter; blocks for *limit_s* seconds at most."""
        shut_down_spans(self._processor.shutdown, limit_s)

    def _is_sampled(self, trace_id: int, parent: SpanContext | None) -> bool:
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        decision = self._sampler.should_sample(context, trace_id, "", SpanKind.SERVER).decision
        return decision is Decision.RECORD_AND_SAMPLE


def context_of_span(traceparent: str) -> SpanContext | None:
    """Returns the span that a `traceparent` names; None for none or a malformed one."""
    if not traceparent or not is_traceparent(traceparent):
        return None
    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def _state_of(tracestate: str) -> TraceState | None:
    """Returns what vendors added; None for nothing, or what is no `tracestate`: it is dropped, as W3C has it."""
    if not tracestate or len(tracestate) > STATE_CHARACTERS or not _STATE.fullmatch(tracestate):
        return None
    return TraceState.from_header([tracestate])


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

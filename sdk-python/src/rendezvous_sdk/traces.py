"""W3C trace context: what a traced request is answered with (docs/protocol.md, P75 and P76).

Where the process has OpenTelemetry's SDK set up, each traced request gets a span `score <model>`, child of the
request's own; else its own context is answered unchanged. OpenTelemetry is never imported here: where nobody has
imported its SDK, nobody has set it up.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

from rendezvous_proto import v1

__all__ = ["ScoredSpan", "is_traceparent", "trace_scored"]

_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)


def is_traceparent(text: str) -> bool:
    """Returns whether *text* is a well-formed `traceparent`; later versions may have more parts than version 00."""
    match = _TRACEPARENT.fullmatch(text)
    return match is not None and (match["version"] != "00" or match["more"] is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSpan:
    """One request that was scored, as its span tells it."""

    endpoint: str
    """Endpoint."""
    model: str
    """Name of the model."""
    version: str
    """Its version."""
    started_unix_us: int
    """When scoring started."""
    finished_unix_us: int
    """When it finished."""
    request_id: str
    """The request."""
    rows: int
    """Its rows."""
    error: v1.Error | None = None
    """Why it was not scored."""


def trace_scored(traceparent: str, tracestate: str, span: ScoredSpan) -> str:
    """Returns the `traceparent` to answer: that of a span made for the request, or its own, or none.

    Args:
        traceparent: the request's; a malformed one is ignored.
        tracestate: the request's.
        span: what the span tells.
    """
    if not is_traceparent(traceparent):
        return ""
    provider = _configured_provider()
    if provider is None:
        return traceparent
    return _record(provider, {"traceparent": traceparent, "tracestate": tracestate}, span)


def _configured_provider() -> Any:
    """Returns the tracer provider that the process has set up; None without one."""
    api, sdk = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.sdk.trace")
    if api is None or sdk is None:
        return None
    provider = api.get_tracer_provider()
    return provider if isinstance(provider, sdk.TracerProvider) else None


def _record(provider: Any, carrier: dict[str, str], scored: ScoredSpan) -> str:
    # imported late: the SDK is there, so its API is
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    propagator = TraceContextTextMapPropagator()
    span = provider.get_tracer("rendezvous_sdk").start_span(
        f"score {scored.model}",
        context=propagator.extract(carrier),
        kind=SpanKind.CONSUMER,
        start_time=scored.started_unix_us * 1000,
        attributes={
            "rendezvous.endpoint": scored.endpoint,
            "rendezvous.model": scored.model,
            "rendezvous.version": scored.version,
            "rendezvous.request_id": scored.request_id,
            "rendezvous.rows": scored.rows,
        },
    )
    if scored.error is not None:
        span.set_status(Status(StatusCode.ERROR, scored.error.message))
    span.end(scored.finished_unix_us * 1000)
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

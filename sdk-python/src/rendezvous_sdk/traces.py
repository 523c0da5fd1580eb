"""W3C trace context, and whether this process uses OpenTelemetry (docs/protocol.md, P75 and P76).

OpenTelemetry is never imported here: where nobody has imported it, nobody has set it up.
"""

import re
import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["activate", "find_tracer", "is_sampled", "is_traceparent", "parent_context", "traceparent_of"]

_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


def is_traceparent(text: str) -> bool:
    """Returns whether *text* is a well-formed `traceparent`; later versions may have more parts than version 00."""
    match = _TRACEPARENT.fullmatch(text)
    return match is not None and (match["version"] != "00" or match["more"] is None)


def is_sampled(text: str) -> bool:
    """Returns whether *text* is a well-formed `traceparent` of a trace that is recorded."""
    return is_traceparent(text) and bool(int(text[53:55], 16) & 1)


def find_tracer() -> "Tracer | None":
    """Returns the SDK's tracer; None where the process has set up no tracer provider."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_tracer_provider"):  # another thread may be importing it
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
        return None
    return _tracer_of(provider)


def parent_context(traceparent: str, tracestate: str) -> "Context":
    """Returns an OpenTelemetry context with the caller's span; one without any where *traceparent* is malformed.

    To be called only where `find_tracer` found a tracer.
    """
    from opentelemetry.context import Context  # noqa: PLC0415 - imported already by whoever set it up
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - the same

    carrier = {"traceparent": traceparent, "tracestate": tracestate} if is_traceparent(traceparent) else {}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def traceparent_of(span: "Span") -> str:
    """Returns the `traceparent` of what happens inside of *span*."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def activate(span: "Span") -> "AbstractContextManager[Span]":
    """Makes *span* the present one: spans begun meanwhile in this thread are its children; does not end it."""
    from opentelemetry.trace import use_span  # noqa: PLC0415 - whoever made the span has imported it

    return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


@lru_cache(maxsize=1)
def _tracer_of(provider: "TracerProvider") -> "Tracer":
    return provider.get_tracer("rendezvous_sdk")

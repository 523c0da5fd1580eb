"""Traces as Jaeger's API gives them, read into spans."""

import json
import urllib.error
from collections.abc import Callable, Sequence
from typing import Any

from tests.observability.servers import JaegerServer, fetch, wait_for
from tests.support.otlp import ReceivedSpan, SpanEvent

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")


def fetch_spans(jaeger: JaegerServer, trace_id: str) -> list[ReceivedSpan]:
    """Returns the spans of a trace, by when they began; none while Jaeger does not know the trace."""
    try:
        document = json.loads(fetch(f"{jaeger.query}/api/v3/traces/{trace_id}"))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    spans = [
        _read_span(span, scope["scope"].get("name", ""), _attributes(resource["resource"]))
        for resource in document["result"]["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    return sorted(spans, key=lambda span: span.start_ns)


def wait_for_spans(
    jaeger: JaegerServer, trace_id: str, is_whole: Callable[[Sequence[ReceivedSpan]], bool]
) -> list[ReceivedSpan]:
    """Returns the spans of a trace once they are all there."""
    seen: list[ReceivedSpan] = []

    def look() -> list[ReceivedSpan] | None:
        seen[:] = fetch_spans(jaeger, trace_id)
        return seen if is_whole(seen) else None

    try:
        return wait_for(look, f"trace {trace_id} is whole")
    except AssertionError as error:
        there = [(span.resource["service.name"], span.kind, span.name) for span in seen]
        raise AssertionError(f"{error}; there are {there}") from None


def _read_span(span: dict[str, Any], scope: str, resource: dict[str, Any]) -> ReceivedSpan:
    status = span.get("status", {})
    return ReceivedSpan(
        name=span["name"],
        kind=_KINDS[span.get("kind", 0)],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        resource=resource,
        scope=scope,
        links=tuple((link["traceId"], link["spanId"]) for link in span.get("links", ())),
        events=tuple(
            SpanEvent(name=event["name"], attributes=_attributes(event), time_ns=int(event["timeUnixNano"]))
            for event in span.get("events", ())
        ),
        status=_STATUSES[status.get("code", 0)],
        message=status.get("message", ""),
    )


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in holder.get("attributes", ())}


def _value(value: dict[str, Any]) -> Any:
    """Returns a value of OTLP's JSON, in which 64-bit integers are text."""
    for kind, content in value.items():
        if kind == "arrayValue":
            return [_value(each) for each in content.get("values", ())]
        return int(content) if kind == "intValue" else content
    return ""

"""The receiver that the tests of traces wait at."""

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.support.otlp import OtlpReceiver, Protocol


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_is_exported_is_received(protocol: Protocol) -> None:
    """Over gRPC and HTTP: names, ids, attributes, links, events, the status and the resource arrive as they were."""
    with OtlpReceiver(protocol) as receiver:
        address = receiver.endpoint
        exporter = GrpcExporter(address, insecure=True) if protocol == "grpc" else HttpExporter(f"{address}/v1/traces")
        provider = TracerProvider(resource=Resource({"service.name": "s"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("of a test")
        with tracer.start_as_current_span("outer") as outer:
            link = Link(outer.get_span_context())
            with tracer.start_as_current_span("inner", kind=SpanKind.CONSUMER, links=[link]) as inner:
                inner.set_attributes({"text": "x", "number": 3, "list": ["a", "b"]})
                inner.add_event("happened", {"at": 1})
                inner.set_status(Status(StatusCode.ERROR, "no"))
        received, parent = receiver.spans(lambda spans: len(spans) == 2)
        provider.shutdown()
    context = outer.get_span_context()
    assert (received.name, received.kind, received.status, received.message) == ("inner", "CONSUMER", "ERROR", "no")
    assert (received.trace_id, received.parent_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert received.attributes == {"text": "x", "number": 3, "list": ["a", "b"]}
    assert received.links == ((f"{context.trace_id:032x}", f"{context.span_id:016x}"),)
    assert [(event.name, event.attributes) for event in received.events] == [("happened", {"at": 1})]
    assert received.resource["service.name"] == "s"
    assert received.scope == "of a test"
    assert (parent.name, parent.parent_id) == ("outer", "")


def test_what_does_not_come_is_told() -> None:
    """A wait that is in vain fails, and names what came."""
    with OtlpReceiver() as receiver, pytest.raises(AssertionError, match="spans that came: none"):
        receiver.spans(lambda spans: spans, timeout_s=0.1)

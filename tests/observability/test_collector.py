"""The collector with the configuration that compose mounts: spans go through it to Jaeger, metrics end there."""

import os
import re
from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from rendezvous_router.nats_server import find_free_port

from tests.observability.expressions import every_expression
from tests.observability.servers import CONFIGURATION, JaegerServer, fetch, run_logging, wait_for


def test_spans_reach_jaeger_and_the_collector_counts_them(otelcol: Path, jaeger: JaegerServer, tmp_path: Path) -> None:
    """A span sent to it is found in Jaeger, and its own metrics have the names that panels and alerts ask for."""
    ports = {name: find_free_port() for name in ("GRPC", "HTTP", "HEALTH", "METRICS")}
    collector = run_logging(
        [str(otelcol), "--config", str(CONFIGURATION / "collector.yaml")],
        log=tmp_path / "otelcol.log",
        ready=".*Everything is ready",
        env={
            "OTELCOL_HOST": "127.0.0.1",
            "JAEGER_OTLP": jaeger.otlp,
            **{f"OTELCOL_{name}_PORT": str(port) for name, port in ports.items()},
        },
    )
    try:
        collector.wait_ready()
        assert "Server available" in fetch(f"http://127.0.0.1:{ports['HEALTH']}/")
        trace_id = send_span(f"127.0.0.1:{ports['GRPC']}")
        found = wait_for(lambda: jaeger.trace(trace_id), "the span is in Jaeger")
        assert [span["operationName"] for span in found["spans"]] == ["through the collector"]
        page = f"http://127.0.0.1:{ports['METRICS']}/metrics"
        asked = {name for _, expr in every_expression() for name in re.findall(r"otelcol_\w+", expr)}
        assert len(asked) == 3
        wait_for(lambda: all(f"\n{name}{{" in fetch(page) for name in asked), f"the collector has {asked}")
        assert collector.stop() == 0
    finally:
        collector.kill()


def send_span(address: str) -> str:
    """Sends one span by OTLP over gRPC; returns its trace's id."""
    provider = TracerProvider(resource=Resource({"service.name": f"test-{os.getpid()}"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=address, insecure=True)))
    with provider.get_tracer("test").start_as_current_span("through the collector") as span:
        context = span.get_span_context()
    provider.shutdown()
    return f"{context.trace_id:032x}"

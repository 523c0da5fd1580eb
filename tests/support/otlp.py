"""A receiver of OTLP, over gRPC or HTTP: what processes export arrives here, and tests wait for it."""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.trace.v1 import trace_pb2

Protocol = Literal["grpc", "http/protobuf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """An event of a span."""

    name: str
    attributes: dict[str, Any]
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span as it was exported; ids are lower-case hex, empty where there is none."""

    name: str
    kind: str
    """`INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER`."""
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    """Attributes of the process, `service.name` among them."""
    scope: str
    """The instrumentation's name."""
    links: tuple[tuple[str, str], ...]
    """Trace id and span id of each span linked to."""
    events: tuple[SpanEvent, ...]
    status: str
    """`UNSET`, `OK`, `ERROR`."""
    message: str
    """Description of the status."""


class OtlpReceiver:
    """Listens on 127.0.0.1 and keeps what it gets, until closed.

    Args:
        protocol: `grpc` or `http/protobuf`.
        port: 0 takes a free one.
    """

    def __init__(self, protocol: Protocol = "grpc", port: int = 0) -> None:
        self._changed = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._metrics: list[ResourceMetrics] = []
        self._close: Callable[[], None]
        self.protocol = protocol
        self.port = self._serve_grpc(port) if protocol == "grpc" else self._serve_http(port)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        """Variables that make a process export to here, soon after each span."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server."""
        self._close()

    def spans(
        self, until: Callable[[list[ReceivedSpan]], object] | None = None, *, timeout_s: float = 20.0
    ) -> list[ReceivedSpan]:
        """Returns the spans received so far, in the order in which they came.

        Args:
            until: waited for: called with all spans after each arrival, until it returns something true.
            timeout_s: longest wait, seconds.

        Raises:
            AssertionError: it did not hold in time; tells the spans that came.
        """
        self._wait(lambda: until is None or until(list(self._spans)), timeout_s)
        with self._changed:
            return list(self._spans)

    def metrics(
        self, until: Callable[[list[ResourceMetrics]], object] | None = None, *, timeout_s: float = 20.0
    ) -> list[ResourceMetrics]:
        """Returns the metrics received so far, as OTLP has them; arguments and errors as of `spans`."""
        self._wait(lambda: until is None or until(list(self._metrics)), timeout_s)
        with self._changed:
            return list(self._metrics)

    def clear(self) -> None:
        """Forgets what came."""
        with self._changed:
            self._spans.clear()
            self._metrics.clear()

    def _wait(self, holds: Callable[[], object], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not holds():
                if not self._changed.wait(deadline - time.monotonic()):
                    came = ", ".join(f"{span.name} ({span.resource.get('service.name')})" for span in self._spans)
                    raise AssertionError(f"not received within {timeout_s:g} s; spans that came: {came or 'none'}")

    def take_traces(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Keeps the spans of an export."""
        received = [
            _received(span, scope.scope.name, _attributes(of_resource.resource.attributes))
            for of_resource in request.resource_spans
            for scope in of_resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self._spans += received
            self._changed.notify_all()

    def take_metrics(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        """Keeps the metrics of an export."""
        with self._changed:
            self._metrics += request.resource_metrics
            self._changed.notify_all()

    def _serve_grpc(self, port: int) -> int:
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        self._close = lambda: server.stop(0).wait()
        return int(bound)

    def _serve_http(self, port: int) -> int:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    receiver.take_traces(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
                elif self.path == "/v1/metrics":
                    receiver.take_metrics(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body))
                self.send_response(200 if self.path in {"/v1/traces", "/v1/metrics"} else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        return int(server.server_address[1])


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        self._receiver.take_traces(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        self._receiver.take_metrics(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _received(span: trace_pb2.Span, scope: str, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        scope=scope,
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple(
            SpanEvent(name=event.name, attributes=_attributes(event.attributes), time_ns=event.time_unix_nano)
            for event in span.events
        ),
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        message=span.status.message,
    )


def _attributes(pairs: "Any | list[KeyValue]") -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)

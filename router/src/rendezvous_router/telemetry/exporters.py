"""OTLP exporters by the standard `OTEL_*` variables. Imported only where one is asked for: gRPC and protobuf cost time.

Source: OpenTelemetry's specification of its environment variables, and of the OTLP exporter.
"""

from collections.abc import Mapping
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

_PROTOCOLS = ("grpc", "http/protobuf")


class MetricsSink(Protocol):
    """Sends metrics."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000) -> object:
        """Sends *metrics_data*, and says whether that succeeded."""

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Ends."""


def is_asked_for(signal: str, environment: Mapping[str, str]) -> bool:
    """Returns whether the variables ask for OTLP of a *signal*, `TRACES` or `METRICS`.

    It is asked for by an endpoint or by naming the exporter; not by default, because then every process without a
    collector would complain of its absence.

    Raises:
        ValueError: another exporter is asked for.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    name = f"OTEL_{signal}_EXPORTER"
    exporter = environment.get(name, "").strip().lower()
    if exporter == "none":
        return False
    if exporter not in ("", "otlp", "console"):
        raise ValueError(f"{name}={exporter}: there is no such exporter here; use otlp, console or none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return bool(exporter) or any(environment.get(each) for each in endpoints)


def span_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    """Returns the exporter of spans; None: not asked for.

    Raises:
        ValueError: as `is_asked_for`, or the protocol is none of OTLP's.
    """
    if not is_asked_for("TRACES", environment):
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "console":
        return ConsoleSpanExporter()
    if _protocol("TRACES", environment) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        return OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpSpanExporter,
    )

    return HttpSpanExporter()


def metrics_sink(environment: Mapping[str, str]) -> MetricsSink | None:
    """Returns the exporter of metrics; None: not asked for.

    Raises:
        ValueError: as `span_exporter`.
    """
    if not is_asked_for("METRICS", environment):
        return None
    if environment.get("OTEL_METRICS_EXPORTER", "").strip().lower() == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

        return ConsoleMetricExporter()
    if _protocol("METRICS", environment) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter as HttpMetricExporter,
    )

    return HttpMetricExporter()


def _protocol(signal: str, environment: Mapping[str, str]) -> str:
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    for name in names:
        value = environment.get(name, "").strip().lower()
        if value and value not in _PROTOCOLS:
            raise ValueError(f"{name}={value}: there is no such protocol here; use {' or '.join(_PROTOCOLS)}")
        if value:
            return value
    return "grpc"

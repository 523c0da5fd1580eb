"""The exporter of metrics, by the standard `OTEL_*` variables; that of spans is the SDK's, as for models.

Imported only where one is asked for: gRPC and protobuf cost time.
"""

from collections.abc import Mapping
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricsData
from rendezvous_sdk.span_export import asking_variable, otlp_protocol


class MetricsSink(Protocol):
    """Sends metrics."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000) -> object:
        """Sends *metrics_data*, and says whether that succeeded."""

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Ends."""


def check_metrics_environment(environment: Mapping[str, str]) -> None:
    """Checks that what the variables ask for is there.

    Raises:
        ValueError: it is not; the message names the variable.
    """
    if asking_variable("METRICS", environment) is not None:
        otlp_protocol("METRICS", environment)


def metrics_sink(environment: Mapping[str, str]) -> MetricsSink | None:
    """Returns the exporter of metrics; None: not asked for.

    Raises:
        ValueError: a variable asks for what there is not; the message names it.
    """
    if asking_variable("METRICS", environment) is None:
        return None
    protocol = otlp_protocol("METRICS", environment)
    if protocol == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

        return ConsoleMetricExporter()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as over_grpc  # noqa: PLC0415

        return over_grpc.OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as over_http  # noqa: PLC0415

    return over_http.OTLPMetricExporter()

"""The metrics pushed by OTLP, time by time; histograms are exponential ones where their buckets allow it."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from rendezvous_router.telemetry.collect import Point, Points
from rendezvous_router.telemetry.exporters import MetricsSink, metrics_sink
from rendezvous_router.telemetry.histogram import ExponentialLayout, Histogram
from rendezvous_router.telemetry.metrics import Kind, Metric

_SCOPE = InstrumentationScope("rendezvous_router")
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricsPush:
    """Sends the metrics every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (default: a minute), and at the end.

    Works in a thread of its own, so that a collector that does not answer holds nobody up.

    Args:
        sink: sends.
        collect: reads them; called in that thread.
        resource: says whose they are.
        interval_s: time between two sendings, seconds.
    """

    def __init__(
        self, sink: MetricsSink, collect: Callable[[], Points], resource: Resource, *, interval_s: float
    ) -> None:
        self._sink = sink
        self._collect = collect
        self._resource = resource
        self._interval_s = interval_s
        self._started_ns = time.time_ns()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-push", daemon=True)

    @classmethod
    def from_environment(
        cls, collect: Callable[[], Points], resource: Resource, environment: Mapping[str, str] = os.environ
    ) -> "MetricsPush | None":
        """Returns what the standard `OTEL_*` variables ask for; None: they ask for no metrics.

        Raises:
            ValueError: they ask for what there is not.
        """
        sink = metrics_sink(environment)
        if sink is None:
            return None
        text = environment.get("OTEL_METRIC_EXPORT_INTERVAL", "60000")
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"OTEL_METRIC_EXPORT_INTERVAL={text}: must be milliseconds, at least 1")
        return cls(sink, collect, resource, interval_s=int(text) / 1000)

    def start(self) -> None:
        """Starts to send."""
        self._thread.start()

    def close(self, limit_s: float) -> None:
        """Sends a last time, and ends; blocks for *limit_s* seconds at most."""
        self._closing.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            self._send()
        self._send()
        self._sink.shutdown()

    def _send(self) -> None:
        # a failure is told by the exporter's own log, and the next sending has it all
        self._sink.export(metrics_data(self._collect(), self._resource, self._started_ns, time.time_ns()))


def metrics_data(points: Points, resource: Resource, started_ns: int, now_ns: int) -> MetricsData:
    """Returns the metrics as OpenTelemetry's SDK holds them."""
    metrics = [
        export.Metric(metric.name, metric.description, metric.unit, _data_of(metric, each, started_ns, now_ns))
        for metric, each in points.items()
    ]
    scope = export.ScopeMetrics(_SCOPE, metrics, "")
    return MetricsData([export.ResourceMetrics(resource, [scope], "")])


def _data_of(
    metric: Metric, points: Sequence[Point], started_ns: int, now_ns: int
) -> export.Sum | export.Gauge | export.Histogram | export.ExponentialHistogram:
    if metric.kind is Kind.HISTOGRAM:
        if isinstance(metric.layout, ExponentialLayout):
            return export.ExponentialHistogram(
                [_exponential(metric, point, started_ns, now_ns) for point in points], _CUMULATIVE
            )
        return export.Histogram([_explicit(metric, point, started_ns, now_ns) for point in points], _CUMULATIVE)
    numbers = [
        export.NumberDataPoint(_attributes(metric, point), started_ns, now_ns, point.value)  # type: ignore[arg-type] # no histogram here
        for point in points
    ]
    if metric.kind is Kind.COUNTER:
        return export.Sum(numbers, _CUMULATIVE, is_monotonic=True)
    return export.Gauge(numbers)


def _exponential(metric: Metric, point: Point, started_ns: int, now_ns: int) -> export.ExponentialHistogramDataPoint:
    histogram, layout = point.value, metric.layout
    assert isinstance(histogram, Histogram), "a histogram's points are histograms"
    assert isinstance(layout, ExponentialLayout), "asked before"
    count = int(histogram.counts.sum())
    return export.ExponentialHistogramDataPoint(
        attributes=_attributes(metric, point),
        start_time_unix_nano=started_ns,
        time_unix_nano=now_ns,
        count=count,
        sum=histogram.sum,
        scale=layout.scale,
        zero_count=0,
        positive=export.Buckets(layout.first, [int(each) for each in histogram.counts]),
        negative=export.Buckets(0, []),
        flags=0,
        min=histogram.least if count else 0.0,
        max=histogram.greatest if count else 0.0,
    )


def _explicit(metric: Metric, point: Point, started_ns: int, now_ns: int) -> export.HistogramDataPoint:
    histogram = point.value
    assert isinstance(histogram, Histogram), "a histogram's points are histograms"
    count = int(histogram.counts.sum())
    return export.HistogramDataPoint(
        attributes=_attributes(metric, point),
        start_time_unix_nano=started_ns,
        time_unix_nano=now_ns,
        count=count,
        sum=histogram.sum,
        bucket_counts=[int(each) for each in histogram.counts],
        explicit_bounds=histogram.layout.bounds,
        min=histogram.least if count else 0.0,
        max=histogram.greatest if count else 0.0,
    )


def _attributes(metric: Metric, point: Point) -> dict[str, str]:
    return dict(zip(metric.labels, point.labels, strict=True))

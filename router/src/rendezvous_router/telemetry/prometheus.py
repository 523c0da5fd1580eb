"""The metrics as Prometheus scrapes them, names and labels by OpenTelemetry's rules for it."""

from collections.abc import Callable, Iterable

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from rendezvous_router.telemetry.collect import Point, Points
from rendezvous_router.telemetry.histogram import Histogram
from rendezvous_router.telemetry.metrics import Kind, Metric


class Exposition(Collector):
    """Renders the router's metrics, and those of its process.

    Args:
        collect: reads them.
    """

    def __init__(self, collect: Callable[[], Points]) -> None:
        self._collect = collect
        self._registry = CollectorRegistry()
        self._registry.register(self)
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self._registry.register(collector)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the page and its content type, in the format that *accept* prefers."""
        encode, content_type = choose_encoder(accept)
        page: bytes = encode(self._registry)
        return page, content_type

    def describe(self) -> Iterable[Family]:
        """Returns nothing: what there is depends on the endpoints."""
        return ()

    def collect(self) -> Iterable[Family]:
        """Yields the metrics as prometheus_client's."""
        for metric, points in self._collect().items():
            yield family_of(metric, points)


def family_of(metric: Metric, points: Iterable[Point]) -> Family:
    """Returns a metric with its points as prometheus_client's."""
    labels = [label.replace(".", "_") for label in metric.labels]
    family: HistogramMetricFamily | CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.HISTOGRAM:
        family = HistogramMetricFamily(metric.prometheus_name, metric.description, labels=labels)
        for point in points:
            histogram = point.value
            assert isinstance(histogram, Histogram), "a histogram's points are histograms"
            family.add_metric(point.labels, histogram.cumulative(), histogram.sum)
        return family
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(metric.prometheus_name, metric.description, labels=labels)
    else:
        family = GaugeMetricFamily(metric.prometheus_name, metric.description, labels=labels)
    for point in points:
        family.add_metric(point.labels, point.value)  # type: ignore[arg-type] # counters and gauges have numbers
    return family

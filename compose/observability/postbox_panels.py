"""Panels about the postbox, the record, and the observers themselves."""

from collections.abc import Sequence

from compose.observability.panels import Panel, Query, quantiles
from compose.observability.queries import BY_ENDPOINT, NAME, OF_ENDPOINT, rate

_PUBLISHING = f'{OF_ENDPOINT},messaging_operation_name="publish"'
POSTBOX: Sequence[Panel] = (
    Panel(
        title="Time to publish",
        says="From the seal of a parcel to JetStream's acknowledgement: the disk and, in a cluster, its replicas.",
        unit="s",
        queries=quantiles("messaging_client_operation_duration_seconds", BY_ENDPOINT, _PUBLISHING, NAME),
    ),
    Panel(
        title="Parcels",
        says="Parcels a second.",
        unit="ops",
        queries=[Query(expr=rate("rendezvous_parcel_requests_count", BY_ENDPOINT, OF_ENDPOINT), legend=NAME)],
    ),
    Panel(
        title="Connected",
        says="1 while a router is connected to nats-server.",
        most=1.0,
        traces="none",
        queries=[Query(expr="min by (instance) (rendezvous_postbox_connected)", legend="{{instance}}")],
    ),
    Panel(
        title="Requests of a parcel",
        says="How many concurrent requests share a parcel: 1 when it is quiet, more under load.",
        queries=quantiles("rendezvous_parcel_requests", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
    Panel(
        title="Rows of a parcel",
        says="What a model scores at once.",
        queries=quantiles("rendezvous_parcel_rows", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
    Panel(
        title="Size of a parcel",
        says="On the wire.",
        unit="bytes",
        queries=quantiles("rendezvous_parcel_size_bytes", BY_ENDPOINT, OF_ENDPOINT, NAME),
    ),
)
RECORD: Sequence[Panel] = (
    Panel(
        title="Archive's lag",
        says="Messages of the durable stream that are not yet in the archive.",
        queries=[Query(expr=f"max by ({BY_ENDPOINT}) (rendezvous_decoy_lag{{{OF_ENDPOINT}}})", legend=NAME)],
    ),
    Panel(
        title="Decisions waiting",
        says="Batches of decisions that are made and not yet in the record.",
        traces="none",
        queries=[Query(expr="sum by (instance) (rendezvous_decisions_waiting)", legend="{{instance}}")],
    ),
    Panel(
        title="Decisions dropped",
        says="Batches of decisions that the record misses for good, because the postbox was away for too long. "
        "Anything but 0 is an alert.",
        traces="none",
        queries=[
            Query(
                expr="sum by (instance) (increase(rendezvous_decisions_dropped_total[$__rate_interval]))",
                legend="{{instance}}",
            )
        ],
    ),
)

OBSERVERS: Sequence[Panel] = (
    Panel(
        title="Routers that are scraped",
        says="1: Prometheus reaches it.",
        most=1.0,
        traces="none",
        width=12,
        queries=[Query(expr='up{job="router"}', legend="{{instance}}")],
    ),
    Panel(
        title="Spans",
        says="Spans a second: sent to Jaeger by the collector, and lost or refused by it.",
        unit="ops",
        traces="none",
        width=12,
        queries=[
            Query(
                expr=f'sum by (instance) (rate({name}{{job="otel-collector"}}[$__rate_interval]))',
                legend=f"{{{{instance}}}} {what}",
            )
            for name, what in (
                ("otelcol_exporter_sent_spans_total", "sent"),
                ("otelcol_exporter_send_failed_spans_total", "lost"),
                ("otelcol_receiver_refused_spans_total", "refused"),
            )
        ],
    ),
)

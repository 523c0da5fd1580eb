"""Every metric of the router, once: docs/telemetry.md and both exports are made from this table.

Names and units are OpenTelemetry's; `rpc.*` and `messaging.*` follow its semantic conventions. Labels are bounded:
endpoints, models and rules come from specifications that an operator has applied, error types are a closed list.
"""

from dataclasses import dataclass
from enum import StrEnum

from rendezvous_router.telemetry.histogram import BYTES, COUNTS, SECONDS, SHARES, Layout

TENANT = "rendezvous.tenant"
ENDPOINT = "rendezvous.endpoint"
MODEL = "rendezvous.model"
VERSION = "rendezvous.version"
RULE = "rendezvous.rule"
OUTCOME = "rendezvous.outcome"
FEEDBACK_KIND = "rendezvous.feedback.kind"
ERROR = "error.type"
WHY = "rendezvous.enrichment.reason"


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """OpenTelemetry's name."""
    kind: Kind
    """What it is."""
    unit: str
    """Unit by UCUM, as OpenTelemetry writes it."""
    labels: tuple[str, ...]
    """Names of its attributes."""
    description: str
    """What it says."""
    layout: Layout | None = None
    """Buckets of a histogram."""

    @property
    def prometheus_name(self) -> str:
        """Its name in Prometheus, without `_total`."""
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return self.name.replace(".", "_") + suffix


_OF_TENANT = (TENANT,)
_OF_ENDPOINT = (TENANT, ENDPOINT)
_OF_MODEL = (TENANT, ENDPOINT, MODEL)

METRICS: tuple[Metric, ...] = (
    Metric(
        "rendezvous.requests",
        Kind.COUNTER,
        "{request}",
        (*_OF_ENDPOINT, OUTCOME, ERROR),
        "Requests that ended: `answered`, `no_answer` (the policy had none), `unavailable` (the postbox did not "
        "acknowledge), `refused` (not accepted), `repeated` (a retry that shares the answer of the first attempt). "
        "`error.type` is the error code, empty when answered.",
    ),
    Metric("rendezvous.requests.in_flight", Kind.GAUGE, "{request}", _OF_ENDPOINT, "Requests accepted, not answered."),
    Metric(
        "rendezvous.decisions",
        Kind.COUNTER,
        "{decision}",
        (*_OF_ENDPOINT, RULE, MODEL),
        "Decisions by the rule that decided and the model that gave most of the answer (empty: none did).",
    ),
    Metric(
        "rendezvous.decision.time",
        Kind.HISTOGRAM,
        "s",
        _OF_ENDPOINT,
        "From a request's acceptance to its decision.",
        SECONDS,
    ),
    Metric(
        "rendezvous.deadline.used_ratio",
        Kind.HISTOGRAM,
        "",
        _OF_ENDPOINT,
        "Share of a request's time that had gone when it was decided; above 0.9 the deadline is near.",
        SHARES,
    ),
    Metric(
        "rpc.server.call.duration",
        Kind.HISTOGRAM,
        "s",
        (*_OF_ENDPOINT, "rpc.system.name", "rpc.method", "rpc.response.status_code"),
        "From a request's acceptance to its answer or error. Of a stream: of each of its requests.",
        SECONDS,
    ),
    Metric(
        "messaging.client.operation.duration",
        Kind.HISTOGRAM,
        "s",
        (*_OF_ENDPOINT, "messaging.system", "messaging.operation.name", "messaging.destination.template"),
        "From the seal of a parcel to JetStream's acknowledgement.",
        SECONDS,
    ),
    Metric("rendezvous.parcel.requests", Kind.HISTOGRAM, "{request}", _OF_ENDPOINT, "Requests of a parcel.", COUNTS),
    Metric("rendezvous.parcel.rows", Kind.HISTOGRAM, "{row}", _OF_ENDPOINT, "Rows of a parcel.", COUNTS),
    Metric("rendezvous.parcel.size", Kind.HISTOGRAM, "By", _OF_ENDPOINT, "Size of a parcel on the wire.", BYTES),
    Metric(
        "rendezvous.scores",
        Kind.COUNTER,
        "{score}",
        (*_OF_MODEL, ERROR),
        "Scores, in time or late, by the error code that they carry or earned (`INVALID_OUTPUT`: its signature does "
        "not allow it; `EXPIRED`: skipped, because its deadline had passed); empty: valid.",
    ),
    Metric("rendezvous.scores.late", Kind.COUNTER, "{score}", _OF_MODEL, "Scores that came after the deadline."),
    Metric(
        "rendezvous.scores.lost",
        Kind.COUNTER,
        "{score}",
        _OF_MODEL,
        "Scores that had not come a minute after the deadline.",
    ),
    Metric(
        "rendezvous.scores.stray",
        Kind.COUNTER,
        "{score}",
        _OF_MODEL,
        "Messages that fit no parcel: garbage, other requests' ids, second answers. Model `?`: no model of the "
        "endpoint.",
    ),
    Metric(
        "rendezvous.model.time",
        Kind.HISTOGRAM,
        "s",
        _OF_MODEL,
        "From the seal of a parcel to the arrival of the model's score.",
        SECONDS,
    ),
    Metric(
        "rendezvous.model.scoring.time",
        Kind.HISTOGRAM,
        "s",
        _OF_MODEL,
        "What scoring a parcel took, as the model says.",
        SECONDS,
    ),
    Metric(
        "rendezvous.model.lag",
        Kind.GAUGE,
        "{parcel}",
        (*_OF_MODEL, VERSION),
        "Parcels that wait for the model or are being scored: of versions that have replicas, and of the newest of a "
        "model that has none.",
    ),
    Metric(
        "rendezvous.enrichment.defaults",
        Kind.COUNTER,
        "{request}",
        (*_OF_MODEL, WHY),
        "Requests that got an enricher's defaults, by why: `LATE`, or the code of the error that it gave or earned.",
    ),
    Metric("rendezvous.model.replicas", Kind.GAUGE, "{replica}", _OF_MODEL, "Replicas that say they live."),
    Metric("rendezvous.decoy.lag", Kind.GAUGE, "{message}", _OF_ENDPOINT, "Messages that are not archived yet."),
    Metric(
        "rendezvous.feedback",
        Kind.COUNTER,
        "{outcome}",
        (*_OF_ENDPOINT, FEEDBACK_KIND),
        "Outcomes that were kept, repeats included: `truth`, `reward`, `verdict`.",
    ),
    Metric(
        "rendezvous.feedback.refused",
        Kind.COUNTER,
        "{call}",
        (*_OF_ENDPOINT, ERROR),
        "Calls of feedback that were refused, by the error code.",
    ),
    Metric("rendezvous.endpoint.revision", Kind.GAUGE, "", _OF_ENDPOINT, "Revision of the specification in force."),
    Metric("rendezvous.postbox.connected", Kind.GAUGE, "", _OF_TENANT, "1 while it is connected to nats-server."),
    Metric(
        "rendezvous.decisions.waiting",
        Kind.GAUGE,
        "{batch}",
        _OF_TENANT,
        "Batches of decision records that JetStream has not acknowledged yet.",
    ),
    Metric(
        "rendezvous.decisions.dropped",
        Kind.COUNTER,
        "{batch}",
        _OF_TENANT,
        "Batches of decision records given up, because the postbox was away for too long.",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}

"""When a parcel was sent and scored, as its spans show it."""

from dataclasses import dataclass

from rendezvous_proto.v1 import ParcelScore

from rendezvous_router.parcels import Request
from rendezvous_router.telemetry.noted import WaitedFor
from rendezvous_router.telemetry.tracing import RequestTrace


@dataclass(frozen=True, slots=True)
class Sent:
    """One publishing of a parcel."""

    parcel_id: str
    """Its id."""
    requests: int
    """Number of its requests."""
    sealed_at: float
    """When, seconds of the monotonic clock."""
    kept_at: float
    """When JetStream acknowledged, the same; 0: it did not."""
    stage: int = 0
    """Stage of the enrichers that were asked; 0: the models were."""


def wait_for(index: int, request: Request, trace: RequestTrace, sent: Sent) -> WaitedFor:
    """Returns what is needed to draw scores of a sampled request, whenever they come."""
    return WaitedFor(
        trace=trace,
        endpoint=request.endpoint.name,
        request_id=request.request_id,
        index=index,
        rows=request.rows,
        sealed_ns=wall_ns(request, sent.sealed_at),
        deadline_ns=wall_ns(request, request.deadline_at),
        stage=sent.stage,
    )


def wall_ns(request: Request, moment_s: float) -> int:
    """Returns a moment of the monotonic clock as nanoseconds since 1970-01-01 UTC."""
    return request.accepted_unix_us * 1000 + round((moment_s - request.accepted_at) * 1e9)


def place_scoring(score: ParcelScore, sealed_ns: int, arrived_ns: int) -> tuple[int, int]:
    """Returns when the model scored, by the router's clock: where its own differs, as late as it can have been."""
    start_ns, end_ns = score.timing.started_unix_us * 1000, score.timing.finished_unix_us * 1000
    if sealed_ns <= start_ns <= end_ns <= arrived_ns:
        return start_ns, end_ns
    return max(sealed_ns, arrived_ns - max(0, end_ns - start_ns)), arrived_ns

"""What is noted of a request for its spans."""

from dataclasses import dataclass

from rendezvous_router.telemetry.tracing import RequestTrace


@dataclass(frozen=True, slots=True)
class WaitedFor:
    """A sampled request whose parcel is closed, as long as scores of it may still come."""

    trace: RequestTrace
    """Its ids."""
    endpoint: str
    """Its endpoint."""
    request_id: str
    """Its id."""
    index: int
    """Its place in the parcel."""
    rows: int
    """Its rows."""
    sealed_ns: int
    """When its parcel was sealed, nanoseconds since 1970-01-01 UTC."""
    deadline_ns: int
    """When its answer was due, the same."""
    stage: int = 0
    """Stage of the enrichers that were asked; 0: the models were."""


@dataclass(slots=True)
class Call:
    """A request as it arrives."""

    method: str
    """Through which method."""
    request_id: str
    """Its id, as the client gave it; empty: it gave none."""
    trace: RequestTrace | None
    """Its ids, if it is sampled."""
    trace_id: str = ""
    """Id of its trace, sampled or not; empty: it is in none."""
    endpoint: str = ""
    """Its endpoint; empty where there is none of that name."""
    is_repeat: bool = False
    """Whether it shares the answer of an earlier attempt."""

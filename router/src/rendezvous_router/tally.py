"""What happened at each endpoint and what each model did, as this router saw it: numbers for status and metrics."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles

from rendezvous_proto.errors import ErrorCode, RendezvousError
from rendezvous_proto.v1 import Timing

from rendezvous_router.telemetry.histogram import BYTES, COUNTS, SECONDS, SHARES, Histogram

WINDOW = 1024
"""How many of the latest scores the quantiles look at."""
ANSWERED, NO_ANSWER, UNAVAILABLE, REFUSED = "answered", "no_answer", "unavailable", "refused"
REPEATED = "repeated"
"""How a request may end."""


def system_of(method: str) -> str:
    """Returns the system of a method, as telemetry names it: `http` for `POST /v1/...`, else `grpc`."""
    return "http" if " " in method else "grpc"


@dataclass(slots=True)
class ModelTally:
    """What one model did at one endpoint. Counts are of requests, not of parcels."""

    scored: int = 0
    """Valid scores, in time or late."""
    won: int = 0
    """Answers that were (mostly) its own."""
    late: int = 0
    """Scores that came after the request's deadline."""
    lost: int = 0
    """Scores that had not come a minute after it."""
    errors: dict[int, int] = field(default_factory=dict)
    """Scores that failed, by error code."""
    stray: int = 0
    """Messages that fitted no parcel: garbage, another request's id, floods."""
    defaults: dict[str, int] = field(default_factory=dict)
    """Of an enricher: requests that got defaults instead of its columns, by reason."""
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """Time from seal to arrival of the latest scores, milliseconds."""
    time_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """The same of all parcels, seconds."""
    scoring_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """What scoring took, as the model says, seconds."""

    def count(self, error_code: int | None, *, is_late: bool) -> None:
        """Counts the score of one request: valid, or failed with a code; what was skipped as expired is not late."""
        if error_code is None:
            self.scored += 1
        else:
            self.errors[error_code] = self.errors.get(error_code, 0) + 1
        self.late += is_late and error_code != ErrorCode.EXPIRED

    def default(self, why: str, requests: int) -> None:
        """Counts requests that got defaults instead of this enricher's columns: `LATE`, or the name of an error."""
        self.defaults[why] = self.defaults.get(why, 0) + requests

    def time(self, timing: Timing, took_s: float) -> float:
        """Records the score of one parcel.

        Args:
            timing: what the model says of it.
            took_s: from its seal to the score's arrival, seconds.

        Returns:
            What scoring took, seconds: no longer than the whole, whatever the model says; below 0: it says nothing.
        """
        self.times_ms.append(took_s * 1e3)
        self.time_s.fresh.append(took_s)
        if not timing.started_unix_us:
            return -1.0
        scoring_s = min(max(0.0, (timing.finished_unix_us - timing.started_unix_us) / 1e6), took_s)
        self.scoring_s.fresh.append(scoring_s)
        return scoring_s

    def histograms(self) -> Iterator[Histogram]:
        """Yields its histograms."""
        yield self.time_s
        yield self.scoring_s

    def to_dict(self) -> dict[str, float | int | None]:
        """Returns the counts with the quantiles of the window, for the router's status."""
        p50, p99 = _quantiles(self.times_ms)
        invalid = self.errors.get(ErrorCode.INVALID_OUTPUT, 0)
        expired = self.errors.get(ErrorCode.EXPIRED, 0)
        return {
            "scored": self.scored,
            "won": self.won,
            "late": self.late,
            "failed": sum(self.errors.values()) - invalid - expired,
            "invalid": invalid,
            "expired": expired,
            "stray": self.stray,
            "defaulted": sum(self.defaults.values()),
            "p50_ms": p50,
            "p99_ms": p99,
        }


@dataclass(slots=True)
class EndpointTally:
    """What happened at one endpoint since the router started."""

    requests: int = 0
    """Requests accepted."""
    ended: dict[tuple[str, str], int] = field(default_factory=dict)
    """Requests that ended, by (how, name of the error code)."""
    decisions: dict[tuple[str, str], int] = field(default_factory=dict)
    """Decisions by (rule, model that gave most of the answer)."""
    calls_s: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """Time from acceptance to answer by (method, gRPC status), seconds."""
    decision_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """Time from acceptance to decision, seconds."""
    deadline_used: Histogram = field(default_factory=lambda: Histogram(SHARES))
    """Share of the request's time that had gone at its decision."""
    publish_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """Time from seal to JetStream's acknowledgement, seconds."""
    parcel_requests: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    """Requests of a parcel."""
    parcel_rows: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    """Rows of a parcel."""
    parcel_bytes: Histogram = field(default_factory=lambda: Histogram(BYTES))
    """Size of a parcel."""
    feedback: Counter[str] = field(default_factory=Counter)
    """Outcomes that were kept, by kind."""
    feedback_refused: Counter[str] = field(default_factory=Counter)
    """Calls of feedback that were refused, by name of the error code."""
    models: dict[str, ModelTally] = field(default_factory=dict)
    """By model."""

    def model(self, name: str) -> ModelTally:
        """Returns the tally of model *name*, made at first use."""
        tally = self.models.get(name)
        if tally is None:
            tally = self.models[name] = ModelTally()
        return tally

    def end(self, method: str, how: str, error: RendezvousError | None, took_s: float) -> None:
        """Counts the end of one request.

        Args:
            method: through which method it came.
            how: `ANSWERED`, `NO_ANSWER`, `UNAVAILABLE`, `REFUSED` or `REPEATED`.
            error: what it was answered, if not outputs.
            took_s: since its arrival, seconds.
        """
        status, code = ("OK", "") if error is None else (error.facts.grpc_status, error.code.name)
        self.ended[how, code] = self.ended.get((how, code), 0) + 1
        histogram = self.calls_s.get((method, status))
        if histogram is None:
            histogram = self.calls_s[method, status] = Histogram(SECONDS)
        histogram.fresh.append(took_s)

    def decide(self, rule: str, model: str, took_s: float, share: float) -> None:
        """Counts one decision.

        Args:
            rule: that decided.
            model: gave most of the answer; empty: none.
            took_s: since the request's acceptance, seconds.
            share: of the request's time that had gone.
        """
        self.decisions[rule, model] = self.decisions.get((rule, model), 0) + 1
        self.decision_s.fresh.append(took_s)
        self.deadline_used.fresh.append(share)
        if model:
            self.model(model).won += 1

    def seal(self, requests: int, rows: int, size_bytes: int) -> None:
        """Counts one parcel."""
        self.parcel_requests.fresh.append(requests)
        self.parcel_rows.fresh.append(rows)
        self.parcel_bytes.fresh.append(size_bytes)

    def ended_as(self, how: str) -> int:
        """Returns how many requests ended so."""
        return sum(count for (each, _), count in self.ended.items() if each == how)

    def fold(self) -> None:
        """Counts what the histograms hold into their buckets."""
        for histogram in self.histograms():
            histogram.fold()
        for model in tuple(self.models.values()):
            for histogram in model.histograms():
                histogram.fold()

    def histograms(self) -> Iterator[Histogram]:
        """Yields the endpoint's own histograms."""
        yield from tuple(self.calls_s.values())
        yield self.decision_s
        yield self.deadline_used
        yield self.publish_s
        yield self.parcel_requests
        yield self.parcel_rows
        yield self.parcel_bytes

    def rules(self) -> dict[str, int]:
        """Returns the number of decisions by rule."""
        rules: dict[str, int] = {}
        for (rule, _), count in self.decisions.items():
            rules[rule] = rules.get(rule, 0) + count
        return rules


def _quantiles(times_ms: deque[float]) -> tuple[float | None, float | None]:
    if len(times_ms) < 2:
        return (times_ms[0], times_ms[0]) if times_ms else (None, None)
    cuts = quantiles(times_ms, n=100, method="inclusive")
    return round(cuts[49], 3), round(cuts[98], 3)


def error_name(code: int) -> str:
    """Returns the name of an error code; a number that is none of them counts as INTERNAL."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return ErrorCode.INTERNAL.name

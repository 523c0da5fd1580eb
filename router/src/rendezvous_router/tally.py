"""Counts of what each model did, as this router saw it."""

from collections import deque
from dataclasses import dataclass, field
from statistics import quantiles

WINDOW = 1024
"""How many of the latest scores the quantiles look at."""


@dataclass(slots=True)
class ModelTally:
    """What one model did at one endpoint. Counts are of requests, not of parcels."""

    scored: int = 0
    """Valid scores, in time or late."""
    won: int = 0
    """Answers that were (mostly) its own."""
    late: int = 0
    """Scores that came after the request's deadline."""
    failed: int = 0
    """Errors that it reported."""
    invalid: int = 0
    """Outputs that its signature does not allow."""
    expired: int = 0
    """Requests that it skipped because they had expired before delivery."""
    stray: int = 0
    """Messages that fitted no parcel: garbage, another request's id, floods."""
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """Time from seal to arrival of the latest scores, milliseconds."""

    def to_dict(self) -> dict[str, float | int | None]:
        """Returns the counts with the quantiles of the window, for the router's status."""
        p50, p99 = _quantiles(self.times_ms)
        return {
            "scored": self.scored,
            "won": self.won,
            "late": self.late,
            "failed": self.failed,
            "invalid": self.invalid,
            "expired": self.expired,
            "stray": self.stray,
            "p50_ms": p50,
            "p99_ms": p99,
        }


@dataclass(slots=True)
class EndpointTally:
    """What happened at one endpoint since the router started."""

    requests: int = 0
    """Requests accepted."""
    answered: int = 0
    """Requests answered with outputs."""
    refused: int = 0
    """Requests refused before they were accepted."""
    unavailable: int = 0
    """Requests that ended UNAVAILABLE because the postbox did not acknowledge."""
    no_answer: int = 0
    """Requests that ended without an answer by the policy."""
    rules: dict[str, int] = field(default_factory=dict)
    """Decisions by rule."""
    models: dict[str, ModelTally] = field(default_factory=dict)
    """By model."""

    def model(self, name: str) -> ModelTally:
        """Returns the tally of model *name*, made at first use."""
        tally = self.models.get(name)
        if tally is None:
            tally = self.models[name] = ModelTally()
        return tally


def _quantiles(times_ms: deque[float]) -> tuple[float | None, float | None]:
    if len(times_ms) < 2:
        return (times_ms[0], times_ms[0]) if times_ms else (None, None)
    cuts = quantiles(times_ms, n=100, method="inclusive")
    return round(cuts[49], 3), round(cuts[98], 3)

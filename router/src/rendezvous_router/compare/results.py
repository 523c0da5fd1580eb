"""What a comparison says: plain values, ready for text, JSON and HTML."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Agreement",
    "Comparison",
    "Difference",
    "Groups",
    "ModelReport",
    "Moment",
    "Pairing",
    "TruthReport",
    "WorstRow",
    "to_document",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """One model by itself, on the common rows."""

    name: str
    """As the user named it."""
    versions: tuple[str, ...]
    """The versions that counted."""
    origin: str
    """`live`, or `replay`: then there are no latencies."""
    scored: int
    """Common rows that it scored."""
    failed: int
    """Common rows on which it failed."""
    late: int | None
    """Common rows whose score came after the deadline; None: of a replay."""
    latency_ms: dict[str, float] | None
    """Quantiles of milliseconds after the parcel was stored, by name (`p50`); None: of a replay."""
    score: dict[str, float] | None
    """Quantiles of the score, by name; None: the outputs have no number."""
    quality: dict[str, float | None]
    """Measures where the truth is known, by name; None: it cannot be computed."""
    calibration: list[dict[str, float]] = field(default_factory=list)
    """Reliability of probabilities: `predicted`, `came_true`, `rows` of each bin that has rows."""
    histogram: list[float] = field(default_factory=list)
    """Share of the scores in each bin of `Comparison.score_edges`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Which rows were compared."""

    requests: int
    """Requests that both models have."""
    rows: int
    """Their rows."""
    only_first: int
    """Rows that the first alone has."""
    only_second: int
    """Rows that the second alone has."""
    repeats: int
    """Scores of rows that had been scored before: left out."""
    since_unix_us: int | None
    """When the first of the requests was stored, microseconds since 1970-01-01 UTC."""
    until_unix_us: int | None
    """When the last of them was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far both say the same."""

    labels: float | None = None
    """Share of rows with equal labels."""
    labels_low: float | None = None
    """Lower end of its confidence sequence, over requests."""
    labels_high: float | None = None
    """Upper end."""
    kappa: float | None = None
    """Cohen's kappa: agreement beyond that of chance."""
    confusion_labels: list[str] = field(default_factory=list)
    """Labels, most frequent first."""
    confusion: list[list[int]] = field(default_factory=list)
    """How often the first said this (row) and the second that (column)."""
    tolerance: float | None = None
    """Numbers that differ by no more agree."""
    numbers: float | None = None
    """Share of rows with scores within the tolerance."""
    greatest: float | None = None
    """The greatest difference of scores."""
    pearson: float | None = None
    """Pearson's correlation of the scores, of all rows."""
    spearman: float | None = None
    """Spearman's correlation of their ranks, of a sample."""
    spearman_rows: int = 0
    """Rows of the sample: drawn by a hash of the rows' ids, so the same each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A difference as it was known of the requests up to a moment."""

    unix_us: int
    """The moment, microseconds since 1970-01-01 UTC."""
    difference: float
    """Mean difference so far."""
    low: float
    """Lower end of the confidence sequence."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure of both models on the same requests, and the difference: second - first."""

    key: str
    """Name in JSON."""
    title: str
    """Name for people."""
    first: float | None
    """Mean over requests, of the first."""
    second: float | None
    """Mean over requests, of the second."""
    difference: float | None
    """Mean of the paired differences."""
    low: float | None
    """Lower end of the confidence sequence; None: there is none."""
    high: float | None
    """Upper end."""
    requests: int
    """How many requests it is drawn from."""
    method: str
    """How the interval was made, or why there is none."""
    verdict: str
    """In words."""
    over_time: list[Moment] = field(default_factory=list)
    """As it came about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Differences by the values of an input column."""

    column: str
    """The column."""
    alpha: float
    """Of each interval, so that all groups of a measure hold together at the comparison's alpha."""
    note: str
    """What to bear in mind."""
    rows: dict[str, list[Difference]]
    """By value, most frequent first; without `over_time`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthReport:
    """What is known of the truth, and what had to be left out."""

    rows: int
    """Common rows, scored by both, whose truth is known."""
    task: str | None
    """`classes` or `numbers`; None: no truth."""
    positive: str | None
    """The class that scores tell the probability of."""
    notes: list[str]
    """What was left out, and how to have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """A row on which the two disagree, worth labelling."""

    request_id: str
    """The request."""
    row: int
    """Its row."""
    asked_unix_us: int
    """When it was stored."""
    first: dict[str, Any]
    """Score and label of the first."""
    second: dict[str, Any]
    """Score and label of the second."""
    apart: float
    """How far the scores are apart; without scores 1."""
    truth: Any
    """What is known of it; None: nothing, so a label would tell."""
    inputs: dict[str, Any]
    """The inputs; empty: they are no longer in the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same requests."""

    endpoint: str
    """Name of the endpoint."""
    score_column: str | None
    """The compared number."""
    label_column: str | None
    """The compared label."""
    alpha: float
    """Chance, over all looks, that one interval ever misses."""
    first: ModelReport
    """The one measured against."""
    second: ModelReport
    """The other."""
    pairing: Pairing
    """Which rows."""
    agreement: Agreement
    """How far both say the same."""
    differences: list[Difference]
    """Measures with their intervals."""
    groups: Groups | None
    """By a column."""
    truth: TruthReport
    """What is known."""
    worst: list[WorstRow]
    """Rows on which they disagree most, farthest first."""
    rank_error: float
    """By how much, of 1, the share of a quantile may be off; 0: exact."""
    score_edges: list[float]
    """Edges of the bins of both histograms."""
    sample: list[tuple[float, float]]
    """Scores of both on a sample of rows."""
    methods: dict[str, str]
    """What the intervals are, and where that is written."""


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Returns a comparison as JSON takes it: numbers that are none or infinite become null. Without the sample."""
    document = dataclasses.asdict(comparison)
    del document["sample"]
    cleaned: dict[str, Any] = _clean(document)
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value

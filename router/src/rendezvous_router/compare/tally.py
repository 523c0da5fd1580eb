"""Counts pairs of scores as they come, slice by slice, in memory that does not grow with them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rendezvous.statistics import (
    GREATEST_LOG_LOSS,
    Calibration,
    Confusion,
    JointMoments,
    Moments,
    NumberAgreement,
    Quantiles,
    Ranking,
    Smallest,
    absolute_error,
    brier,
    log_loss,
    number_requests,
    squared_error,
)

from rendezvous_router.compare.measures import Kind, Measure, Rows
from rendezvous_router.compare.pairs import Pairs, Scores, Vocabulary

__all__ = ["SPANS", "SideTally", "Tally", "Target"]

_Array = npt.NDArray[Any]
SPANS = 48
"""Into how many spans the time is cut, for the pictures."""
_SAMPLE = 50_000

FAILED = Kind("failed", "share failed", lower_is_better=True, bound=1.0)
LATE = Kind("late", "share late", lower_is_better=True, bound=1.0)
LATENCY = Kind("latency_ms", "latency, ms", lower_is_better=True, bound=None)
SCORE = Kind("score", "score", lower_is_better=None, bound=None)
ACCURACY = Kind("accuracy", "accuracy", lower_is_better=False, bound=1.0)
BRIER = Kind("brier", "Brier score", lower_is_better=True, bound=1.0)
LOG_LOSS = Kind("log_loss", "log-loss", lower_is_better=True, bound=GREATEST_LOG_LOSS)
MAE = Kind("mae", "absolute error (MAE)", lower_is_better=True, bound=None)
MSE = Kind("mse", "squared error (MSE)", lower_is_better=True, bound=None)
BIAS = Kind("bias", "bias (score - truth)", lower_is_better=None, bound=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How truth and scores are brought together."""

    task: str | None
    """`classes` or `numbers`; None: no truth."""
    is_text: bool = False
    """Whether truths are labels."""
    positive: int | None = None
    """Number of the label that scores tell the probability of; None: unknown."""
    has_labels: bool = False
    """Whether the label is an output; else the threshold makes it."""
    threshold: float | None = None
    """Scores from here on mean the positive label."""

    def is_positive(self, truth: _Array) -> _Array | None:
        """Returns whether each truth is of the positive class; None: unknown which that is."""
        if not self.is_text:
            return np.asarray(truth != 0)
        return None if self.positive is None else np.asarray(truth == self.positive)

    def hits(self, scores: Scores, truth: _Array) -> _Array | None:
        """Returns whether each label is the truth, 1 or 0; None: there is no label."""
        is_positive = self.is_positive(truth)
        if self.has_labels and self.is_text:
            # Labels beyond the thousandth have one number, and equal none.
            is_hit = (scores.label == truth) & (truth >= 0)
            is_other = (scores.label != self.positive) & (scores.label != Vocabulary.NONE)
            return np.asarray(is_hit | (truth == Vocabulary.NEGATIVE) & is_other, np.float64)
        if is_positive is None:
            return None
        if self.has_labels:
            if self.positive is None:
                return None
            return np.asarray(((scores.label == self.positive) == is_positive), np.float64)
        if self.threshold is None:
            return None
        return np.asarray(((scores.value >= self.threshold) == is_positive), np.float64)


@dataclass(slots=True)
class SideTally:
    """One model by itself."""

    scored: int = 0
    failed: int = 0
    late: int = 0
    latency: Quantiles = field(default_factory=Quantiles)
    score: Quantiles = field(default_factory=Quantiles)
    ranking: Ranking = field(default_factory=Ranking)
    calibration: Calibration = field(default_factory=Calibration)

    def add(self, scores: Scores) -> None:
        """Adds scores."""
        self.failed += int(scores.is_failed.sum())
        self.scored += len(scores.value) - int(scores.is_failed.sum())
        self.late += int(scores.is_late.sum())
        self.latency.add(scores.after_us / 1000)
        self.score.add(scores.value)


class Tally:
    """Everything that is counted.

    Args:
        groups: how many groups there are; 0: none.
        worst: how many of the worst rows are kept.
        tolerance: numbers that differ by no more agree.
        vocabulary: names of labels.
        first_us: when the first request was stored.
        last_us: when the last one was.
    """

    def __init__(
        self,
        target: Target,
        *,
        groups: int,
        worst: int,
        tolerance: float,
        vocabulary: Vocabulary,
        span_us: tuple[int, int],
        are_live: bool,
        has_scores: bool,
    ) -> None:
        self._target = target
        self._are_live = are_live
        self._has_scores = has_scores
        self._groups = groups
        self._begin, end = span_us
        self._width = max(1, -(-(end - self._begin + 1) // SPANS))
        self._vocabulary = vocabulary
        self.sides = (SideTally(), SideTally())
        self.requests = 0
        self.rows = 0
        self.truths = 0
        self.asked_us: list[int] = []
        self.measures: dict[str, Measure] = {}
        self.labels_differ = Moments()
        self.confusion = Confusion()
        self.numbers = NumberAgreement(tolerance)
        self.joint = JointMoments()
        self.sample = Smallest(_SAMPLE)
        self.worst = Smallest(worst) if worst else None

    @property
    def ends_us(self) -> list[int]:
        """End of each span of time."""
        return [self._begin + (number + 1) * self._width for number in range(SPANS)]

    def add(self, pairs: Pairs, truth: _Array, groups: _Array | None) -> None:
        """Adds pairs.

        Args:
            pairs: rows that both models have.
            truth: of each row; NaN unknown.
            groups: number of each row's group; None: there are none.
        """
        if not pairs.count:
            return
        numbers, count = (None, pairs.count) if pairs.request is None else number_requests(pairs.request)
        self.requests += count
        self.rows += pairs.count
        self.asked_us = [
            min([*self.asked_us[:1], int(pairs.asked_us.min())]),
            max([*self.asked_us[1:], int(pairs.asked_us.max())]),
        ]
        spans = np.clip((pairs.asked_us - self._begin) // self._width, 0, SPANS - 1)
        rows = Rows(numbers, spans, groups)
        for tally, scores in zip(self.sides, (pairs.first, pairs.second), strict=True):
            tally.add(scores)
        self._add_running(rows, pairs)
        both = pairs.both_scored
        if self._has_scores:
            self._add_numbers(rows, pairs, both)
        self._add_labels(rows, pairs, both)
        known = both & ~np.isnan(truth)
        self.truths += int(known.sum())
        if known.any():
            self._add_truth(rows, pairs, truth, known)
        if self.worst is not None:
            self._add_worst(self.worst, pairs, truth, both)

    def _measure(self, kind: Kind) -> Measure:
        if kind.key not in self.measures:
            self.measures[kind.key] = Measure(kind, spans=SPANS, groups=self._groups)
        return self.measures[kind.key]

    def _add_running(self, rows: Rows, pairs: Pairs) -> None:
        first, second = pairs.first, pairs.second
        everything = np.ones(pairs.count, np.bool_)
        self._measure(FAILED).add(rows, first.is_failed, second.is_failed, everything)
        if self._are_live:
            self._measure(LATE).add(rows, first.is_late, second.is_late, everything)
            timed = ~(np.isnan(first.after_us) | np.isnan(second.after_us))
            self._measure(LATENCY).add(rows, first.after_us / 1000, second.after_us / 1000, timed)

    def _add_numbers(self, rows: Rows, pairs: Pairs, both: _Array) -> None:
        x, y = pairs.first.value, pairs.second.value
        finite = both & np.isfinite(x) & np.isfinite(y)
        self._measure(SCORE).add(rows, x, y, finite)
        x, y = x[finite], y[finite]
        self.numbers.add(x, y)
        self.joint.add(x, y)
        self.sample.add(pairs.place[finite], {"first": x, "second": y})

    def _add_labels(self, rows: Rows, pairs: Pairs, both: _Array) -> None:
        first, second = pairs.first.label, pairs.second.label
        labelled = both & (first != Vocabulary.NONE) & (second != Vocabulary.NONE)
        if not labelled.any():
            return
        # Labels beyond the thousandth have one number: never taken for equal.
        differ = ((first != second) | (first < 0)).astype(np.float64)
        per_request, _ = rows.by_request(differ, np.zeros(pairs.count, np.int64), labelled)
        self.labels_differ.add(per_request)
        names = self._vocabulary.names
        coded = [each[labelled].astype(np.int64) for each in (first, second)]
        rest = [each < 0 for each in coded]
        if any(each.any() for each in rest):
            coded = [np.where(is_rest, len(names), each) for is_rest, each in zip(rest, coded, strict=True)]
            names = [*names, Confusion.REST]
        self.confusion.add(names, *coded)

    def _add_truth(self, rows: Rows, pairs: Pairs, truth: _Array, known: _Array) -> None:
        scored = known & np.isfinite(pairs.first.value) & np.isfinite(pairs.second.value)
        if self._target.task == "numbers":
            self._add_errors(rows, pairs, truth, scored)
            return
        hits = [self._target.hits(scores, truth) for scores in (pairs.first, pairs.second)]
        if hits[0] is not None and hits[1] is not None:
            answered = known if self._target.has_labels else scored
            self._measure(ACCURACY).add(rows, hits[0], hits[1], answered)
        is_positive = self._target.is_positive(truth)
        if is_positive is None or not self._has_scores or not scored.any():
            return
        clipped = []
        for tally, scores in zip(self.sides, (pairs.first, pairs.second), strict=True):
            tally.ranking.add(scores.value[scored], is_positive[scored])
            within = np.clip(np.where(scored, scores.value, 0.0), 0.0, 1.0)
            tally.calibration.add(within[scored], is_positive[scored])
            clipped.append(within)
        for kind, loss in ((BRIER, brier), (LOG_LOSS, log_loss)):
            self._add_losses(kind, loss, rows, clipped, is_positive, scored)

    def _add_losses(
        self,
        kind: Kind,
        loss: Callable[[_Array, _Array], _Array],
        rows: Rows,
        values: list[_Array],
        truth: _Array,
        which: _Array,
    ) -> None:
        first, second = (loss(each, truth) for each in values)
        self._measure(kind).add(rows, first, second, which)

    def _add_errors(self, rows: Rows, pairs: Pairs, truth: _Array, scored: _Array) -> None:
        values = [np.where(scored, scores.value, 0.0) for scores in (pairs.first, pairs.second)]
        truth = np.where(scored, truth, 0.0)
        for kind, loss in ((MAE, absolute_error), (MSE, squared_error), (BIAS, np.subtract)):
            self._add_losses(kind, loss, rows, values, truth, scored)

    def _add_worst(self, worst: Smallest, pairs: Pairs, truth: _Array, both: _Array) -> None:
        if self._has_scores:
            apart = np.abs(pairs.first.value - pairs.second.value)
        else:
            apart = (pairs.first.label != pairs.second.label).astype(np.float64)
        # Only the farthest of the batch may stay.
        chosen = np.flatnonzero(both & (apart > 0))
        if len(chosen) > worst.size:
            chosen = chosen[np.argpartition(-apart[chosen], worst.size)[: worst.size]]
        columns = {
            "place": pairs.place,
            "parcel": pairs.parcel,
            "asked_us": pairs.asked_us,
            "truth": truth,
            "first": pairs.first.value,
            "second": pairs.second.value,
            "first_label": pairs.first.label,
            "second_label": pairs.second.label,
            "apart": apart,
        }
        worst.add(-apart[chosen], {key: column[chosen] for key, column in columns.items()})

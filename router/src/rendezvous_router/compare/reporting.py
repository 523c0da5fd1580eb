"""From what was counted to what is told."""

import math
from typing import Any

import numpy as np
from rendezvous.statistics import ASYMPTOTIC, EMPIRICAL_BERNSTEIN, bounded_interval, rank_correlation

from rendezvous_router.compare import tally as kinds
from rendezvous_router.compare.census import Side
from rendezvous_router.compare.measures import Measure
from rendezvous_router.compare.results import Agreement, Difference, Groups, ModelReport
from rendezvous_router.compare.tally import SideTally, Tally

__all__ = ["METHODS", "are_probabilities", "report_agreement", "report_differences", "report_groups", "report_model"]

METHODS = {
    EMPIRICAL_BERNSTEIN: "Ann. Statist. 49(2), 2021, theorem 4; arXiv:1810.08240. Holds for any number of requests.",
    ASYMPTOTIC: "Ann. Statist. 52(6), 2024, theorem 2.2; arXiv:2103.06476. Holds in the "
    "limit of many requests only: not to be relied on where rare values are far larger than the others.",
}
_SCORE_SHARES = {
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.1,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
}
_LATENCY_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_NO_INTERVAL = "none: it is no mean over requests"


def are_probabilities(tally: Tally) -> bool:
    """Returns whether all scores of both lie within [0, 1]."""
    return all(side.score.count and side.score.least >= 0 and side.score.greatest <= 1 for side in tally.sides)


def report_model(side: Side, counted: SideTally, tally: Tally, edges: list[float]) -> ModelReport:
    """Returns what is told of one model."""
    number = tally.sides.index(counted)
    quality: dict[str, float | None] = {}
    for kind in (kinds.ACCURACY, kinds.BRIER, kinds.LOG_LOSS, kinds.MAE, kinds.MSE, kinds.BIAS):
        measure = tally.measures.get(kind.key)
        if measure is not None and not measure.is_empty and _is_told(measure, tally):
            quality[kind.key] = measure.means[number]
    if "mse" in quality and quality["mse"] is not None:
        quality["rmse"] = math.sqrt(quality["mse"])
    bins: list[dict[str, float]] = []
    if counted.ranking.positives + counted.ranking.negatives:
        quality["auc"], quality["auc_error"] = counted.ranking.auc, counted.ranking.auc_error
        if are_probabilities(tally):
            quality["ece"] = counted.calibration.error
            bins = _bins(counted)
    return ModelReport(
        name=side.asked,
        versions=side.versions,
        origin="live" if side.is_live else "replay",
        scored=counted.scored,
        failed=counted.failed,
        late=counted.late if side.is_live else None,
        latency_ms=_quantiles(counted.latency, _LATENCY_SHARES) if side.is_live and counted.latency.count else None,
        score=_quantiles(counted.score, _SCORE_SHARES) if counted.score.count else None,
        quality=quality,
        calibration=bins,
        histogram=[float(each) for each in counted.score.shares_within(np.asarray(edges))] if edges else [],
    )


def _is_told(measure: Measure, tally: Tally) -> bool:
    return measure.kind.key not in ("brier", "log_loss") or are_probabilities(tally)


def _quantiles(sketch: Any, shares: dict[str, float]) -> dict[str, float]:
    return dict(zip(shares, sketch.at(list(shares.values())), strict=True))


def _bins(counted: SideTally) -> list[dict[str, float]]:
    found = counted.calibration
    columns = zip(found.predicted, found.came_true, found.counts, strict=True)
    return [{"predicted": float(p), "came_true": float(t), "rows": int(n)} for p, t, n in columns if n]


def report_agreement(tally: Tally, alpha: float) -> Agreement:
    """Returns how far both say the same."""
    told: dict[str, Any] = {}
    if tally.labels_differ.count:
        interval = bounded_interval(tally.labels_differ, bound=1.0, alpha=alpha, low=0.0)
        order = np.argsort(-tally.confusion.counts.sum(axis=1) - tally.confusion.counts.sum(axis=0), kind="stable")[:12]
        told |= {
            "labels": tally.confusion.agreement,
            "labels_low": 1 - interval.high,
            "labels_high": 1 - interval.low,
            "kappa": tally.confusion.kappa,
            "confusion_labels": [tally.confusion.labels[place] for place in order],
            "confusion": tally.confusion.counts[np.ix_(order, order)].tolist(),
        }
    if tally.numbers.total:
        sample = tally.sample.columns
        told |= {
            "tolerance": tally.numbers.tolerance,
            "numbers": tally.numbers.share,
            "greatest": tally.numbers.greatest,
            "pearson": tally.joint.correlation,
            "spearman": rank_correlation(sample["first"], sample["second"]),
            "spearman_rows": tally.sample.count,
        }
    return Agreement(**told)


def _bound(measure: Measure, tally: Tally) -> float | None:
    if measure.kind.key == "score" and are_probabilities(tally):
        return 1.0
    return measure.kind.bound


def report_differences(tally: Tally, alpha: float) -> list[Difference]:
    """Returns the differences of all measures, with their intervals where there are any."""
    told = [
        measure.difference(alpha, tally.ends_us, bound=_bound(measure, tally))
        for measure in tally.measures.values()
        if not measure.is_empty and _is_told(measure, tally)
    ]
    first, second = tally.sides
    if first.ranking.positives and first.ranking.negatives:
        told.append(_point("auc", "AUC", first.ranking.auc, second.ranking.auc, tally.truths))
        if are_probabilities(tally):
            told.append(
                _point(
                    "ece", "calibration error (ECE)", first.calibration.error, second.calibration.error, tally.truths
                )
            )
    return told


def _point(key: str, title: str, first: float, second: float, rows: int) -> Difference:
    return Difference(
        key=key,
        title=title,
        first=first,
        second=second,
        difference=second - first,
        low=None,
        high=None,
        requests=rows,
        method=_NO_INTERVAL,
        verdict="no interval",
    )


def report_groups(tally: Tally, column: str, names: list[str], alpha: float) -> Groups:
    """Returns the differences by group; alpha is shared among the groups, so that all of a measure hold together."""
    each = alpha / max(1, len(names))
    rows: dict[str, list[Difference]] = {name: [] for name in names}
    for measure in tally.measures.values():
        if _is_told(measure, tally):
            for name, found in zip(names, measure.by_group(each, bound=_bound(measure, tally)), strict=True):
                rows[name] += [found] if found.requests else []
    note = (
        f"{len(names)} groups: each interval is widened (alpha {each:.2g}), so that those of one measure hold together "
        f"at {1 - alpha:.0%}, over all looks. Groups chosen after looking at the results are not covered."
    )
    return Groups(column=column, alpha=each, note=note, rows=rows)

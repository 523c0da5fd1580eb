"""Whether probabilities mean what they say."""

import math

import numpy as np

from rendezvous.statistics._arrays import Flags, Floats, Integers

__all__ = ["Calibration"]


class Calibration:
    """Reliability by bins of equal width: mean probability beside the share that came true.

    Args:
        bins: how many, from 0 to 1.

    Source: A. Niculescu-Mizil, R. Caruana: Predicting good probabilities with supervised learning, ICML 2005;
    M. P. Naeini, G. F. Cooper, M. Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015
    (expected calibration error).
    """

    def __init__(self, bins: int = 20) -> None:
        self._bins = bins
        self.counts = np.zeros(bins, np.int64)
        """Values of each bin."""
        self._sums = np.zeros(bins)
        self._positives = np.zeros(bins)

    def add(self, probabilities: Floats, is_positive: Flags) -> None:
        """Adds probabilities, each of [0, 1], and for each whether its truth is the positive class."""
        places = np.minimum((probabilities * self._bins).astype(np.int64), self._bins - 1)
        self.counts += np.bincount(places, minlength=self._bins)
        self._sums += np.bincount(places, probabilities, self._bins)
        self._positives += np.bincount(places[is_positive], minlength=self._bins)

    def merge(self, other: "Calibration") -> None:
        """Joins another's values; it has as many bins."""
        self.counts += other.counts
        self._sums += other._sums  # noqa: SLF001 - another of this kind
        self._positives += other._positives  # noqa: SLF001 - another of this kind

    @property
    def predicted(self) -> Floats:
        """Mean probability of each bin, shape [bins]; NaN of an empty one."""
        return _ratio(self._sums, self.counts)

    @property
    def came_true(self) -> Floats:
        """Share of positives in each bin, shape [bins]; NaN of an empty one."""
        return _ratio(self._positives, self.counts)

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |predicted - came true|, weighted by the bins' values; NaN of none."""
        total = int(self.counts.sum())
        return float(np.abs(self._sums - self._positives).sum()) / total if total else math.nan


def _ratio(parts: Floats, counts: Integers) -> Floats:
    ratio: Floats = np.divide(parts, counts, out=np.full(len(parts), np.nan), where=counts > 0)
    return ratio

"""How well scores rank: area under the ROC curve, by a histogram of fine bins that tells its own error."""

import math

import numpy as np

from rendezvous.statistics._arrays import Flags, Floats, Integers

__all__ = ["Ranking"]

# Of a float64's bits: sign, exponent and the first 14 of the fraction. A bin is at most 2^-14 of its value wide.
_SHIFT = 38
_DENSE_SPAN = 1 << 22
_KEEP = 1 << 20


class Ranking:
    """Counts of positives and negatives by score, for the area under the ROC curve (AUC).

    Bins are fixed: a score's sign, exponent and first 14 bits of the fraction. So parts merge without loss. Scores that
    fall into one bin are taken for equal; `auc_error` says how much that can matter: about 0.00002 for probabilities,
    nothing where each bin holds one class only.

    Source: J. A. Hanley, B. J. McNeil: The meaning and use of the area under a ROC curve, Radiology 143, 1982.
    """

    def __init__(self) -> None:
        self._keys: list[Integers] = []
        self._positives: list[Integers] = []
        self._negatives: list[Integers] = []

    def add(self, scores: Floats, is_positive: Flags) -> None:
        """Adds scores without NaN, and for each whether its truth is the positive class."""
        if not len(scores):
            return
        keys = _ordered_bits(scores) >> _SHIFT
        first = int(keys.min())
        if int(keys.max()) - first < _DENSE_SPAN:
            places = keys - first
            positives = np.bincount(places[is_positive], minlength=int(places.max()) + 1)
            totals = np.bincount(places)
            found = np.flatnonzero(totals)
            self._append(found + first, positives[found], totals[found] - positives[found])
        else:
            unique, places = np.unique(keys, return_inverse=True)
            positives = np.bincount(places[is_positive], minlength=len(unique))
            self._append(unique, positives, np.bincount(places) - positives)

    def merge(self, other: "Ranking") -> None:
        """Joins another's counts."""
        for part in zip(other._keys, other._positives, other._negatives, strict=True):  # noqa: SLF001 - another of this kind
            self._append(*part)

    def _append(self, keys: Integers, positives: Integers, negatives: Integers) -> None:
        self._keys.append(keys)
        self._positives.append(positives)
        self._negatives.append(negatives)
        if len(self._keys) > 1 and sum(map(len, self._keys)) > _KEEP:
            self._gather()

    def _gather(self) -> tuple[Integers, Integers]:
        if not self._keys:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if len(self._keys) > 1:
            unique, places = np.unique(np.concatenate(self._keys), return_inverse=True)
            positives, negatives = (
                np.bincount(places, np.concatenate(parts), len(unique)).astype(np.int64)
                for parts in (self._positives, self._negatives)
            )
            self._keys, self._positives, self._negatives = [unique], [positives], [negatives]
        return self._positives[0], self._negatives[0]

    @property
    def positives(self) -> int:
        """How many scores have the positive class as their truth."""
        return int(self._gather()[0].sum())

    @property
    def negatives(self) -> int:
        """How many have not."""
        return int(self._gather()[1].sum())

    @property
    def auc(self) -> float:
        """Chance that a positive's score is above a negative's, ties half; NaN where one class is missing."""
        positives, negatives = self._gather()
        pairs = float(positives.sum()) * float(negatives.sum())
        below = np.cumsum(negatives, dtype=np.float64) - negatives / 2
        return float(positives @ below) / pairs if pairs else math.nan

    @property
    def auc_error(self) -> float:
        """By how much `auc` can differ from the exact one: half the share of pairs that share a bin."""
        positives, negatives = self._gather()
        pairs = float(positives.sum()) * float(negatives.sum())
        return float(positives.astype(np.float64) @ negatives) / pairs / 2 if pairs else math.nan


def _ordered_bits(scores: Floats) -> Integers:
    # Adding zero makes -0.0 equal to 0.0; a negative float's bits run backwards.
    bits = (np.ascontiguousarray(scores, dtype=np.float64) + 0.0).view(np.int64)
    return np.where(bits < 0, bits ^ np.int64(0x7FFF_FFFF_FFFF_FFFF), bits)

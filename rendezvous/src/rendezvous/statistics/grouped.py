"""Moments of many groups at once: by time, by a column's value."""

import numpy as np

from rendezvous.statistics._arrays import Floats, Integers
from rendezvous.statistics.moments import Moments

__all__ = ["GroupedMoments"]


class GroupedMoments:
    """Number, sum and sum of squares of each group.

    Plain sums, so for values whose mean is not far larger than their spread: differences, losses, shares.

    Args:
        groups: how many.
    """

    def __init__(self, groups: int) -> None:
        self._counts = np.zeros(groups, np.int64)
        self._sums = np.zeros(groups)
        self._squares = np.zeros(groups)

    def add(self, values: Floats, groups: Integers) -> None:
        """Adds finite values, and for each the number of its group, from 0."""
        size = len(self._counts)
        self._counts += np.bincount(groups, minlength=size)
        self._sums += np.bincount(groups, values, size)
        self._squares += np.bincount(groups, values * values, size)

    def merge(self, other: "GroupedMoments") -> None:
        """Joins another's values; it has as many groups."""
        self._counts += other._counts  # noqa: SLF001 - another of this kind
        self._sums += other._sums  # noqa: SLF001 - another of this kind
        self._squares += other._squares  # noqa: SLF001 - another of this kind

    def each(self) -> list[Moments]:
        """Returns the moments of each group."""
        return [_moments(*part) for part in zip(self._counts, self._sums, self._squares, strict=True)]

    def up_to_each(self) -> list[Moments]:
        """Returns the moments of each group and all before it."""
        parts = (np.cumsum(self._counts), np.cumsum(self._sums), np.cumsum(self._squares))
        return [_moments(*part) for part in zip(*parts, strict=True)]

    def total(self) -> Moments:
        """Returns the moments of all groups together."""
        return _moments(self._counts.sum(), self._sums.sum(), self._squares.sum())


def _moments(count: np.int64, total: np.float64, squares: np.float64) -> Moments:
    if not count:
        return Moments()
    mean = float(total) / int(count)
    return Moments(int(count), mean, max(0.0, float(squares) - int(count) * mean * mean))

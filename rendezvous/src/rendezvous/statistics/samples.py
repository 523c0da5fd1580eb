"""The few rows of many with the smallest keys: a sample, where keys are hashes; the worst, where they are losses."""

import math
from collections.abc import Mapping

import numpy as np

from rendezvous.statistics._arrays import Anything, Floats

__all__ = ["Smallest", "rank_correlation"]


class Smallest:
    """Keeps the rows with the smallest keys, and with them whatever columns they came with.

    With hashes of the rows' ids as keys this is a uniform sample that is the same each time and merges (bottom-k); with
    negative distances it is the list of the farthest.

    Args:
        size: how many rows are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        """How many rows are kept at most."""
        self._keys: Anything | None = None
        self._columns: dict[str, Anything] = {}

    def add(self, keys: Anything, columns: Mapping[str, Anything]) -> None:
        """Adds rows.

        Args:
            keys: shape [rows], without NaN; of the same type each time.
            columns: each of shape [rows]; the same names each time.
        """
        if self._keys is not None and len(self._keys) >= self.size:
            may_stay = np.flatnonzero(keys < self._keys.max())
        else:
            may_stay = np.arange(len(keys))
        if len(may_stay) > self.size:
            may_stay = may_stay[np.argpartition(keys[may_stay], self.size)[: self.size]]
        self._join(keys[may_stay], {name: column[may_stay] for name, column in columns.items()})

    def merge(self, other: "Smallest") -> None:
        """Joins another's rows."""
        if other._keys is not None:  # noqa: SLF001 - another of this kind
            self._join(other._keys, other._columns)  # noqa: SLF001 - another of this kind

    def _join(self, keys: Anything, columns: Mapping[str, Anything]) -> None:
        if self._keys is not None:
            keys = np.concatenate((self._keys, keys))
            columns = {name: np.concatenate((self._columns[name], column)) for name, column in columns.items()}
        order = np.argsort(keys, kind="stable")[: self.size]
        self._keys = keys[order]
        self._columns = {name: column[order] for name, column in columns.items()}

    @property
    def count(self) -> int:
        """How many rows are kept."""
        return 0 if self._keys is None else len(self._keys)

    @property
    def columns(self) -> dict[str, Anything]:
        """The columns of the kept rows, by ascending key; none before the first `add`."""
        return self._columns


def rank_correlation(x: Floats, y: Floats) -> float:
    """Returns Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank.

    Args:
        x: shape [rows], without NaN.
        y: shape [rows], without NaN.

    Returns:
        Of [-1, 1]; NaN with fewer than two rows, or where one side does not vary.
    """
    if len(x) < 2:
        return math.nan
    of_x, of_y = _ranks(x), _ranks(y)
    if of_x.min() == of_x.max() or of_y.min() == of_y.max():
        return math.nan
    return float(np.corrcoef(of_x, of_y)[0, 1])


def _ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]

"""Quantiles by a KLL sketch (Apache DataSketches): bounded memory, mergeable, with a known error of rank."""

from collections.abc import Sequence

import numpy as np
from datasketches import kll_doubles_sketch

from rendezvous.statistics._arrays import Floats

__all__ = ["Quantiles"]

_K = 4096


class Quantiles:
    """Quantiles of any number of values.

    The value told for a share is the exact one for a share that differs by at most `rank_error`, with 99 % confidence.
    With few values (some thousand) it is exact. The sketch draws lots, so the last digits differ from run to run.

    Source: Z. Karnin, K. Lang, E. Liberty: Optimal quantile approximation in streams, FOCS 2016.
    """

    def __init__(self) -> None:
        self._sketch = kll_doubles_sketch(_K)

    def add(self, values: Floats) -> None:
        """Adds values; NaN is left out."""
        self._sketch.update(np.ascontiguousarray(values, dtype=np.float64))

    def merge(self, other: "Quantiles") -> None:
        """Joins another's values."""
        self._sketch.merge(other._sketch)  # noqa: SLF001 - another of this kind

    @property
    def count(self) -> int:
        """How many values."""
        return int(self._sketch.n)

    @property
    def rank_error(self) -> float:
        """By how much, of 1, a share may be off; 0 as long as all values are kept."""
        return float(self._sketch.normalized_rank_error(False)) if self._sketch.is_estimation_mode() else 0.0

    @property
    def least(self) -> float:
        """The least value, exact; NaN of none."""
        return float(self._sketch.get_min_value()) if self.count else float("nan")

    @property
    def greatest(self) -> float:
        """The greatest value, exact; NaN of none."""
        return float(self._sketch.get_max_value()) if self.count else float("nan")

    def at(self, shares: Sequence[float]) -> list[float]:
        """Returns the values below which these shares, each of [0, 1], lie; NaN of none."""
        if not self.count:
            return [float("nan")] * len(shares)
        return [float(value) for value in self._sketch.get_quantiles(list(shares), True)]

    def shares_within(self, edges: Floats) -> Floats:
        """Returns the share of values in each bin; edges ascend strictly, values outside are in none.

        Args:
            edges: shape [bins + 1].

        Returns:
            Shape [bins]; zeros of none.
        """
        if not self.count:
            return np.zeros(len(edges) - 1)
        below = np.asarray(self._sketch.get_cdf(list(edges), True))[:-1]
        # The first edge belongs to the first bin.
        below[0] = float(self._sketch.get_rank(float(edges[0]), False))
        return np.diff(below)

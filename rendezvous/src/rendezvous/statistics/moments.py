"""Number, mean and spread of values, of one column or of two."""

import math
from dataclasses import dataclass

import numpy as np

from rendezvous.statistics._arrays import Floats, sum_products

__all__ = ["JointMoments", "Moments"]


@dataclass(slots=True)
class Moments:
    """Number, mean and squared deviations of values; merged after Chan, Golub and LeVeque (1979), so without loss."""

    count: int = 0
    """How many values."""
    mean: float = 0.0
    """Their mean; 0 of none."""
    deviations: float = 0.0
    """Sum of squared deviations from the mean."""

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """Returns the moments of finite values, any number."""
        if not len(values):
            return cls()
        mean = float(values.mean())
        centred = values - mean
        return cls(len(values), mean, sum_products(centred, centred))

    def add(self, values: Floats) -> None:
        """Adds finite values."""
        self.merge(Moments.of(values))

    def merge(self, other: "Moments") -> None:
        """Joins another's values."""
        count = self.count + other.count
        if not count:
            return
        apart = other.mean - self.mean
        self.deviations += other.deviations + apart * apart * self.count * other.count / count
        self.mean += apart * other.count / count
        self.count = count

    @property
    def squares(self) -> float:
        """Sum of squares."""
        return self.deviations + self.count * self.mean * self.mean

    @property
    def variance(self) -> float:
        """Mean squared deviation (divided by the number); NaN of none."""
        return self.deviations / self.count if self.count else math.nan


@dataclass(slots=True)
class JointMoments:
    """Moments of pairs, for Pearson's correlation."""

    count: int = 0
    """How many pairs."""
    mean_x: float = 0.0
    """Mean of the first."""
    mean_y: float = 0.0
    """Mean of the second."""
    xx: float = 0.0
    """Squared deviations of the first."""
    yy: float = 0.0
    """Squared deviations of the second."""
    xy: float = 0.0
    """Products of the deviations."""

    def add(self, x: Floats, y: Floats) -> None:
        """Adds pairs of finite values, as many of x as of y."""
        if not len(x):
            return
        mean_x, mean_y = float(x.mean()), float(y.mean())
        of_x, of_y = x - mean_x, y - mean_y
        sums = (sum_products(of_x, of_x), sum_products(of_y, of_y), sum_products(of_x, of_y))
        self.merge(JointMoments(len(x), mean_x, mean_y, *sums))

    def merge(self, other: "JointMoments") -> None:
        """Joins another's pairs."""
        count = self.count + other.count
        if not count:
            return
        share = self.count * other.count / count
        by_x, by_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        self.xx += other.xx + by_x * by_x * share
        self.yy += other.yy + by_y * by_y * share
        self.xy += other.xy + by_x * by_y * share
        self.mean_x += by_x * other.count / count
        self.mean_y += by_y * other.count / count
        self.count = count

    @property
    def correlation(self) -> float:
        """Pearson's correlation; NaN with fewer than two pairs, or where one side does not vary."""
        spread = math.sqrt(self.xx) * math.sqrt(self.yy)
        return float(np.clip(self.xy / spread, -1.0, 1.0)) if self.count > 1 and spread > 0 else math.nan

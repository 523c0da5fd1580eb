"""How far two models agree: on labels, on numbers."""

import math
from dataclasses import dataclass, field

import numpy as np

from rendezvous.statistics._arrays import Floats, Integers

__all__ = ["Confusion", "NumberAgreement"]


class Confusion:
    """Counts of pairs of labels.

    Args:
        most_labels: how many labels are told apart; the rest share one more, so that memory is bounded.
    """

    REST = "(other labels)"
    """What labels beyond the limit are called."""

    def __init__(self, most_labels: int = 200) -> None:
        self._most = most_labels
        self._numbers: dict[str, int] = {}
        self._counts = np.zeros((0, 0), np.int64)

    def add(self, names: list[str], first: Integers, second: Integers) -> None:
        """Adds pairs of labels.

        Args:
            names: the labels of this batch.
            first: number, in names, of the first label of each row.
            second: number, in names, of the second.
        """
        mine = np.asarray([self._number(name) for name in names], np.int64)
        self._grow()
        if len(first):
            size = len(self._counts)
            flat = np.bincount(mine[first] * size + mine[second], minlength=size * size)
            self._counts += flat.reshape(size, size)

    def merge(self, other: "Confusion") -> None:
        """Joins another's counts."""
        mine = np.asarray([self._number(name) for name in other.labels], np.int64)
        self._grow()
        if len(mine):
            np.add.at(self._counts, np.ix_(mine, mine), other._counts)  # noqa: SLF001 - another of this kind

    def _number(self, name: str) -> int:
        known = self._numbers.get(name)
        if known is not None:
            return known
        if len(self._numbers) >= self._most:
            return self._numbers.setdefault(self.REST, len(self._numbers))
        return self._numbers.setdefault(name, len(self._numbers))

    def _grow(self) -> None:
        more = len(self._numbers) - len(self._counts)
        if more:
            self._counts = np.pad(self._counts, ((0, more), (0, more)))

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the counts."""
        return list(self._numbers)

    @property
    def counts(self) -> Integers:
        """Shape [labels, labels]: how often the first was this and the second that."""
        return self._counts

    @property
    def total(self) -> int:
        """How many pairs."""
        return int(self._counts.sum())

    @property
    def agreement(self) -> float:
        """Share of pairs of equal labels; NaN of none."""
        return float(np.trace(self._counts)) / self.total if self.total else math.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond that of chance, 1 for all; NaN where chance alone agrees always, and of none.

        Source: J. Cohen: A coefficient of agreement for nominal scales, 1960.
        """
        if not self.total:
            return math.nan
        by_first, by_second = self._counts.sum(axis=1) / self.total, self._counts.sum(axis=0) / self.total
        by_chance = float(by_first @ by_second)
        return (self.agreement - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


@dataclass(slots=True)
class NumberAgreement:
    """Share of pairs of numbers that differ by no more than a tolerance."""

    tolerance: float = 0.01
    """The greatest difference that counts as agreement."""
    within: int = 0
    """Pairs that agree."""
    total: int = 0
    """All pairs."""
    greatest: float = field(default=0.0)
    """The greatest difference."""

    def add(self, x: Floats, y: Floats) -> None:
        """Adds pairs without NaN, as many of x as of y."""
        if len(x):
            apart = np.abs(x - y)
            self.within += int((apart <= self.tolerance).sum())
            self.total += len(x)
            self.greatest = max(self.greatest, float(apart.max()))

    def merge(self, other: "NumberAgreement") -> None:
        """Joins another's pairs; its tolerance is the same."""
        self.within += other.within
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)

    @property
    def share(self) -> float:
        """Share of pairs that agree; NaN of none."""
        return self.within / self.total if self.total else math.nan

"""Measures of both models on the same requests, and their differences with confidence sequences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rendezvous.statistics import (
    MINIMUM_REQUESTS,
    GroupedMoments,
    Interval,
    Moments,
    bounded_interval,
    request_means,
    unbounded_interval,
)

from rendezvous_router.compare.results import Difference, Moment

__all__ = ["Kind", "Measure", "Rows"]

_Array = npt.NDArray[Any]
TOO_FEW = "too few requests"
ALL_EQUAL = "no interval: all differences are equal"


@dataclass(frozen=True, slots=True)
class Rows:
    """To which request, span of time and group the rows of a batch belong."""

    requests: _Array | None
    """Number of each row's request; None: each row is a request."""
    spans: _Array
    """Number of its span of time."""
    groups: _Array | None
    """Number of its group, -1 for none; None: there are no groups."""

    def by_request(self, values: _Array, keys: _Array, which: _Array) -> tuple[_Array, _Array]:
        """Returns one value and one key for each request that has rows among *which*.

        A request's rows under several keys count as one value of each.
        """
        if not which.all():
            values, keys = values[which], keys[which]
        if self.requests is None or not len(values):
            return values, keys
        width = int(keys.max()) + 1
        joined, places = np.unique(self.requests[which] * width + keys, return_inverse=True)
        return request_means(values, places), joined % width


@dataclass(frozen=True, slots=True)
class Kind:
    """What is measured."""

    key: str
    """Name in JSON."""
    title: str
    """Name for people."""
    lower_is_better: bool | None
    """None: neither is better."""
    bound: float | None
    """No difference is larger; None: unknown."""


class Measure:
    """Collects one measure.

    Args:
        kind: what is measured.
        spans: into how many spans the time is cut.
        groups: how many groups there are.
    """

    def __init__(self, kind: Kind, *, spans: int, groups: int = 0) -> None:
        self.kind = kind
        self._differences = GroupedMoments(spans)
        self._firsts = Moments()
        self._by_group = GroupedMoments(groups) if groups else None
        self._firsts_by_group = GroupedMoments(groups) if groups else None

    def add(self, rows: Rows, first: _Array, second: _Array, which: _Array) -> None:
        """Adds values of both models.

        Args:
            rows: where the rows belong.
            first: values of the first, shape [rows].
            second: values of the second, shape [rows].
            which: rows that count, shape [rows] of flags; both values are finite there.
        """
        apart = second.astype(np.float64) - first
        self._differences.add(*rows.by_request(apart, rows.spans, which))
        of_first, _ = rows.by_request(first.astype(np.float64), np.zeros(len(which), np.int64), which)
        self._firsts.add(of_first)
        if self._by_group is not None and self._firsts_by_group is not None and rows.groups is not None:
            grouped = which & (rows.groups >= 0)
            self._by_group.add(*rows.by_request(apart, rows.groups, grouped))
            self._firsts_by_group.add(*rows.by_request(first.astype(np.float64), rows.groups, grouped))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._firsts.count

    @property
    def means(self) -> tuple[float, float]:
        """Means over requests, of the first and of the second."""
        return self._firsts.mean, self._firsts.mean + self._differences.total().mean

    def difference(self, alpha: float, ends_us: Sequence[int], *, bound: float | None) -> Difference:
        """Returns the difference of all requests, and how it came about.

        Args:
            alpha: of the interval.
            ends_us: end of each span of time.
            bound: no difference is larger; None: unknown.
        """
        over_time = []
        for end, moments in zip(ends_us, self._differences.up_to_each(), strict=True):
            interval = _interval(moments, bound, alpha)
            if interval is not None and interval.requests:
                over_time.append(
                    Moment(unix_us=end, difference=interval.estimate, low=interval.low, high=interval.high)
                )
        return self._told(self._differences.total(), self._firsts, bound, alpha, over_time)

    def by_group(self, alpha: float, *, bound: float | None) -> list[Difference]:
        """Returns the difference within each group."""
        if self._by_group is None or self._firsts_by_group is None:
            return []
        pairs = zip(self._by_group.each(), self._firsts_by_group.each(), strict=True)
        return [self._told(apart, firsts, bound, alpha, []) for apart, firsts in pairs]

    def _told(
        self, apart: Moments, firsts: Moments, bound: float | None, alpha: float, over_time: list[Moment]
    ) -> Difference:
        interval = _interval(apart, bound, alpha) if apart.count else None
        reason = TOO_FEW if apart.count < MINIMUM_REQUESTS else ALL_EQUAL
        return Difference(
            key=self.kind.key,
            title=self.kind.title,
            first=firsts.mean if apart.count else None,
            second=firsts.mean + apart.mean if apart.count else None,
            difference=apart.mean if apart.count else None,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            requests=apart.count,
            method=interval.method if interval else reason,
            verdict=_verdict(interval, self.kind.lower_is_better, reason),
            over_time=over_time,
        )


def _interval(moments: Moments, bound: float | None, alpha: float) -> Interval | None:
    if bound is not None:
        return bounded_interval(moments, bound=bound, alpha=alpha)
    return unbounded_interval(moments, alpha=alpha)


def _verdict(interval: Interval | None, lower_is_better: bool | None, reason: str) -> str:
    if interval is None or math.isnan(interval.estimate):
        return reason
    if not interval.excludes_zero:
        return "no difference shown"
    is_lower = interval.high < 0
    if lower_is_better is None:
        return "second is lower" if is_lower else "second is higher"
    return "second is better" if is_lower == lower_is_better else "first is better"

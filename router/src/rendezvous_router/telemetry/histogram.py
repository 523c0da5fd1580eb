"""Histograms that cost an append to record: values are counted into buckets later, many at a time."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ExponentialLayout:
    """Buckets whose bounds are powers of `2 ** (2 ** -scale)`, as OpenTelemetry's exponential histograms have them.

    Values outside of the range fall into the first and the last bucket.
    """

    scale: int
    """Fineness: 3 means eight buckets to a doubling."""
    first: int
    """Index of the first bucket; bucket i covers (base ** i, base ** (i + 1)]."""
    buckets: int
    """Number of buckets."""
    group: int
    """How many of them make up one of Prometheus' buckets; divides `buckets`."""

    @property
    def bounds(self) -> list[float]:
        """Upper bounds of Prometheus' buckets, all finite; the last holds everything above, too."""
        base = 2.0 ** (2.0**-self.scale)
        return [base ** (self.first + end) for end in range(self.group, self.buckets + 1, self.group)]

    def index(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns the bucket of each value."""
        positive = np.maximum(values, np.finfo(np.float64).tiny)
        exact = np.ceil(np.round(np.log2(positive) * 2.0**self.scale, 9)) - 1 - self.first
        clipped: npt.NDArray[np.int64] = np.clip(exact, 0, self.buckets - 1).astype(np.int64)
        return clipped


@dataclass(frozen=True, slots=True)
class ExplicitLayout:
    """Buckets with the given upper bounds, and one above the last."""

    edges: tuple[float, ...]
    """Upper bounds, ascending; a value that equals one belongs below it."""

    @property
    def buckets(self) -> int:
        """Number of buckets."""
        return len(self.edges) + 1

    @property
    def bounds(self) -> list[float]:
        """Upper bounds of all buckets but the last."""
        return list(self.edges)

    def index(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns the bucket of each value."""
        return np.searchsorted(np.asarray(self.edges), values, side="left").astype(np.int64)


Layout = ExponentialLayout | ExplicitLayout

SECONDS = ExponentialLayout(scale=3, first=-14 * 8, buckets=20 * 8, group=4)
"""61 microseconds to 64 seconds: eight buckets to a doubling, two for Prometheus."""
COUNTS = ExponentialLayout(scale=0, first=-1, buckets=18, group=1)
"""1, 2, 4, ... 131,072."""
BYTES = ExponentialLayout(scale=0, first=6, buckets=18, group=1)
"""128 bytes to 16 MiB."""
SHARES = ExplicitLayout(tuple(tenth / 10 for tenth in range(1, 11)))
"""Tenths, and more than the whole."""


@dataclass(slots=True)
class Histogram:
    """A distribution since the process started. To record, append to `fresh`; not thread-safe.

    What is appended waits until `fold`, which the router calls several times a second.
    """

    layout: Layout
    """Its buckets."""
    fresh: list[float] = field(default_factory=list)
    """Values not yet counted."""
    sum: float = 0.0
    """Sum of the counted values."""
    least: float = math.inf
    """The smallest counted value."""
    greatest: float = -math.inf
    """The greatest counted value."""
    counts: npt.NDArray[np.int64] = field(init=False)
    """Number of values, bucket by bucket."""

    def __post_init__(self) -> None:
        """Starts with nothing counted."""
        self.counts = np.zeros(self.layout.buckets, dtype=np.int64)

    def fold(self) -> None:
        """Counts what was recorded since the last time."""
        if not self.fresh:
            return
        fresh, self.fresh = self.fresh, []
        values = np.asarray(fresh, dtype=np.float64)
        self.counts += np.bincount(self.layout.index(values), minlength=self.layout.buckets)
        self.sum += float(values.sum())
        self.least = min(self.least, float(values.min()))
        self.greatest = max(self.greatest, float(values.max()))

    def cumulative(self) -> list[tuple[str, float]]:
        """Returns Prometheus' buckets: (upper bound as text, number of values up to it), `+Inf` at the end."""
        layout = self.layout
        counts = self.counts
        if isinstance(layout, ExponentialLayout):
            ends = counts.reshape(-1, layout.group).sum(axis=1).cumsum()
            below = ends[:-1]  # the last bucket holds what is above it, too
            bounds = layout.bounds[:-1]
        else:
            below, bounds = counts.cumsum()[:-1], layout.bounds
        finite = [(f"{bound:.6g}", float(count)) for bound, count in zip(bounds, below, strict=True)]
        return [*finite, ("+Inf", float(counts.sum()))]

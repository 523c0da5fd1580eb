"""One timer for many mailboxes: wakes each at its moment."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

_SLACK_S = 0.0002
"""Wakes closer together than this are served by one turn of the loop."""


class Clock(Generic[T]):
    """Calls *on_wake(item, now)* when an item's moment has come.

    Moments are never withdrawn: an item that needs none any more ignores its wake, which is cheaper than
    searching the heap. Not thread-safe; belongs to one event loop. Time is
    `time.monotonic`: uvloop's own clock counts whole milliseconds only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_wake: Callable[[T, float], None]) -> None:
        self._loop = loop
        self._on_wake = on_wake
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def wake_at(self, moment_s: float, item: T) -> None:
        """Plans a wake of *item* at *moment_s* of the monotonic clock, in seconds."""
        heapq.heappush(self._heap, (moment_s, next(self._order), item))
        if moment_s < self._timer_at:
            self._arm(moment_s)

    def _arm(self, moment_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment_s
        self._timer = self._loop.call_later(max(0.0, moment_s - monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = monotonic()
        heap = self._heap
        while heap and heap[0][0] <= now + _SLACK_S:
            moment_s, _, item = heapq.heappop(heap)
            self._on_wake(item, max(now, moment_s))
        if heap and heap[0][0] < self._timer_at:
            self._arm(heap[0][0])

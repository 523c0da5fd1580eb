"""One timer for many mailboxes: wakes each at its moment."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from time import monotonic

TICK_S = 0.001
"""Fineness of the event loop's timers: uvloop rounds delays to whole milliseconds, down as well as up.

So a wake may come this much early, and no timer is set for a shorter rest: it would fire at once, and spin.
"""


Sleeper = Callable[[float], None]
"""What is woken: called with the time, or with its moment where that is a little later."""


class Wake:
    """A planned wake. `cancel` lets go of the sleeper at once, though the moment stays in the clock until it passes."""

    __slots__ = ("sleeper",)

    def __init__(self, sleeper: Sleeper) -> None:
        self.sleeper: Sleeper | None = sleeper

    def cancel(self) -> None:
        """Withdraws the wake."""
        self.sleeper = None


class Clock:
    """Calls each sleeper when its moment has come.

    Not thread-safe; belongs to one event loop. Time is `time.monotonic`: uvloop's own clock counts whole milliseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Wake]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._heap)

    def wake_at(self, moment_s: float, sleeper: Sleeper) -> Wake:
        """Plans a wake of *sleeper* at *moment_s* of the monotonic clock, in seconds."""
        wake = Wake(sleeper)
        heapq.heappush(self._heap, (moment_s, next(self._order), wake))
        if moment_s < self._timer_at:
            self._arm(moment_s)
        return wake

    def _arm(self, moment_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment_s
        self._timer = self._loop.call_later(max(TICK_S, moment_s - monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = monotonic()
        heap = self._heap
        while heap and (heap[0][0] <= now + TICK_S or heap[0][2].sleeper is None):
            moment_s, _, wake = heapq.heappop(heap)
            if wake.sleeper is not None:
                wake.sleeper(max(now, moment_s))
        if heap and heap[0][0] < self._timer_at:
            self._arm(heap[0][0])

"""Keeps a replay below a rate."""

import asyncio
import time

__all__ = ["Pace"]

_PAUSE_S = 0.1


class Pace:
    """So many rows a second, evenly: what one call takes is paid before the next.

    Args:
        rate: rows a second; None: no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def rows_at_once(self, most: int) -> int:
        """Returns the rows of one call: *most*, or with a rate as many as are due in a tenth of a second."""
        return most if self._rate is None else max(1, min(most, int(self._rate * _PAUSE_S)))

    async def wait(self, rows: int) -> None:
        """Returns when *rows* more may be asked for."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now - _PAUSE_S)
        if self._due > now:
            await asyncio.sleep(self._due - now)
        self._due += rows / self._rate

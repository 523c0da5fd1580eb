"""Keeps a flood of like events from flooding the log."""

from dataclasses import dataclass


@dataclass(slots=True)
class Throttle:
    """Lets a number of events through in each second, and counts the others."""

    per_second: int = 10
    """How many."""
    _second: int = -1
    _passed: int = 0
    _held: int = 0

    def admit(self, now: float) -> int | None:
        """Returns None for an event to be held back, else the number held back since the last one let through.

        Args:
            now: seconds of the monotonic clock.
        """
        second = int(now)
        if second != self._second:
            self._second, self._passed = second, 0
        if self._passed >= self.per_second:
            self._held += 1
            return None
        self._passed += 1
        held, self._held = self._held, 0
        return held

"""Token buckets in whole numbers: exact, whatever the steps in which time passes. No clock of their own.

Source: ADR 0018.
"""

from typing import Final

_WHOLE: Final = 10**12
"""Units in one token. A thousandth of a token a second, the slowest rate, is one unit a nanosecond."""
_UNITS_PER_RATE: Final = 1000


class TokenBucket:
    """Holds up to *burst* tokens, gains *rate* of them a second, and begins full.

    In any interval of t seconds at most `burst + rate x t` tokens are taken, exactly. The present, wherever it is asked
    for, is in nanoseconds of one clock that does not go back. Not thread-safe.

    Args:
        rate: tokens a second; rounded to thousandths, at least one of them.
        burst: tokens it holds at most, at least 1.
    """

    __slots__ = ("_at_ns", "_gain", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._gain = max(1, round(rate * _UNITS_PER_RATE))
        self._level = burst * _WHOLE
        self._at_ns = 0

    def wait_ns(self, tokens: int, now_ns: int) -> int:
        """Returns after how many nanoseconds *tokens* can be taken if nobody else takes any; 0: now.

        Args:
            tokens: how many; at most `burst`, more are never there.
            now_ns: the present.
        """
        self._fill(now_ns)
        missing = tokens * _WHOLE - self._level
        return -(-missing // self._gain) if missing > 0 else 0

    def take(self, tokens: int, now_ns: int) -> None:
        """Takes *tokens*, of which `wait_ns` has said that they are there."""
        self._fill(now_ns)
        self._level -= tokens * _WHOLE

    def left(self, now_ns: int) -> int:
        """Returns how many whole tokens are there."""
        self._fill(now_ns)
        return self._level // _WHOLE

    def adopt_level(self, other: "TokenBucket", now_ns: int) -> None:
        """Takes over what is left in *other*, as far as there is room: changing a limit fills no bucket."""
        other._fill(now_ns)  # noqa: SLF001 # one of its kind
        self._level, self._at_ns = min(self._level, other._level), other._at_ns  # noqa: SLF001

    def _fill(self, now_ns: int) -> None:
        if now_ns > self._at_ns:
            self._level = min(self.burst * _WHOLE, self._level + (now_ns - self._at_ns) * self._gain)
            self._at_ns = now_ns

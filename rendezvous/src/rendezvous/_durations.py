"""Durations as people write them: `30ms`, `1.5s`, `2m`."""

import re

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Read a duration.

    Args:
        text: A non-negative decimal number followed at once by a unit: `us`, `ms`, `s`, `m`, `h` or `d`.

    Returns:
        Seconds.

    Raises:
        ValueError: The text is not of that form.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit of us, ms, s, m, h, d: '100ms'")
    number, unit = match.groups()
    # Division keeps short decimals exact: 30 / 1000 is 0.03, 30 * 1e-3 need not be.
    return float(number) / 1e3 if unit == "ms" else float(number) * _UNITS_S[unit]

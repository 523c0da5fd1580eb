"""Compares outputs."""

import math
from collections.abc import Sequence
from typing import Any

from rendezvous_router.conformance.case import Failed
from rendezvous_router.model_test.candidate import Scored

__all__ = ["expect_same", "is_near", "shown"]


def is_near(value: Any, expected: Any, tolerance: float, *, relative: bool = False) -> bool:
    """Returns whether two values are equal, numbers within a tolerance; NaN is NaN, missing is missing."""
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        pairs = zip(value, expected, strict=False)
        return len(value) == len(expected) and all(is_near(a, b, tolerance, relative=relative) for a, b in pairs)
    if isinstance(value, bool) or isinstance(expected, bool) or not _are_numbers(value, expected):
        return bool(value == expected)
    if math.isnan(value) or math.isnan(expected):
        return math.isnan(value) and math.isnan(expected)
    size = max(abs(value), abs(expected), 1e-300) if relative else 1.0
    return bool(value == expected or abs(value - expected) <= tolerance * size)


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)


def expect_same(scored: Scored, rows: Sequence[int], reference: Scored, tolerance: float, what: str) -> None:
    """Checks that rows got what they got before.

    Args:
        scored: outputs of rows in some order.
        rows: the number in *reference* of each of them.
        reference: outputs of all rows.
        tolerance: by how much numbers may differ, of their size.
        what: how these rows were asked, for the message.

    Raises:
        Failed: one did not.
    """
    if scored.keys() != reference.keys():
        raise Failed(f"{what}: other columns, {', '.join(scored)} instead of {', '.join(reference)}")
    for name, values in scored.items():
        for value, row in zip(values, rows, strict=True):
            expected = reference[name][row]
            if not is_near(value, expected, tolerance, relative=True):
                raise Failed(f"{what}: row {row} has {name} {shown(value)}; alone it has {shown(expected)}")


def shown(value: object) -> str:
    """Returns a value, short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

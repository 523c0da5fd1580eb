"""What is asked of a comparison."""

import math
from dataclasses import dataclass

__all__ = ["CompareError", "Question"]


class CompareError(Exception):
    """The archive cannot answer what was asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which models are compared, and how."""

    first: str
    """NAME or NAME:VERSION; the one that others are measured against."""
    second: str
    """NAME or NAME:VERSION."""
    by: str | None = None
    """Input column by whose values everything is told apart as well; None: none."""
    worst: int = 20
    """How many of the rows on which they disagree most are listed."""
    output: str | None = None
    """Output column that is compared; None: the first floating-point number, and as label the first text or flag."""
    positive: str | None = None
    """Label that scores tell the probability of; None: the one whose rows have the highest scores."""
    threshold: float | None = None
    """Scores from here on mean the positive label; None: the label is an output, or, without such, 0.5."""
    tolerance: float = 0.01
    """Numbers that differ by no more agree."""
    alpha: float = 0.05
    """Chance, over all looks, that an interval ever misses."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            CompareError: one is out of its range.
        """
        if not 0 < self.alpha < 1:
            raise CompareError(f"alpha lies between 0 and 1, not {self.alpha}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise CompareError(f"the threshold is a finite number, not {self.threshold}")
        if not 0 <= self.worst <= 10_000:
            raise CompareError(f"at most 10000 of the worst rows can be listed, not {self.worst}")
        if not 0 <= self.tolerance < math.inf:
            raise CompareError(f"the tolerance is a finite number of at least 0, not {self.tolerance}")

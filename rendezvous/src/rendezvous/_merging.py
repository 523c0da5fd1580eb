"""Rules that compute values from several scores: mean, median, weighted."""

import math
import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import mul
from typing import Any

from rendezvous._structs import ColumnSpec
from rendezvous._voting import is_vote, poll, quorum_failed
from rendezvous.answers import Merged
from rendezvous.rule import Case, Failed, Outcome

# Combines the values of one row, as many as weights, none missing or NaN.
Combine = Callable[[Sequence[Any], Sequence[int]], Any]


# Below these no weighted sum of a row can leave the range of floats, whatever the number of models.
_MODERATE = 1e200
_MODERATE_WEIGHT = 2**53


def exact_weights(weights: Sequence[float]) -> list[int]:
    """Integers in the same proportion as the decimals; so 0.1 + 0.2 ties with 0.3."""
    fractions = [Fraction(repr(float(weight))) for weight in weights]
    common = math.lcm(*(fraction.denominator for fraction in fractions))
    return [int(fraction * common) for fraction in fractions]


def mean_floats(values: Sequence[float], weights: Sequence[int]) -> float:
    """Weighted mean, sum(w * x) / sum(w); always within the range of the values; opposite infinities give NaN."""
    low, high = min(values), max(values)
    if math.isinf(low) or math.isinf(high):
        return low + high
    total = sum(weights)
    try:
        mean = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
    except OverflowError:
        mean = math.inf
    if not math.isfinite(mean):
        # The sum left the range of floats; the mean does not.
        mean = sum(value * (weight / total) for value, weight in zip(values, weights, strict=True))
    # Rounding may leave the range by a unit in the last place.
    return min(max(mean, low), high)


def mean_integers(values: Sequence[int], weights: Sequence[int]) -> int:
    """Weighted mean, exact, then rounded to the nearest integer, half to even."""
    return round(Fraction(sum(value * weight for value, weight in zip(values, weights, strict=True)), sum(weights)))


def mean_columns(columns: Sequence[Sequence[Any]], weights: Sequence[int]) -> list[float] | None:
    """`mean_floats` of every row at once, several times as fast; None: the values do not allow it.

    For columns of moderate floats without missing values, NaN and infinities, which is nearly always.
    """
    if max(weights) > _MODERATE_WEIGHT or any(None in column for column in columns):
        return None
    if not all(min(column) > -_MODERATE and max(column) < _MODERATE and sum(column) < math.inf for column in columns):
        return None
    total = sum(weights)
    return [min(max(sum(map(mul, row, weights)) / total, min(row)), max(row)) for row in zip(*columns, strict=True)]


def median_floats(values: Sequence[float], _weights: Sequence[int]) -> float:
    """Middle value; of an even number, the mean of the middle two."""
    middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
    return middle[0] if len(middle) == 1 else mean_floats(middle, (1, 1))


def median_integers(values: Sequence[int], _weights: Sequence[int]) -> int:
    """Middle value; of an even number, the mean of the middle two, rounded half to even."""
    return round(Fraction(statistics.median_low(values) + statistics.median_high(values), 2))


def plurality(values: Sequence[Any], weights: Sequence[int]) -> Any:
    """Value with most weight; ties go to the one that comes first."""
    votes: dict[Any, int] = {}
    for value, weight in zip(values, weights, strict=True):
        votes[value] = votes.get(value, 0) + weight
    return max(votes, key=votes.__getitem__)


class Merge:
    """Combines each row of the numeric columns; the other columns go by weighted plurality, value by value.

    Resolves when every model of `of` has answered or failed, or at the step's end with `quorum` valid
    answers. Missing and NaN abstain; where every model abstains, the row is as the first of `of` that
    answered has it.
    """

    __slots__ = ("_columns", "_is_mean", "_name", "_of", "_quorum", "_weights")

    def __init__(
        self,
        of: Sequence[str],
        *,
        name: str,
        columns: Sequence[tuple[ColumnSpec, Combine]],
        quorum: int,
        weights: Sequence[int],
    ) -> None:
        self._of = tuple(of)
        self._name = name
        self._columns = tuple((column.name, bool(column.shape), combine) for column, combine in columns)
        self._is_mean = name == "mean"
        self._quorum = quorum
        self._weights = tuple(weights)

    def judge(self, case: Case, closed: bool) -> Outcome | Failed | None:
        """See `Rule.judge`."""
        answered, outstanding = poll(case, self._of, closed)
        if len(answered) + len(outstanding) < self._quorum:
            return quorum_failed(self._quorum, len(answered), len(self._of))
        if outstanding:
            return None
        models = tuple(self._of[i] for i in answered)
        weights = [self._weights[i] for i in answered]
        equal = [1] * len(models)
        merged = {
            name: merge_column(
                [case.column(model, name) for model in models],
                equal if self._is_mean and combine is not plurality else weights,
                combine,
                shaped=shaped,
            )
            for name, shaped, combine in self._columns
        }
        return Outcome(Merged(merged), models, f"{self._name} of {len(models)} of {len(self._of)} models")


def merge_column(
    columns: Sequence[Sequence[Any]], weights: Sequence[int], combine: Combine, *, shaped: bool
) -> list[Any]:
    """Combine one column of several models, row by row; `shaped` values elementwise."""
    if len(columns) == 1:
        return list(columns[0])
    if combine is mean_floats and not shaped:
        means = mean_columns(columns, weights)
        if means is not None:
            return means
    if combine is plurality and not shaped:
        # Values repeat; each combination is counted once.
        known: dict[Any, Any] = {}
        return [
            known[row] if row in known else known.setdefault(row, _merge_scalar(row, weights, combine))
            for row in zip(*columns, strict=True)
        ]
    merge = _merge_shaped if shaped else _merge_scalar
    return [merge(row, weights, combine) for row in zip(*columns, strict=True)]


def _merge_scalar(row: Sequence[Any], weights: Sequence[int], combine: Combine) -> Any:
    if all(is_vote(value) for value in row):
        return combine(row, weights)
    voting = [(value, weight) for value, weight in zip(row, weights, strict=True) if is_vote(value)]
    return combine(*zip(*voting, strict=True)) if voting else row[0]


def _merge_shaped(row: Sequence[Any], weights: Sequence[int], combine: Combine) -> Any:
    present = [(value, weight) for value, weight in zip(row, weights, strict=True) if value is not None]
    if not present:
        return None
    values, kept = zip(*present, strict=True)
    if isinstance(values[0], list | tuple):
        return [_merge_shaped(element, kept, combine) for element in zip(*values, strict=True)]
    return _merge_scalar(values, kept, combine)

"""The canary: hand-written rules. A rule engine is a model too, and this one needs no training.

Ten rules are on the applicant, two on what the enricher adds.
Each applicant starts with BASE points; each rule that holds adds its points. More points, less risk.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rendezvous_sdk import model

from examples.credit.card import LABELS, OUTPUTS, TASK
from examples.credit.features import Columns
from examples.credit.outcome import to_answer

BASE = 15
"""Points of an applicant to whom no rule applies."""
_DOUBLING = 15


@dataclass(frozen=True, slots=True)
class Rule:
    """Points for those applicants whose value in one column passes a test."""

    column: str
    points: int
    holds: Callable[[Any], bool]
    because: str


def _is(*labels: str) -> Callable[[Any], bool]:
    return frozenset(labels).__contains__


RULES: Sequence[Rule] = (
    Rule("checking_account", -15, _is("... < 0 DM"), "overdrawn"),
    Rule("checking_account", 15, _is("no checking account"), "owes nothing on a current account here"),
    Rule("savings", 10, _is("500 <= ... < 1000 DM", "... >= 1000 DM"), "has a cushion"),
    Rule("duration_months", 10, lambda months: months <= 12, "pays within a year"),
    Rule("duration_months", -10, lambda months: months > 36, "pays for more than three years"),
    Rule("credit_amount", -10, lambda marks: marks > 8000, "a large sum"),
    Rule("employed_since", -5, _is("unemployed", "... < 1 year"), "no job, or a new one"),
    Rule("other_installment_plans", -10, _is("bank", "stores"), "pays off something else too"),
    Rule("property", -5, _is("unknown / no property"), "nothing to fall back on"),
    Rule("age_years", -5, lambda years: years < 25, "short history"),
)


HISTORY_RULES: Sequence[Rule] = (
    Rule("worst_delay_days", -10, lambda days: days > 30, "was more than a month late with an earlier loan"),
    Rule("past_loans", 5, lambda loans: loans > 1, "has paid off loans before"),
)
"""Rules on the columns of the enricher `history`; they count where there are such columns."""


def count_points(applicants: Columns) -> list[int]:
    """Returns the points of each applicant."""
    points = [BASE] * len(applicants["duration_months"])
    rules = (*RULES, *(rule for rule in HISTORY_RULES if _has(applicants, rule.column)))
    for rule in rules:
        for row, value in enumerate(applicants[rule.column]):
            if not _is_missing(value) and rule.holds(value):
                points[row] += rule.points
    return points


def _has(applicants: Columns, column: str) -> bool:
    try:
        applicants[column]
    except KeyError:
        return False
    return True


def _is_missing(value: Any) -> bool:
    # An array has NaN for a missing number, pandas a value that is not even equal to itself.
    return value is None or value is pd.NA or value != value  # noqa: PLR0124 - as said


def to_probability(points: int) -> float:
    """Returns the probability of a default: even odds at 0 points, halved odds for every 15 points more."""
    return 1.0 / (1.0 + math.pow(2.0, points / _DOUBLING))


@model(name="scorecard", outputs=OUTPUTS, task=TASK, labels=LABELS, description="Twelve hand-written rules.")
def score(applicants: Columns) -> dict[str, Any]:
    """Scores applicants by the rules."""
    return to_answer([to_probability(points) for points in count_points(applicants)])

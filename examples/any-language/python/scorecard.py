"""The scorecard in Python, on the SDK: `RENDEZVOUS_ENDPOINT=scorecard python scorecard.py`."""

from typing import Any

from rendezvous_proto import v1
from rendezvous_sdk import Model, serve

LABELS = ("good", "bad")
SIGNATURE = v1.Signature(
    inputs=[
        v1.ColumnSpec(name="checking_account", type=v1.DataType.DATA_TYPE_STRING, allow_missing=True),
        v1.ColumnSpec(name="duration_months", type=v1.DataType.DATA_TYPE_INT64),
        v1.ColumnSpec(name="credit_amount", type=v1.DataType.DATA_TYPE_FP64, allow_missing=True),
        v1.ColumnSpec(name="age_years", type=v1.DataType.DATA_TYPE_INT64),
    ],
    outputs=[
        v1.ColumnSpec(name="default_probability", type=v1.DataType.DATA_TYPE_FP64),
        v1.ColumnSpec(name="label", type=v1.DataType.DATA_TYPE_STRING),
    ],
)
_ACCOUNT_POINTS = {None: -5, "... < 0 DM": -15, "no checking account": 15}


def count_points(applicant: dict[str, Any]) -> float:
    """Returns the points of one applicant; None stands for a missing value."""
    months, amount = applicant["duration_months"], applicant["credit_amount"]
    points = 15 + _ACCOUNT_POINTS.get(applicant["checking_account"], 0)
    if months <= 12:
        points += 10
    elif months > 36:
        points -= 10
    if applicant["age_years"] < 25:
        points -= 5
    return points - (8.0 if amount is None else amount / 1000.0)


def score(applicants: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores applicants by the table in the README of this example."""
    probabilities = [to_probability(count_points(applicant)) for applicant in applicants]
    return {
        "default_probability": probabilities,
        "label": [LABELS[probability >= 0.5] for probability in probabilities],
    }


def to_probability(points: float) -> float:
    """Returns the probability of a default: even odds at 0 points, halved odds for every 15 points more."""
    try:
        return 1.0 / (1.0 + 2.0 ** (points / 15.0))
    except OverflowError:  # Python's own; elsewhere the power is infinite, and the quotient 0
        return 0.0


MODEL = Model(
    name="python",
    score=score,
    takes="records",
    info=v1.ModelInfo(
        signature=SIGNATURE,
        task="classification",
        labels=LABELS,
        description="A scorecard of hand-written rules.",
    ),
)

if __name__ == "__main__":
    serve(MODEL)

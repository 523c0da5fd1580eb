"""A logistic regression by its coefficients: the Python one of three that must agree.

The file that LOGIT_COEFFICIENTS names has one coefficient a line, fields separated by tabs: `intercept`, value;
`number`, column, coefficient, mean (which stands for a missing value); `category`, column, label, coefficient
(a missing or unknown label adds nothing).
"""

import csv
import math
import os
from pathlib import Path
from typing import Any

from rendezvous_proto.frames import FrameView
from rendezvous_sdk import model, serve

ROWS = list(csv.reader(Path(os.environ["LOGIT_COEFFICIENTS"]).read_text().splitlines(), delimiter="\t"))


@model(outputs={"default_probability": "FP64"}, takes="frame")
def logit(applicants: FrameView) -> dict[str, Any]:
    """Scores applicants."""
    log_odds = [0.0] * applicants.rows
    for kind, *fields in ROWS:
        if kind == "intercept":
            log_odds = [sum_ + float(fields[0]) for sum_ in log_odds]
            continue
        values = applicants.column(fields[0])
        if kind == "number":
            coefficient, mean = float(fields[1]), float(fields[2])
            log_odds = [
                sum_ + coefficient * (mean if value is None else value)
                for sum_, value in zip(log_odds, values, strict=True)
            ]
        else:
            label, coefficient = fields[1], float(fields[2])
            log_odds = [sum_ + coefficient * (value == label) for sum_, value in zip(log_odds, values, strict=True)]
    return {"default_probability": [1.0 / (1.0 + math.exp(-sum_)) for sum_ in log_odds]}


if __name__ == "__main__":
    serve(logit, endpoint=os.environ["RENDEZVOUS_ENDPOINT"])

"""What the models of this endpoint say of themselves, beyond what the SDK finds out on its own."""

import json

from rendezvous_proto import v1

from examples.credit.estimators import REPORT

OUTPUTS = {"default_probability": "FP64", "label": "STRING"}
LABELS = ("good", "bad")
TASK = "classification"


def describe_training(name: str) -> v1.Training:
    """Returns what the model *name* was trained on and how well it did; empty before the first training."""
    if not REPORT.exists():
        return v1.Training()
    report = json.loads(REPORT.read_text())
    return v1.Training(
        data_reference="examples/credit/data/german_credit.csv, 700 of 1,000 applicants",
        data_sha256=report["data_sha256"],
        trained_unix_us=int(report["trained_unix_s"] * 1e6),
        metrics={"auc": report["auc"][name]},
    )

"""A challenger: logistic regression on the same features."""

from typing import Any

from rendezvous_sdk import model

from examples.credit.card import LABELS, OUTPUTS, TASK, describe_training
from examples.credit.estimators import load_estimator
from examples.credit.features import Columns, encode
from examples.credit.outcome import to_answer


@model(name="logit", outputs=OUTPUTS, task=TASK, labels=LABELS, training=describe_training("logit"))
class Logit:
    """Scores applicants with the trained estimator."""

    def setup(self) -> None:
        """Loads the estimator, once, when the model starts."""
        self._estimator = load_estimator("logit")

    def score(self, applicants: Columns) -> dict[str, Any]:
        """Returns the probability of a default and the label, for each applicant."""
        return to_answer(self._estimator.predict_proba(encode(applicants))[:, 1])

"""What every model of this endpoint answers: the probability of a default, and a label."""

from typing import Any

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.5
"""From this probability of default on, the label is `bad`."""


def to_answer(default_probability: npt.ArrayLike) -> dict[str, Any]:
    """Returns the output columns for one probability a row."""
    probability = np.asarray(default_probability, dtype=np.float64)
    label = np.where(probability >= THRESHOLD, "bad", "good").astype(object)
    return {"default_probability": probability, "label": label}

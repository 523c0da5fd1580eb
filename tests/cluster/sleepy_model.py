"""A model that is limited by time, not by the processors of the machine."""

import time
from typing import Any

import numpy as np
from rendezvous_sdk import model

ROW_S = 0.02
"""What a row takes."""


@model(takes="columns")
def sleepy(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes twenty milliseconds for each row."""
    total = np.asarray(columns["a"] + columns["b"], "<f8")
    time.sleep(ROW_S * len(total))
    return {"total": total, "label": ["sleepy"] * len(total)}

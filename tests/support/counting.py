"""A model that writes down every row that it scores, so that a test can tell what was scored how often."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rendezvous_sdk import model

NOTES = "COUNTING_NOTES"
"""Variable of the environment: the file into which the rows go."""


@model(takes="columns")
def counting(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds two columns, and takes 150 ms."""
    with Path(os.environ[NOTES]).open("a") as notes:
        notes.writelines(f"{tag}\n" for tag in columns["tag"])
    time.sleep(0.15)
    total = np.asarray(columns["a"] + columns["b"], "<f8")
    return {"total": total, "label": [f"{time.monotonic_ns()}"] * len(total)}


def scored(notes: Path) -> Counter[str]:
    """Returns how often each row was scored, by its tag."""
    return Counter(notes.read_text().split()) if notes.exists() else Counter()

"""Models whose speed, failures and votes go by the row: one load shows every way in which scores arrive."""

import time
from typing import Any

import numpy as np
from rendezvous_sdk import model

LABELS = ("low", "high", "unsure")


def _score(columns: dict[str, Any], factor: float, shift: int) -> dict[str, Any]:
    risk = np.asarray(columns["a"] * factor + 0.1, "<f4")
    votes = (np.asarray(columns["b"]) + shift * (np.asarray(columns["b"]) % 3)) % 3
    return {
        "risk": risk,
        "points": np.asarray(columns["b"] * (shift + 1), "<i8"),
        "label": [LABELS[vote] for vote in votes],
    }


@model(takes="columns")
def boosted(columns: dict[str, Any]) -> dict[str, Any]:
    """Slow on some rows, fails on some, answers what its signature does not allow on others."""
    number = int(columns["b"][0])
    time.sleep((number % 5) * 0.008)
    if number % 11 == 0:
        raise RuntimeError("no such luck")
    scored = _score(columns, 0.5, 0)
    if number % 13 == 0:
        scored["risk"] = np.full(len(scored["risk"]), np.nan, "<f4")
    return scored


@model(takes="columns")
def logit(columns: dict[str, Any]) -> dict[str, Any]:
    """Quick and sound."""
    return _score(columns, 0.3, 1)


@model(takes="columns")
def tree(columns: dict[str, Any]) -> dict[str, Any]:
    """Neither quick nor slow; hangs for longer than any deadline now and then."""
    number = int(columns["b"][0])
    time.sleep(0.4 if number % 41 == 40 else 0.004)
    return _score(columns, 0.7, 2)


@model(takes="columns")
def scorecard(columns: dict[str, Any]) -> dict[str, Any]:
    """The frozen baseline."""
    return _score(columns, 0.1, 0)

"""Well-behaved models for the tests."""

import os
import time
from typing import Any

import numpy as np
from rendezvous_sdk import model


def _score(columns: dict[str, Any], label: str) -> dict[str, Any]:
    total = columns["a"] + columns["b"]
    return {"total": np.asarray(total, "<f8"), "label": [label] * len(total)}


@model(takes="columns")
def first(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds two columns."""
    return _score(columns, "first")


@model(takes="columns")
def second(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds two columns."""
    return _score(columns, "second")


@model(takes="columns")
def third(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds two columns."""
    return _score(columns, "third")


@model(takes="columns")
def crashing(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes its process with it."""
    os._exit(3)


@model(takes="columns")
def raising(columns: dict[str, Any]) -> dict[str, Any]:
    """Raises."""
    raise RuntimeError("no such luck")


@model(takes="columns")
def slow(columns: dict[str, Any]) -> dict[str, Any]:
    """Answers after the step that asks for it has ended."""
    time.sleep(0.6)
    return _score(columns, "first")


@model(takes="columns")
def steady(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes ten milliseconds for a parcel."""
    time.sleep(0.01)
    return _score(columns, "steady")

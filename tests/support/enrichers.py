"""Enrichers for the tests, and models that answer what they see of them."""

import time
from typing import Any

import numpy as np
import pandas as pd
from rendezvous_sdk import model

LOANS = ("loans", "worst")


def _history(columns: dict[str, Any]) -> dict[str, Any]:
    loans = [int(a) * 10 for a in columns["a"]]
    return {"loans": loans, "worst": pd.Series([None if each % 20 else each for each in loans], dtype="Int64")}


@model(outputs=LOANS)
def history(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds ten times `a`, and again where it is even."""
    return _history(columns)


@model(outputs=LOANS)
def hanging(columns: dict[str, Any]) -> dict[str, Any]:
    """Hangs on a table with the tag `hang`."""
    if "hang" in list(columns["tag"]):
        time.sleep(30)
    return _history(columns)


@model(outputs=LOANS)
def picky(columns: dict[str, Any]) -> dict[str, Any]:
    """Fails on the tag `bad`."""
    if "bad" in list(columns["tag"]):
        raise RuntimeError("no such applicant")
    return _history(columns)


@model(outputs=LOANS)
def dawdling(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes 300 ms for whatever it is asked."""
    time.sleep(0.3)
    return _history(columns)


@model(outputs={"rating": "STRING"})
def rating(columns: dict[str, Any]) -> dict[str, Any]:
    """Adds a text made of a column that an earlier stage added; knows no other columns than it needs."""
    assert sorted(columns) == ["loans", "tag"], sorted(columns)
    pairs = zip(columns["tag"], columns["loans"], strict=True)
    return {"rating": [f"{tag}/{loans}" for tag, loans in pairs]}


def _seen(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    labels = [" ".join(f"{key}={row[key]}" for key in sorted(row) if key not in {"a", "b"}) for row in rows]
    return {"total": np.asarray([row["a"] for row in rows], "<f8"), "label": [f"{name}: {text}" for text in labels]}


@model(takes="records")
def first(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers the columns that it sees as text."""
    return _seen(rows, "first")


@model(takes="records")
def second(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers the columns that it sees as text."""
    return _seen(rows, "second")

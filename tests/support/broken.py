"""Candidates that are sound, or broken in one way each, as checks before publishing must find."""

import itertools
import os
import time
from typing import Any

import numpy as np
from rendezvous_sdk import model

_kept: list[bytes] = []
_calls = itertools.count()


def _sound(columns: dict[str, Any]) -> dict[str, Any]:
    """More amount, more risk; longer names, more risk; nothing else counts."""
    amounts = np.asarray(columns["amount"], "<f8")
    lengths = np.array([len(name or "") for name in columns["name"]], "<f8")
    risk = 1 / (1 + np.exp(-(np.nan_to_num(amounts, posinf=1e3, neginf=-1e3) / 100 + lengths / 1000)))
    return {"risk": risk, "label": ["high" if each > 0.6 else "low" for each in risk]}


@model(takes="columns")
def sound(columns: dict[str, Any]) -> dict[str, Any]:
    """Nothing is wrong with it."""
    return _sound(columns)


@model(takes="columns")
def leaning(columns: dict[str, Any]) -> dict[str, Any]:
    """Measures each row by the mean of its table."""
    scored = _sound(columns)
    return scored | {"risk": scored["risk"] - scored["risk"].mean()}


@model(takes="columns")
def counting(columns: dict[str, Any]) -> dict[str, Any]:
    """The later a row, and a call, the more risk."""
    scored = _sound(columns)
    return scored | {"risk": scored["risk"] + np.arange(len(scored["risk"])) * 0.01 + next(_calls) * 1e-6}


@model(takes="columns")
def turning(columns: dict[str, Any]) -> dict[str, Any]:
    """From an amount of 50 on, more amount is less risk."""
    amounts = np.asarray(columns["amount"], "<f8")
    return _sound(columns | {"amount": np.where(amounts > 50, 100 - amounts, amounts)})


@model(takes="columns")
def crashing(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes its process with it when a name is empty; hangs when an amount is not finite."""
    if any(name == "" for name in columns["name"]):
        os._exit(3)
    if not np.isfinite(np.asarray(columns["amount"], "<f8")).all():
        time.sleep(60)
    return _sound(columns)


@model(takes="columns")
def slow(columns: dict[str, Any]) -> dict[str, Any]:
    """Takes 40 ms."""
    time.sleep(0.04)
    return _sound(columns)


@model(takes="columns")
def leaking(columns: dict[str, Any]) -> dict[str, Any]:
    """Keeps 50 KB of every call."""
    _kept.append(bytes(bytearray(50_000)))
    return _sound(columns)

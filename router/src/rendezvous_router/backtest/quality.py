"""How good the answers were where the truth is known: those given, and those that would have been."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rendezvous.answers import Columns
from rendezvous.spec import ColumnSpec
from rendezvous.statistics import Moments, Ranking, brier, log_loss, squared_error
from rendezvous.statistics.losses import absolute_error

__all__ = ["OutputQuality", "Positive", "Quality"]

_FLOATING = ("FP16", "FP32", "FP64")


@dataclass(frozen=True, slots=True)
class Positive:
    """Which truth makes a row a positive one for the outputs that are probabilities."""

    output: str
    """The output that the truth is about."""
    value: str
    """Its value, as text."""


class OutputQuality:
    """One output of one side; constant memory."""

    def __init__(self) -> None:
        self._matches = Moments()
        self._absolute, self._squared = Moments(), Moments()
        self._brier, self._log_loss = Moments(), Moments()
        self._ranking = Ranking()
        self._is_binary = True

    def add_labels(self, is_right: Sequence[bool]) -> None:
        """Adds rows of an output that is right or wrong."""
        self._matches.add(np.asarray(is_right, np.float64))

    def add_numbers(self, values: Sequence[float], truths: Sequence[float]) -> None:
        """Adds rows of an output that is nearer or farther, or a probability of truths that are 0 and 1."""
        found, known = np.asarray(values, np.float64), np.asarray(truths, np.float64)
        usable = np.isfinite(found) & np.isfinite(known)
        found, known = found[usable], known[usable]
        if not len(found):
            return
        self._absolute.add(absolute_error(found, known))
        self._squared.add(squared_error(found, known))
        self._is_binary = self._is_binary and _are_probabilities(found, known)
        if self._is_binary:
            is_positive = known == 1.0
            self._ranking.add(found, is_positive)
            self._brier.add(brier(found, is_positive))
            self._log_loss.add(log_loss(found, is_positive))

    def measures(self) -> dict[str, float | int]:
        """Returns what was measured, by name; `rows` first."""
        if self._matches.count:
            return {"rows": self._matches.count, "accuracy": self._matches.mean}
        rows = self._absolute.count
        if not rows:
            return {}
        if self._is_binary:
            found = {"auc": self._ranking.auc, "brier": self._brier.mean, "log_loss": self._log_loss.mean}
        else:
            found = {"mae": self._absolute.mean, "rmse": math.sqrt(self._squared.mean)}
        return {"rows": rows} | {name: value for name, value in found.items() if not math.isnan(value)}


def _are_probabilities(values: NDArray[np.float64], truths: NDArray[np.float64]) -> bool:
    return bool(np.isin(truths, (0.0, 1.0)).all() and values.min() >= 0.0 and values.max() <= 1.0)


class Quality:
    """All outputs of one side.

    Args:
        outputs: the signature's outputs.
        positive: what makes a row a positive one; None: truths about the output itself, 0 or 1.
    """

    def __init__(self, outputs: Sequence[ColumnSpec], positive: Positive | None) -> None:
        self._floats = [each.name for each in outputs if each.type in _FLOATING and not each.shape]
        self._labels = [each.name for each in outputs if each.type not in (*_FLOATING, "BYTES") and not each.shape]
        self._positive = positive
        self._kept: dict[str, tuple[list[Any], list[Any]]] = {name: ([], []) for name in (*self._floats, *self._labels)}
        self._outputs = {name: OutputQuality() for name in self._kept}
        self._waiting = 0

    def add(self, columns: Columns, truths: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Adds one request's answer.

        Args:
            columns: the answer.
            truths: rows of which the truth is known, and the truth about each output.
        """
        for name, (values, known) in self._kept.items():
            for row, truth in truths:
                true = self._truth(name, truth)
                if true is not None:
                    value = columns.column(name)[row]
                    if value is not None:
                        values.append(value)
                        known.append(true)
        self._waiting += 1
        if self._waiting >= 10_000:
            self._fold()

    def _truth(self, name: str, truth: Mapping[str, Any]) -> Any:
        true = truth.get(name)
        if true is None and name in self._floats and self._positive is not None:
            about = truth.get(self._positive.output)
            return None if about is None else float(str(about) == self._positive.value)
        return true

    def _fold(self) -> None:
        for name, (values, known) in self._kept.items():
            if name in self._floats:
                self._outputs[name].add_numbers(values, known)
            else:
                self._outputs[name].add_labels([value == true for value, true in zip(values, known, strict=True)])
        self._kept = {name: ([], []) for name in self._kept}
        self._waiting = 0

    def measures(self) -> dict[str, dict[str, float | int]]:
        """Returns what was measured, by output; outputs without a known truth are left out."""
        self._fold()
        found = {name: each.measures() for name, each in self._outputs.items()}
        return {name: each for name, each in found.items() if each}

"""Puts the value of an outcome into the form that its output column asks for. Source: docs/protocol.md, P125.

How a value was sent does not matter, only what it says: text that reads as a number is one where a number is asked
for, because files of outcomes have nothing but text; a number is text where the labels are text.
"""

import math
import re

from rendezvous_proto.errors import shown
from rendezvous_proto.frames import type_name
from rendezvous_proto.v1 import ColumnSpec, DataType, Outcome

__all__ = ["choose_column", "fit_column", "fit_number", "number_of", "value_problem"]

_TEXTS = (DataType.DATA_TYPE_STRING, DataType.DATA_TYPE_BYTES)
_FLOATS = (DataType.DATA_TYPE_FP16, DataType.DATA_TYPE_FP32, DataType.DATA_TYPE_FP64)
_BOOL = DataType.DATA_TYPE_BOOL
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = {"true": 1.0, "false": 0.0}
_NUMBER_CHARACTERS = 64
_EXACT = 2.0**53
"""From here on not every whole number is a double."""


def value_problem(outcome: Outcome, most_characters: int) -> str:
    """Returns what is wrong with the value whatever it is about; empty: nothing."""
    which = outcome.WhichOneof("value")
    if which is None:
        return "value: there is none: give a number, a text or a flag"
    if which == "number" and not math.isfinite(outcome.number):
        return f"value {outcome.number}: must be finite; leave out what is not known"
    if which == "text" and not 0 < len(outcome.text) <= most_characters:
        return f"value of {len(outcome.text)} characters: must have 1 to {most_characters}"
    return ""


def number_of(outcome: Outcome) -> float | None:
    """Returns the value as a number, a flag as 1 or 0; None: it is no number."""
    which = outcome.WhichOneof("value")
    if which == "number":
        return outcome.number
    if which == "flag":
        return float(outcome.flag)
    text = outcome.text
    if len(text) > _NUMBER_CHARACTERS or _NUMBER.fullmatch(text) is None:
        return _FLAGS.get(text.lower())
    number = float(text)
    return number if math.isfinite(number) else None


def fit_column(outcome: Outcome, column: ColumnSpec) -> str:
    """Puts the value into the column's form, in place; returns what is wrong, empty: nothing.

    Args:
        outcome: has a sound value.
        column: what the value is about.
    """
    if column.shape:
        return ""  # a class out of a vector of probabilities, say: nobody can tell here
    if column.type in _TEXTS:
        if outcome.WhichOneof("value") != "text":
            outcome.text = _text_of(outcome)
        return ""
    number = number_of(outcome)
    name = f"output {shown(column.name)!r} is {type_name(column.type)}"
    if number is None:
        return f"value {shown(outcome.text)!r}: {name}: send a number"
    if not _takes(column, number):
        wanted = "true, false, 1 or 0" if column.type == _BOOL else "a whole number"
        return f"value {number:.17g}: {name}: send {wanted}"
    if column.type == _BOOL:
        outcome.flag = bool(number)
    else:
        outcome.number = number
    return ""


def fit_number(outcome: Outcome) -> str:
    """Makes the value a number, in place; returns what is wrong, empty: nothing."""
    number = number_of(outcome)
    if number is None:
        return f"value {shown(outcome.text)!r}: a reward is a number"
    outcome.number = number
    return ""


def choose_column(outcome: Outcome, columns: list[ColumnSpec]) -> ColumnSpec | None:
    """Returns the output that a truth without a name is about; None: there is none that fits.

    The first output of numbers for what reads as a number, else the first of text, else the first with a shape. So with
    the outputs `default_probability` and `label` 1 is a truth of the first and `bad` one of the second.
    """
    number = number_of(outcome)
    scalars = [column for column in columns if not column.shape]
    fitting = [] if number is None else [c for c in scalars if c.type not in _TEXTS and _takes(c, number)]
    if outcome.WhichOneof("value") == "flag":
        fitting.sort(key=lambda column: column.type != _BOOL)  # stable: otherwise in their order
    texts = [column for column in scalars if column.type in _TEXTS]
    return next(iter((*fitting, *texts, *(column for column in columns if column.shape))), None)


def _takes(column: ColumnSpec, number: float) -> bool:
    if column.type == _BOOL:
        return number in (0.0, 1.0)
    return column.type in _FLOATS or number.is_integer()


def _text_of(outcome: Outcome) -> str:
    """Returns a label as text: `true`, `3` for 3.0, `0.5`."""
    if outcome.WhichOneof("value") == "flag":
        return "true" if outcome.flag else "false"
    number = outcome.number
    return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)

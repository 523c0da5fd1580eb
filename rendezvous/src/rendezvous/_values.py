"""Values of an output column as a specification writes them: checked, then made what a frame takes."""

import base64
import binascii
import math
import re
from typing import Any

from rendezvous._structs import ColumnSpec

_FLOAT_MAX = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": math.inf}


def value_problem(column: ColumnSpec, value: object) -> str | None:
    """Say why a value does not fit a column, or None if it does.

    A shaped column takes nested lists; BYTES takes base64 text; None stands for missing.
    """
    if value is None:
        return None if column.missing else f"missing is not allowed in column {column.name!r}"
    return _shaped_problem(column, value, column.shape)


def _shaped_problem(column: ColumnSpec, value: object, shape: list[int]) -> str | None:
    if not shape:
        return _scalar_problem(column, value)
    if not isinstance(value, list | tuple) or len(value) != shape[0]:
        return f"expected a list of {shape[0]} for shape {column.shape}, found {value!r}"
    return next((p for item in value if (p := _shaped_problem(column, item, shape[1:]))), None)


def _scalar_problem(column: ColumnSpec, value: object) -> str | None:
    mismatch = f"{value!r} is not {column.type}, the type of column {column.name!r}"
    if column.type == "BOOL":
        return None if isinstance(value, bool) else mismatch
    if column.type == "STRING":
        return None if isinstance(value, str) else mismatch
    if column.type == "BYTES":
        return None if isinstance(value, bytes) or _is_base64(value) else f"{mismatch}; write base64"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return mismatch
    return _integer_problem(column, value, mismatch) if column.is_integer else _float_problem(column, value)


def _integer_problem(column: ColumnSpec, value: float, mismatch: str) -> str | None:
    if not isinstance(value, int):
        return mismatch
    low, high = integer_range(column.type)
    return None if low <= value <= high else f"{value} is outside of {column.type}, {low} to {high}"


def _float_problem(column: ColumnSpec, value: float) -> str | None:
    if not math.isfinite(value):
        return None if column.nan else f"{value} is not allowed in column {column.name!r}"
    return None if abs(value) <= _FLOAT_MAX[column.type] else f"{value} is outside of {column.type}"


def _is_base64(value: object) -> bool:
    try:
        base64.b64decode(str(value), validate=True)
    except binascii.Error:
        return False
    return isinstance(value, str)


def integer_range(type_name: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type (`INT8` ... `UINT64`)."""
    bits = int(re.sub(r"\D", "", type_name))
    return (0, 2**bits - 1) if type_name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def frame_value(column: ColumnSpec, value: Any) -> Any:
    """A valid value as a frame takes it: floats for FP columns, bytes for BYTES."""
    if isinstance(value, list | tuple):
        return [frame_value(column, item) for item in value]
    if value is None:
        return None
    if column.type == "BYTES" and isinstance(value, str):
        return base64.b64decode(value)
    return float(value) if column.is_floating else value

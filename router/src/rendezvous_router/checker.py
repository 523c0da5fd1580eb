"""Frames against a signature, fast where all is well and precise where it is not.

A frame that matches is accepted in one pass over its columns. Whatever the fast pass does not accept goes to the
codec's full checks, which name the column and say what is wrong, or find that it is merely unusual (other order of
columns, missing values) and put it into the signature's order.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rendezvous_proto.frames import check_frame, column_width
from rendezvous_proto.signatures import check_signature, conform_frame
from rendezvous_proto.v1 import ColumnSpec, DataType, Frame

_FLOATS = {DataType.DATA_TYPE_FP16: "<f2", DataType.DATA_TYPE_FP32: "<f4", DataType.DATA_TYPE_FP64: "<f8"}
_FP64 = struct.Struct("<d")


@dataclass(slots=True, frozen=True)
class AcceptedFrame:
    """A frame that matches the signature, its columns in the signature's order."""

    frame: Frame
    """The frame."""
    parts: list[Any] | None
    """Each column's values (bytes, or a repeated field), for a quick join; None where a row is missing."""


class FrameChecker:
    """Accepts frames that match *columns*.

    Args:
        columns: the signature; empty accepts any well-formed frame.
        what: what the frame is, for messages (`inputs of endpoint credit`).
    """

    def __init__(self, columns: Sequence[ColumnSpec], *, what: str) -> None:
        self._columns = list(columns)
        self._what = what
        self._plan = [_plan_column(column) for column in columns]

    def accept(self, frame: Frame) -> AcceptedFrame:
        """Returns *frame* in the signature's order.

        Raises:
            InvalidFrameError: the frame contradicts itself; names the column.
            SignatureMismatchError: it does not match the signature; names the column.
        """
        parts = self._match(frame)
        if parts is not None:
            return AcceptedFrame(frame, parts)
        check_frame(frame)
        if not self._columns:
            return AcceptedFrame(frame, None)
        check_signature(frame, self._columns, what=self._what)
        return AcceptedFrame(conform_frame(frame, self._columns), None)

    def _match(self, frame: Frame) -> list[Any] | None:
        columns = frame.columns
        plan = self._plan
        rows = frame.rows
        if len(columns) != len(plan) or rows < 1 or not plan:
            return None
        parts = []
        for column, (name, kind, shape, row_bytes, row_elements, is_valid) in zip(columns, plan, strict=True):
            if column.name != name or column.type != kind or column.missing or column.shape != shape:
                return None
            if row_bytes:
                values: Any = column.values
                if len(values) != rows * row_bytes or column.strings or column.blobs:
                    return None
                if is_valid is not None and not is_valid(values):
                    return None
            elif kind == DataType.DATA_TYPE_STRING:
                values = column.strings
                if len(values) != rows * row_elements or column.values or column.blobs:
                    return None
            else:
                values = column.blobs
                if len(values) != rows * row_elements or column.values or column.strings:
                    return None
            parts.append(values)
        return parts


def _plan_column(
    column: ColumnSpec,
) -> tuple[str, int, list[int], int, int, Callable[[bytes], bool] | None]:
    elements = math.prod(column.shape)
    row_bytes = column_width(column.type) * elements
    return column.name, column.type, list(column.shape), row_bytes, elements, _validity_of(column, row_bytes)


def _validity_of(column: ColumnSpec, row_bytes: int) -> Callable[[bytes], bool] | None:
    """Returns the test of a fixed-width column's bytes, or None where every bit pattern is valid."""
    if column.type == DataType.DATA_TYPE_BOOL:
        return _is_boolean
    if column.type not in _FLOATS or column.allow_nan:
        return None
    layout = _FLOATS[column.type]

    def is_finite(values: bytes) -> bool:
        if len(values) == 8 and row_bytes == 8:
            return math.isfinite(_FP64.unpack(values)[0])
        return bool(np.isfinite(np.frombuffer(values, layout)).all())

    return is_finite


def _is_boolean(values: bytes) -> bool:
    return not values.strip(b"\x00\x01")

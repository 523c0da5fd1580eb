"""Frames against a signature, fast where all is well and precise where it is not.

A frame that matches is accepted in one pass over its columns. Whatever the fast pass does not accept goes to the
codec's full checks, which name the column and say what is wrong, or find that it is merely unusual (other order of
columns, missing values) and put it into the signature's order.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rendezvous_proto.frames import RowPattern, check_frame, column_width
from rendezvous_proto.signatures import check_signature, conform_frame
from rendezvous_proto.v1 import Column, ColumnSpec, DataType, Frame

_FLOATS = {DataType.DATA_TYPE_FP16: "<f2", DataType.DATA_TYPE_FP32: "<f4", DataType.DATA_TYPE_FP64: "<f8"}
_FP64 = struct.Struct("<d")


@dataclass(slots=True, frozen=True)
class AcceptedFrame:
    """A frame that matches the signature, its columns in the signature's order."""

    frame: Frame
    """The frame."""
    row: tuple[bytes, ...] | None
    """A lone row's values for `FrameChecker.join_rows`; None for several rows, or an unusual one."""


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
        self._pattern = RowPattern(columns) if columns and RowPattern.fits(columns) else None

    def accept(self, frame: Frame) -> AcceptedFrame:
        """Returns *frame* in the signature's order.

        Raises:
            InvalidFrameError: the frame contradicts itself; names the column.
            SignatureMismatchError: it does not match the signature; names the column.
        """
        if self._pattern is not None and frame.rows == 1:
            row = self._pattern.match(frame)
            if row is not None:
                return AcceptedFrame(frame, row)
        if self._matches(frame):
            return AcceptedFrame(frame, None)
        check_frame(frame)
        if not self._columns:
            return AcceptedFrame(frame, None)
        check_signature(frame, self._columns, what=self._what)
        return AcceptedFrame(conform_frame(frame, self._columns), None)

    def join_rows(self, rows: list[tuple[bytes, ...]]) -> Frame:
        """Joins lone rows, as `accept` returned them, to one frame."""
        assert self._pattern is not None, "only a pattern gives rows"
        return self._pattern.join(rows)

    def _matches(self, frame: Frame) -> bool:
        columns = frame.columns
        rows = frame.rows
        if len(columns) != len(self._plan) or rows < 1 or not self._plan:
            return False
        return all(_column_matches(column, planned, rows) for column, planned in zip(columns, self._plan, strict=True))


@dataclass(slots=True, frozen=True)
class _PlannedColumn:
    name: str
    kind: int
    shape: list[int]
    row_bytes: int
    row_elements: int
    is_valid: Callable[[bytes], bool] | None


def _plan_column(column: ColumnSpec) -> _PlannedColumn:
    elements = math.prod(column.shape)
    row_bytes = column_width(column.type) * elements
    is_valid = _validity_of(column, row_bytes)
    return _PlannedColumn(column.name, column.type, list(column.shape), row_bytes, elements, is_valid)


def _column_matches(column: Column, planned: _PlannedColumn, rows: int) -> bool:
    if column.name != planned.name or column.type != planned.kind or column.missing or column.shape != planned.shape:
        return False
    if planned.row_bytes:
        values = column.values
        if len(values) != rows * planned.row_bytes or column.strings or column.blobs:
            return False
        return planned.is_valid is None or planned.is_valid(values)
    is_text = planned.kind == DataType.DATA_TYPE_STRING
    elements, others = (column.strings, column.blobs) if is_text else (column.blobs, column.strings)
    return len(elements) == rows * planned.row_elements and not column.values and not others


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

"""Frames as Arrow arrays, without a loop over values; lists, maps and nulls of the fixed columns."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rendezvous_proto import v1
from rendezvous_proto.frames import join_frames
from rendezvous_sdk.archive.schema import ARROW_TYPES, SignatureColumn, stored_type

__all__ = [
    "Ints",
    "deadlines",
    "frame_arrays",
    "list_array",
    "map_array",
    "null_if_empty",
    "struct_lists",
    "timestamps",
    "whole_numbers",
]

Ints = NDArray[np.int64]
_AT = pa.timestamp("us", tz="UTC")
_EARLIEST_US = -62_135_510_400_000_000
"""0001-01-02: a day from the first that `datetime` can hold, so that any time zone's clock can show it."""
_LATEST_US = 253_402_214_400_000_000
"""9999-12-31."""


def frame_arrays(frames: Sequence[v1.Frame]) -> list[pa.Array]:
    """Returns the columns of sound frames with equal columns, joined: one value a row, null where missing.

    Bits are kept: payloads of NaN and signs of zero too.
    """
    frame = join_frames(frames)
    return [_array(column, frame.rows) for column in frame.columns]


def _array(column: v1.Column, rows: int) -> pa.Array:
    kind = SignatureColumn.of(column)
    present = _present(column.missing, rows)
    elements = ARROW_TYPES[kind.type]
    if not kind.shape:
        return _elements(column, elements, rows, present)
    array = _elements(column, elements, rows * int(np.prod(kind.shape)), None)
    for dimension in reversed(kind.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, dimension)
    validity = None if present is None else _bits(present)
    return pa.Array.from_buffers(stored_type(kind), rows, [validity], children=[array])


def _elements(column: v1.Column, kind: pa.DataType, count: int, present: "NDArray[np.bool_] | None") -> pa.Array:
    mask = None if present is None else ~present
    if pa.types.is_string(kind):
        return pa.array(list(column.strings), kind, mask=mask)
    if pa.types.is_binary(kind):
        return pa.array(list(column.blobs), kind, mask=mask)
    validity = None if present is None else _bits(present)
    values = column.values
    data = _bits(np.frombuffer(values, np.uint8)) if pa.types.is_boolean(kind) else pa.py_buffer(values)
    return pa.Array.from_buffers(kind, count, [validity, data])


def _present(missing: bytes, rows: int) -> "NDArray[np.bool_] | None":
    if not missing or not missing.strip(b"\0"):
        return None
    bits = np.unpackbits(np.frombuffer(missing, np.uint8), count=rows, bitorder="little")
    return bits.astype(np.bool_) ^ True


def _bits(flags: NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def timestamps(values_us: "Ints | Sequence[int]", *, zero_is_null: bool = False) -> pa.Array:
    """Returns microseconds since 1970-01-01 UTC as timestamps, at the earliest in the year 1, at the latest in 9999.

    Senders may say anything, and what a timestamp can hold goes far beyond what `datetime` and others can.
    """
    values = np.clip(np.asarray(values_us, np.int64), _EARLIEST_US, _LATEST_US)
    return pa.array(values, pa.int64(), mask=values == 0 if zero_is_null else None).cast(_AT)


def deadlines(stored_us: Ints, budgets_us: Ints) -> Ints:
    """Returns when the budgets of what was stored are over; the latest timestamp where that is beyond it."""
    stored: Ints = np.asarray(stored_us, np.int64)
    return stored + np.clip(budgets_us, -stored, _LATEST_US - stored)


def whole_numbers(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Returns integers as a type of fewer bits or with a sign; null where it cannot hold them."""
    limits = np.iinfo(kind.to_pandas_dtype())
    fits = pc.less_equal(array, pa.scalar(int(limits.max), array.type))
    if pa.types.is_signed_integer(array.type):
        fits = pc.and_(fits, pc.greater_equal(array, pa.scalar(int(limits.min), array.type)))
    return pc.if_else(fits, array, pa.scalar(None, array.type)).cast(kind)


def null_if_empty(texts: Iterable[str]) -> pa.Array:
    """Returns texts, null where empty."""
    return pa.array([text or None for text in texts], pa.string())


def list_array(kind: pa.DataType, lengths: Sequence[int], values: pa.Array) -> pa.Array:
    """Returns lists of the given lengths."""
    return pa.ListArray.from_arrays(_offsets(lengths), values, type=kind)


def struct_lists(kind: pa.DataType, lengths: Sequence[int], columns: Sequence[Sequence[Any]]) -> pa.Array:
    """Returns lists of structs, their fields given as columns over all lists."""
    struct = kind.value_type
    arrays = [pa.array(values, struct.field(index).type) for index, values in enumerate(columns)]
    return list_array(kind, lengths, pa.StructArray.from_arrays(arrays, fields=list(struct)))


def map_array(maps: Sequence[Any]) -> pa.Array:
    """Returns maps of text to text."""
    lengths = [len(each) for each in maps]
    filled = [each for each, length in zip(maps, lengths, strict=True) if length]
    keys = pa.array([key for each in filled for key in each], pa.string())
    values = pa.array([value for each in filled for value in each.values()], pa.string())
    return pa.MapArray.from_arrays(_offsets(lengths), keys, values)


def _offsets(lengths: Sequence[int]) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.array(offsets)

"""Frames of archived rows, as they were: bit for bit, and without copying element by element where numbers allow it."""

from typing import Any

import numpy as np
import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_proto.frames import type_number
from rendezvous_proto.frames._bits import pack_bits
from rendezvous_proto.frames._types import DTYPES, STRING, elements_per_row
from rendezvous_sdk.archive.schema import SignatureColumn, signature_of

__all__ = ["frame_of"]


def frame_of(table: pa.Table) -> v1.Frame:
    """Returns the frame that the signature's columns of some archived rows make.

    Args:
        table: rows of a file of `inputs` or `raw`, with its schema; fixed columns are not looked at.

    Returns:
        As many rows; columns by their original names, in the signature's order. A null is a missing row, whose
        elements are zero or empty. NaN keeps its bits, as does -0.0.
    """
    columns = signature_of(table.schema)
    return v1.Frame(
        rows=table.num_rows, columns=[_column(_joined(table[name]), told) for name, told in columns.items()]
    )


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [_none(column.type)])


def _none(kind: pa.DataType) -> pa.Array:
    return pa.array([], type=kind)


def _column(array: pa.Array, told: SignatureColumn) -> v1.Column:
    kind = type_number(told.type)
    mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else np.zeros(len(array), np.bool_)
    column = v1.Column(
        name=told.name,
        type=kind,  # type: ignore[arg-type] # the enum's number
        shape=told.shape,
        missing=pack_bits(mask),
    )
    flat = _flat(array, told.shape)
    each = elements_per_row(told.shape)
    dtype = DTYPES.get(kind)
    if dtype is not None:
        column.values = _numbers(flat, mask, each).astype(dtype, copy=False).tobytes()
        return column
    blank: Any = "" if kind == STRING else b""
    gone = np.repeat(mask, each)
    (column.strings if kind == STRING else column.blobs).extend(
        [blank if is_gone else value for value, is_gone in zip(flat.to_pylist(), gone, strict=True)]
        if mask.any()
        else flat.to_pylist()
    )
    return column


def _flat(array: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    """Returns all elements of nested fixed-size lists, those below nulls included."""
    for dimension in shape:
        array = array.values.slice(array.offset * dimension, len(array) * dimension)
    return array


def _numbers(flat: pa.Array, mask: Any, each: int) -> Any:
    if pa.types.is_boolean(flat.type):
        values = flat.fill_null(False).to_numpy(zero_copy_only=False)
    else:
        # A view of the buffer: with nulls, Arrow's own conversion would make floats of integers.
        dtype = np.dtype(flat.type.to_pandas_dtype())
        buffer = flat.buffers()[1]
        whole = np.empty(0, dtype) if buffer is None else np.frombuffer(buffer, dtype)
        values = whole[flat.offset : flat.offset + len(flat)]
    if mask.any():
        values = values.copy()
        values[np.repeat(mask, each)] = 0
    return values

"""Columns from Arrow arrays, and frames as Arrow tables."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._arrays import column_of_array, refuse_column
from rendezvous_proto.frames._lists import column_of_list
from rendezvous_proto.frames._types import BYTES, DTYPES, STRING

if TYPE_CHECKING:
    from rendezvous_proto.frames._view import FrameView


_LARGEST = 2**31 - 1


def column_of_arrow(name: str, source: Any, kind: int | None) -> tuple[v1.Column, int]:
    """Returns a column and its rows, of an Array or ChunkedArray; nulls are missing.

    Raises:
        InvalidFrameError: If its type has none here (decimal, date, struct, map, ...) or does not fit *kind*.
    """
    array = pa.concat_arrays(source.chunks) if isinstance(source, pa.ChunkedArray) and source.num_chunks else source
    if isinstance(array, pa.ChunkedArray):
        array = pa.array([], type=source.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind_of = array.type
    if pa.types.is_timestamp(kind_of):
        array = array.cast(pa.timestamp("us", kind_of.tz), safe=False).cast(pa.int64())
    elif not _has_type(kind_of):
        refuse_column(
            name,
            f"Arrow type {kind_of} has no type in a frame: cast it to numbers, text or binary",
            dtype=kind_of,
        )
    if _is_number(array.type):
        mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        return column_of_array(name, _numbers(array), kind, mask)
    if pa.types.is_fixed_size_list(array.type) and not array.null_count and _is_number(array.type.value_type):
        flat = array.flatten()
        if not flat.null_count:
            shape = (len(array), array.type.list_size)
            return column_of_array(name, _numbers(flat).reshape(shape), kind)
    return column_of_list(name, array.to_pylist(), kind)


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _has_type(kind: Any) -> bool:
    types = pa.types
    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _has_type(kind.value_type)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    octets = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return bool(_is_number(kind) or text or octets or types.is_null(kind))


def _numbers(array: Any) -> Any:
    """Returns an Arrow array of numbers as NumPy; nulls become 0."""
    if not array.null_count:
        return array.to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(array.type):
        return pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    # A view of the data buffer: `fill_null` does not know every type, `to_numpy` would turn integers to floats.
    dtype = np.dtype(array.type.to_pandas_dtype())
    values = np.frombuffer(array.buffers()[1], dtype=dtype)
    return values[array.offset : array.offset + len(array)]


def to_arrow(view: "FrameView") -> pa.Table:
    """Returns the frame as a table: missing rows are nulls, NaN stays NaN, shapes are nested fixed-size lists.

    Raises:
        InvalidFrameError: a column without elements has a dimension that Arrow cannot write.
    """
    if not view.names:
        return pa.table({})
    return pa.table({name: _array(view, name) for name in view.names})


def _fitting(name: str, dimension: int) -> int:
    """Returns a dimension of a column without elements, which may be any number, if Arrow can write it."""
    if dimension > _LARGEST:
        shown = name[:80]
        raise InvalidFrameError(
            f"column {shown!r}: a dimension of {dimension} is more than Arrow's lists have, {_LARGEST}",
            {"column": shown, "limit": _LARGEST, "actual": dimension},
        )
    return dimension


def _array(view: "FrameView", name: str) -> Any:
    values, mask, kind = view[name], view.missing(name), view.type(name)
    scalar = {STRING: pa.string(), BYTES: pa.binary()}.get(kind) or pa.from_numpy_dtype(DTYPES[kind])
    if values.ndim == 1:
        return pa.array(values, type=scalar, mask=mask)
    full = scalar
    for dimension in reversed(values.shape[1:]):
        full = pa.list_(full, _fitting(name, dimension))
    if mask is not None or values.size == 0 or values.dtype.kind == "O":
        return pa.array(view.column(name), type=full)
    array = pa.array(values.reshape(-1), type=scalar)
    for dimension in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, dimension)
    return array

"""Columns made into other columns: another type, shape or name, defaults for missing rows, packed and picked.

Whatever does not fit raises ValueError with a message for people (InvalidFrameError of the codec included).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import FrameView, encode_frame, type_name

from rendezvous_router.oip.tensors import BYTES, STRING, TEXTS

__all__ = [
    "BYTES",
    "STRING",
    "TEXTS",
    "ColumnError",
    "Value",
    "check_value",
    "converted",
    "fill_missing",
    "fits_shape",
    "packed",
    "picked",
    "shape_text",
]

Value = bool | int | float | str


class ColumnError(ValueError):
    """A column cannot be made what it has to be."""


def shape_text(kind: int, shape: Sequence[int] | None) -> str:
    """Returns type and shape for messages: `FP32[3]`."""
    dimensions = "" if shape is None else "[" + ", ".join("any" if size < 0 else str(size) for size in shape) + "]"
    return (type_name(kind) if kind else "any type") + dimensions


def fits_shape(actual: Sequence[int], wanted: Sequence[int] | None) -> tuple[int, ...] | None:
    """Returns the shape that a row's value gets; None if it cannot be given.

    Args:
        actual: its shape now.
        wanted: the shape it should have, -1 for any size; None: any. A scalar and a lone element are the same.
    """
    same = tuple(actual)
    if wanted is None:
        return same
    if len(same) == len(wanted) and all(want in (-1, size) for size, want in zip(same, wanted, strict=True)):
        return same
    if same in ((), (1,)) and tuple(wanted) in ((), (1,), (-1,)):
        return (1,) if wanted else ()
    return None


def converted(
    column: v1.Column, rows: int, *, name: str, kind: int = 0, shape: Sequence[int] | None = None
) -> v1.Column:
    """Returns a column under another name, in another type and shape; the same object where nothing changes.

    Args:
        column: the column; sound.
        rows: its rows.
        name: name that it gets.
        kind: number of the type that it gets; 0: its own.
        shape: shape of one row's value; None: its own.

    Raises:
        ColumnError: a value does not fit.
    """
    fitting = fits_shape(column.shape, shape)
    if fitting is None:
        raise ColumnError(f"one row's value is {shape_text(column.type, column.shape)}, not {shape_text(0, shape)}")
    if kind in (0, column.type):
        if name == column.name and fitting == tuple(column.shape):
            return column
        same = v1.Column()
        same.CopyFrom(column)
        same.name = name
        same.shape[:] = fitting
        return same
    made = _with_type(column, rows, name, kind)
    made.shape[:] = fitting
    made.missing = column.missing  # a missing row's elements are zero or empty, and stay so
    return made


def fill_missing(column: v1.Column, rows: int, value: Value) -> v1.Column:
    """Returns a column whose missing rows have *value*.

    Raises:
        ColumnError: the column's type cannot hold it.
    """
    view = _view(column, rows)
    mask = view.missing(column.name)
    if mask is None:
        return column
    check_value(column.type, value)
    kind = type_name(column.type)
    filled: NDArray[Any] = view[column.name].copy()
    if isinstance(value, str):
        filled[mask] = value.encode() if column.type == BYTES else value
    else:
        filled[mask] = _number(value, kind)
    return _encoded(column.name, filled, kind)


def check_value(kind: int, value: Value) -> None:
    """Checks that *value* can stand in a column of type *kind*.

    Raises:
        ColumnError: it cannot.
    """
    if (kind in TEXTS) != isinstance(value, str):
        raise ColumnError(f"{value!r} cannot stand for missing values of type {type_name(kind)}")
    if not isinstance(value, str):
        _number(value, type_name(kind))


def packed(name: str, columns: Sequence[v1.Column], rows: int, kind: int = 0) -> v1.Column:
    """Returns scalar columns side by side, as one column of shape [number of columns].

    Args:
        name: name that it gets.
        columns: at least one; texts and numbers do not mix.
        rows: their rows.
        kind: number of the type that it gets; 0: one that holds all of them.

    Raises:
        ColumnError: a column is no scalar or does not go with the others, or a value does not fit.
    """
    shaped = next((column for column in columns if fits_shape(column.shape, ()) is None), None)
    if shaped is not None:
        raise ColumnError(f"column {shaped.name!r} has the shape {list(shaped.shape)}: only scalars can be packed")
    texts = {column.type in TEXTS for column in columns}
    if len(texts) > 1:
        raise ColumnError("text and numbers cannot be packed into one tensor")
    arrays = [_view(column, rows)[column.name].reshape(rows) for column in columns]
    if texts == {True}:
        same = {column.type for column in columns}
        if len(same) > 1:
            raise ColumnError("STRING and BYTES cannot be packed into one tensor")
        return converted(_encoded(name, np.stack(arrays, axis=1), type_name(same.pop())), rows, name=name, kind=kind)
    stacked = np.stack(arrays, axis=1)
    return _encoded(name, stacked, type_name(kind) if kind else None)


def picked(column: v1.Column, rows: int, index: int) -> v1.Column:
    """Returns the element at *index* of each row, as a scalar column.

    Raises:
        ColumnError: a row has no such element.
    """
    if len(column.shape) != 1 or column.shape[0] <= index:
        raise ColumnError(f"one row's value is {shape_text(column.type, column.shape)}: it has no element {index}")
    array = _view(column, rows)[column.name]
    made = _encoded(column.name, np.ascontiguousarray(array[:, index]), type_name(column.type))
    made.missing = column.missing
    return made


def _with_type(column: v1.Column, rows: int, name: str, kind: int) -> v1.Column:
    if column.type in TEXTS or kind in TEXTS:
        return _as_text(column, name, kind)
    array = _view(column, rows)[column.name]
    return _encoded(name, array, type_name(kind))


def _as_text(column: v1.Column, name: str, kind: int) -> v1.Column:
    if column.type == STRING and kind == BYTES:
        return v1.Column(name=name, type="DATA_TYPE_BYTES", blobs=[text.encode() for text in column.strings])
    if column.type == BYTES and kind == STRING:
        try:
            return v1.Column(name=name, type="DATA_TYPE_STRING", strings=[blob.decode() for blob in column.blobs])
        except UnicodeDecodeError as error:
            raise ColumnError(f"a value is not UTF-8 text (byte {error.start}): give it the type BYTES") from error
    raise ColumnError(f"{type_name(column.type)} cannot become {type_name(kind)}")


def _number(value: Value, kind: str) -> Any:
    column = _encoded("value", np.asarray([value]), kind)
    return FrameView(v1.Frame(rows=1, columns=[column]))["value"][0]


def _encoded(name: str, array: NDArray[Any], kind: str | None) -> v1.Column:
    try:
        return encode_frame({name: array}, types={name: kind} if kind else None).columns[0]
    except InvalidFrameError as error:
        raise ColumnError(error.message) from error


def _view(column: v1.Column, rows: int) -> FrameView:
    return FrameView(v1.Frame(rows=rows, columns=[column]))

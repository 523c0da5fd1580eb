"""Element types of columns: number, name, width, NumPy dtype."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError

STRING: int = v1.DataType.DATA_TYPE_STRING
BYTES: int = v1.DataType.DATA_TYPE_BYTES
BOOL: int = v1.DataType.DATA_TYPE_BOOL
MAX_RANK = 8
"""Most dimensions of one row's value."""

DTYPES: dict[int, np.dtype[Any]] = {
    v1.DataType.DATA_TYPE_BOOL: np.dtype("?"),
    v1.DataType.DATA_TYPE_UINT8: np.dtype("u1"),
    v1.DataType.DATA_TYPE_UINT16: np.dtype("<u2"),
    v1.DataType.DATA_TYPE_UINT32: np.dtype("<u4"),
    v1.DataType.DATA_TYPE_UINT64: np.dtype("<u8"),
    v1.DataType.DATA_TYPE_INT8: np.dtype("i1"),
    v1.DataType.DATA_TYPE_INT16: np.dtype("<i2"),
    v1.DataType.DATA_TYPE_INT32: np.dtype("<i4"),
    v1.DataType.DATA_TYPE_INT64: np.dtype("<i8"),
    v1.DataType.DATA_TYPE_FP16: np.dtype("<f2"),
    v1.DataType.DATA_TYPE_FP32: np.dtype("<f4"),
    v1.DataType.DATA_TYPE_FP64: np.dtype("<f8"),
}
"""Types whose elements all have one width, and how NumPy reads them from the wire."""

WIDTHS: dict[int, int] = {kind: dtype.itemsize for kind, dtype in DTYPES.items()} | {STRING: 0, BYTES: 0}
FLOATS: frozenset[int] = frozenset(kind for kind, dtype in DTYPES.items() if dtype.kind == "f")
_PREFIX = "DATA_TYPE_"
_NUMBERS: dict[str, int] = {
    name.removeprefix(_PREFIX): number for name, number in v1.DataType.items() if number in WIDTHS
}
_NAMES: dict[int, str] = {number: name for name, number in _NUMBERS.items()}
_BY_DTYPE: dict[tuple[str, int], int] = {(t.kind, t.itemsize): kind for kind, t in DTYPES.items()}


def column_width(data_type: int) -> int:
    """Returns the bytes of one element; 0 for STRING and BYTES, whose elements have no fixed width.

    Raises:
        InvalidFrameError: If *data_type* is not a type.
    """
    width = WIDTHS.get(data_type)
    if width is None:
        raise InvalidFrameError(
            f"type {int(data_type)} is unknown: use one of {', '.join(_NUMBERS)}", {"type": int(data_type)}
        )
    return width


def type_name(data_type: int) -> str:
    """Returns the name without its prefix (`FP64`); of an unknown number, the number as text."""
    return _NAMES.get(data_type) or str(int(data_type))


def type_number(data_type: int | str) -> int:
    """Returns the number of a type given by number or by name, with or without `DATA_TYPE_`.

    Raises:
        InvalidFrameError: If there is no such type.
    """
    if not isinstance(data_type, str):
        column_width(data_type)
        return int(data_type)
    number = _NUMBERS.get(data_type.removeprefix(_PREFIX))
    if number is None:
        raise InvalidFrameError(f"type {data_type!r} is unknown: use one of {', '.join(_NUMBERS)}", {"type": data_type})
    return number


def type_of_dtype(dtype: np.dtype[Any]) -> int | None:
    """Returns the type with the same elements as *dtype*, whatever its byte order; None: there is none."""
    return _BY_DTYPE.get((dtype.kind, dtype.itemsize))


def elements_per_row(shape: Iterable[int]) -> int:
    """Returns the product of the dimensions; 1 for a scalar. Exact: Python integers do not overflow."""
    product = 1
    for dimension in shape:
        product *= dimension
    return product

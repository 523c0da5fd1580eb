"""Encodes lists of Python values as columns."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np

from rendezvous_proto import v1
from rendezvous_proto.frames._arrays import Mask, column_of_array, refuse_column, text_column
from rendezvous_proto.frames._types import BYTES, DTYPES, STRING

_NOTHING = type(None)
_PANDAS_NOTHING = frozenset({"NAType", "NaTType"})
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def column_of_list(name: str, values: Sequence[Any], kind: int | None) -> tuple[v1.Column, int]:
    """Returns a column and its rows, of one Python value a row: scalars, or lists and arrays of one shape.

    Raises:
        InvalidFrameError: If values mix types or shapes, have none here, or do not fit *kind*.
    """
    found = set(map(type, values))
    mask = _mask_of(values, found)
    if mask is not None and mask.all():
        found = set()
    if any(issubclass(each, list | tuple | np.ndarray) for each in found):
        return _shaped_column(name, values, kind, mask)
    return _flat_column(name, list(values), (len(values),), kind, mask)


def _mask_of(values: Sequence[Any], found: set[type]) -> Mask | None:
    """Returns which rows are missing and takes their types out of *found*; None: none is."""
    nothing = {each for each in found if each is _NOTHING or each.__name__ in _PANDAS_NOTHING}
    if not nothing and not (float in found and str in found):
        return None
    found -= nothing
    mask = np.fromiter((type(value) in nothing for value in values), dtype=np.bool_, count=len(values))
    if found == {float, str}:  # pandas writes NaN for a missing string
        mask |= np.fromiter(
            (type(value) is float and value != value for value in values),  # noqa: PLR0124 - NaN alone
            dtype=np.bool_,
            count=len(values),
        )
        found.discard(float)
    return mask if mask.any() else None


def _flat_column(
    name: str, flat: list[Any], shape: tuple[int, ...], kind: int | None, mask: Mask | None
) -> tuple[v1.Column, int]:
    """Returns a column of all elements in row-major order; those of missing rows may be anything."""
    kept, filled = flat, flat
    if mask is not None:
        each = len(flat) // shape[0]
        gone = mask.repeat(each).tolist()
        kept = [value for value, missing in zip(flat, gone, strict=True) if not missing]
    found = set(map(type, kept))
    if not found:
        if kind is None:
            refuse_column(
                name,
                "its type cannot be told from its values, there are none or all are missing: "
                f"name it, types={{{name!r}: 'FP64'}}",
            )
        found = {str if kind == STRING else bytes if kind == BYTES else bool}
    elif not found <= {bool, int, float, str, bytes}:
        kept = [_plain(name, value) for value in kept]
        found = set(map(type, kept))
    family = _family_of(name, found)
    if mask is not None:
        blank = family()
        present = iter(kept)
        filled = [blank if missing else next(present) for missing in gone]
    else:
        filled = kept
    if family in (str, bytes):
        return text_column(name, filled, shape, STRING if family is str else BYTES, kind, mask)
    if mask is not None and not kept and kind is not None:
        return column_of_array(name, np.zeros(shape, dtype=DTYPES[kind]), kind, mask)
    return column_of_array(name, _numbers(name, filled, family).reshape(shape), kind, mask)


def _family_of(name: str, found: set[type]) -> type:
    if len(found) == 1:
        return next(iter(found))
    if found == {int, float}:
        return float
    kinds = ", ".join(sorted(each.__name__ for each in found))
    return refuse_column(name, f"its values mix types ({kinds}): convert them to one", actual=kinds)


def _numbers(name: str, values: list[Any], family: type) -> np.ndarray[Any, Any]:
    if family is not int:
        return np.array(values, dtype=np.float64 if family is float else np.bool_)
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(values, dtype=dtype)
        except OverflowError:
            continue
    return refuse_column(name, f"integers from {min(values)} to {max(values)} fit neither INT64 nor UINT64: use floats")


def _plain(name: str, value: Any) -> Any:
    """Returns a NumPy scalar, a subclass's instance or a point in time as bool, int, float, str or bytes."""
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH) // _MICROSECOND
    families: tuple[tuple[Any, Any], ...] = (
        (bool, np.bool_),
        (int, np.integer),
        (float, np.floating),
        (str, np.str_),
        (bytes, np.bytes_),
    )
    for family, numpy_family in families:
        if isinstance(value, family | numpy_family):
            return family(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if value is None or type(value).__name__ in _PANDAS_NOTHING:
        refuse_column(name, "missing inside a shaped value cannot be sent: only whole rows can be missing")
    return refuse_column(
        name,
        f"values of type {type(value).__qualname__} have no type in a frame: use numbers, text or bytes",
        actual=type(value).__qualname__,
    )


def _shaped_column(name: str, values: Sequence[Any], kind: int | None, mask: Mask | None) -> tuple[v1.Column, int]:
    present = list(values) if mask is None else [v for v, gone in zip(values, mask, strict=True) if not gone]
    first = present[0]
    if not all(isinstance(value, list | tuple | np.ndarray) for value in present):
        refuse_column(name, "its values mix scalars and lists: every row needs the same shape")
    rows = [first if mask is not None and mask[row] else value for row, value in enumerate(values)]
    if isinstance(first, np.ndarray) and all(
        isinstance(row, np.ndarray) and row.shape == first.shape and row.dtype == first.dtype for row in rows
    ):
        return column_of_array(name, np.stack(rows), kind, mask)
    try:
        table = np.array([row.tolist() if isinstance(row, np.ndarray) else row for row in rows], dtype=object)
    except ValueError:
        refuse_column(name, "its rows differ in shape: every row needs the same")
    flat = table.reshape(-1).tolist()
    if any(isinstance(value, list | tuple | np.ndarray) for value in flat):
        refuse_column(name, "its rows differ in shape: every row needs the same")
    return _flat_column(name, flat, table.shape, kind, mask)

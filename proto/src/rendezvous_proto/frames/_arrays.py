"""Encodes NumPy arrays as columns."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._bits import pack_bits
from rendezvous_proto.frames._check import shown_name
from rendezvous_proto.frames._types import BYTES, DTYPES, MAX_RANK, STRING, type_name, type_of_dtype

INT64: int = v1.DataType.DATA_TYPE_INT64
Mask = NDArray[np.bool_]


def refuse_column(name: str, message: str, **attributes: object) -> NoReturn:
    """Raises InvalidFrameError that names the column."""
    shown = shown_name(name)
    raise InvalidFrameError(f"column {shown!r}: {message}", {"column": shown, **attributes})


def column_of_array(
    name: str, array: NDArray[Any], kind: int | None, mask: Mask | None = None
) -> tuple[v1.Column, int]:
    """Returns a column and its rows, of an array of shape (rows, *shape).

    Args:
        name: Name of the column.
        array: Values, any byte order, any strides.
        kind: Number of the type; None: that of the dtype.
        mask: Missing rows, shape (rows,); None: none but NaT.

    Raises:
        InvalidFrameError: If the dtype has no type here or does not fit *kind*.
    """
    if array.ndim == 0:
        refuse_column(name, "a scalar is no column: give one value a row")
    if array.ndim - 1 > MAX_RANK:
        refuse_column(name, f"{array.ndim - 1} dimensions a row: at most {MAX_RANK} are allowed", limit=MAX_RANK)
    match array.dtype.kind:
        case "b" | "i" | "u" | "f":
            return _number_column(name, array, kind, mask)
        case "M":
            return _time_column(name, array, kind, mask)
        case "U" | "S" | "T":
            flat = array.reshape(-1).tolist()
            natural = BYTES if array.dtype.kind == "S" else STRING
            return text_column(name, flat, array.shape, natural, kind, mask)
        case "O":
            from rendezvous_proto.frames._lists import column_of_list  # noqa: PLC0415 - lists build on arrays

            rows = array.tolist()
            if mask is not None:
                rows = [None if gone else row for row, gone in zip(rows, mask.tolist(), strict=True)]
            return column_of_list(name, rows, kind)
    return refuse_column(
        name,
        f"NumPy dtype {array.dtype} has no type in a frame: convert it to numbers, text or bytes",
        dtype=array.dtype,
    )


def _number_column(name: str, array: NDArray[Any], kind: int | None, mask: Mask | None) -> tuple[v1.Column, int]:
    natural = type_of_dtype(array.dtype)
    if natural is None:
        refuse_column(
            name,
            f"NumPy dtype {array.dtype} has no type in a frame: use at most 64 bits an element",
            dtype=array.dtype,
        )
    if mask is not None and mask.any():
        array = array.copy()
        array[mask] = 0
    kind = natural if kind is None else kind
    if kind != natural:
        array = _converted(name, array, natural, kind)
    wire = array.astype(DTYPES[kind], order="C", copy=False)
    return (
        v1.Column(
            name=name,
            type=kind,  # type: ignore[arg-type] # the enum's number
            shape=array.shape[1:],
            values=wire.tobytes(),
            missing=b"" if mask is None else pack_bits(mask),
        ),
        array.shape[0],
    )


def _converted(name: str, array: NDArray[Any], natural: int, kind: int) -> NDArray[Any]:
    """Returns *array* in the dtype of *kind*; refuses if more than precision of floats would be lost."""
    target = DTYPES.get(kind)
    if target is None:
        refuse_column(
            name,
            f"{type_name(natural)} values do not fit type {type_name(kind)}: convert them first",
            expected=type_name(kind),
            actual=type_name(natural),
        )
    if array.size == 0:
        return array.astype(target)
    with np.errstate(all="ignore"):
        converted = array.astype(target)
        fits = _in_range(array, target) if target.kind in "iu" else True
        if target.kind == "f":
            fits = bool((np.isfinite(converted) | ~np.isfinite(array)).all())
        elif fits:
            fits = bool((converted == array).all())
    if not fits:
        refuse_column(
            name,
            f"a value of type {type_name(natural)} does not fit type {type_name(kind)}: it is out of range, "
            "not a whole number or NaN",
            expected=type_name(kind),
            actual=type_name(natural),
        )
    return converted


def _in_range(array: NDArray[Any], target: np.dtype[Any]) -> bool:
    limits = np.iinfo(target)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            return False
        return float(array.min()) >= float(limits.min) and float(array.max()) < float(limits.max + 1)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _time_column(name: str, array: NDArray[Any], kind: int | None, mask: Mask | None) -> tuple[v1.Column, int]:
    gone = np.isnat(array)
    if array.ndim > 1 and gone.any():
        refuse_column(name, "NaT inside a shaped value cannot be sent: only whole rows can be missing")
    if array.ndim == 1:
        mask = gone if mask is None else gone | mask
    micros = array.astype("datetime64[us]").astype(np.int64)
    return _number_column(name, micros, INT64 if kind is None else kind, mask)


def text_column(
    name: str,
    flat: list[Any],
    shape: tuple[int, ...],
    natural: int,
    kind: int | None,
    mask: Mask | None,
) -> tuple[v1.Column, int]:
    """Returns a STRING or BYTES column and its rows, of all elements in row-major order.

    Raises:
        InvalidFrameError: If *kind* is another type, or a string has lone surrogates, which UTF-8 cannot hold.
    """
    if kind is not None and kind != natural:
        refuse_column(
            name,
            f"{type_name(natural)} values do not fit type {type_name(kind)}: convert them first",
            expected=type_name(kind),
            actual=type_name(natural),
        )
    column = v1.Column(name=name, type=natural, shape=shape[1:])  # type: ignore[arg-type] # the enum's number
    if mask is not None and mask.any():
        each = len(flat) // shape[0]
        blank = "" if natural == STRING else b""
        for row in mask.nonzero()[0].tolist():
            flat[row * each : (row + 1) * each] = [blank] * each
        column.missing = pack_bits(mask)
    try:
        (column.strings if natural == STRING else column.blobs).extend(flat)
    except UnicodeEncodeError:
        index = next(i for i, text in enumerate(flat) if not _is_unicode(text))
        refuse_column(
            name,
            f"element {index} has a lone surrogate, which UTF-8 cannot hold: repair the text",
            element=index,
        )
    return column, shape[0]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""The tensors of a request as a frame, by the endpoint's signature.

One tensor for each column, under its name; the first dimension is the rows. `<column>.missing`, BOOL of shape [rows],
says which rows of a column are missing: the protocol knows no missing values, and NaN is a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
from rendezvous.spec import ColumnSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, RendezvousError, SignatureMismatchError, shown
from rendezvous_proto.frames import MAX_RANK
from rendezvous_proto.nearest import nearest_name

from rendezvous_router.oip.tensors import DTYPES, STRING, TEXTS, Fill, TensorError, datatype_of_type

__all__ = ["MISSING", "Tensor", "frame_of", "shape_text", "tensor_shape", "wanted_text"]

MISSING = ".missing"
"""What follows a column's name in the name of the tensor that says which of its rows are missing."""

KINDS: dict[str, int] = {name.removeprefix("DATA_TYPE_"): number for name, number in v1.DataType.items() if number}
"""Types by name."""
DATATYPES = frozenset(KINDS) - {"STRING"}
"""Datatypes of tensors."""
_BOOL = KINDS["BOOL"]
_SHOWN_TENSORS = 20
_LARGEST = 2**31 - 1


@dataclass(slots=True, frozen=True)
class Tensor:
    """One tensor of a request, its contents unread."""

    name: str
    """Its name."""
    datatype: str
    """Its datatype, as the client says."""
    shape: Sequence[int]
    """Its shape, the rows first."""
    fill: Fill
    """Reads its contents."""
    contents: Any
    """What *fill* reads."""
    is_text: bool = False
    """Whether the client says that BYTES are text (parameter `content_type` = `str`), for endpoints that declare
    nothing."""


def frame_of(tensors: Sequence[Tensor], declared: Sequence[ColumnSpec], what: str) -> v1.Frame:
    """Returns the tensors as a frame with the columns of the signature, in its order.

    Args:
        tensors: as received.
        declared: the signature's columns; none: anything is taken.
        what: whose they are, for messages: `endpoint credit`.

    Raises:
        InvalidFrameError: a tensor contradicts itself or the others.
        SignatureMismatchError: a tensor is absent, unknown, of another datatype or shape. The message says which
            tensors are wanted.
    """
    if declared and len(tensors) > 2 * len(declared):
        raise SignatureMismatchError(
            f"{len(tensors)} tensors: {what} takes one for each of its {len(declared)} columns, and at most one more, "
            f"{MISSING}, for each: {wanted_text(declared)}",
            {"expected": 2 * len(declared), "actual": len(tensors)},
        )
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        _refuse_twice(tensors)
    rows = _rows_of(tensors) if tensors else 0
    frame = v1.Frame(rows=rows)
    for spec in declared or _as_they_come(tensors, what):
        tensor = by_name.pop(spec.name, None)
        if tensor is None:
            raise _absent(spec, tensors, declared, what)
        _check_kind(tensor, spec.type, spec.shape, what)
        # Added in place: a list of columns would be copied.
        _fill(frame.columns.add(name=spec.name, type=KINDS[spec.type], shape=spec.shape), tensor)
    if by_name:
        for column in frame.columns:
            companion = by_name.pop(column.name + MISSING, None)
            if companion is not None:
                _mark_missing(column, companion, rows, what)
    if by_name:
        raise _unknown(next(iter(by_name)), declared, what)
    return frame


def tensor_shape(column: ColumnSpec) -> list[int]:
    """Returns the shape of a column's tensor, -1 for the rows."""
    return [-1, *column.shape]


def shape_text(column: ColumnSpec) -> str:
    """Returns name, datatype and shape of a column's tensor for messages: `amount FP64 [-1]`."""
    return f"{column.name} {datatype_of_type(KINDS[column.type])} {tensor_shape(column)}"


def wanted_text(columns: Sequence[ColumnSpec]) -> str:
    """Returns all tensors of a signature for messages, the first twenty by name."""
    listed = ", ".join(shape_text(column) for column in columns[:_SHOWN_TENSORS])
    more = len(columns) - _SHOWN_TENSORS
    return f"{listed} and {more} more" if more > 0 else listed


def _as_they_come(tensors: Sequence[Tensor], what: str) -> list[ColumnSpec]:
    """Returns the signature that the tensors have by themselves."""
    names = {tensor.name for tensor in tensors}
    columns = []
    for tensor in tensors:
        if tensor.name.endswith(MISSING) and tensor.name.removesuffix(MISSING) in names:
            continue
        if tensor.datatype not in DATATYPES or not tensor.name:
            raise InvalidFrameError(
                f"tensor {shown(tensor.name)!r} has the datatype {shown(tensor.datatype)!r}: {what} takes tensors with "
                f"a name and one of {', '.join(sorted(DATATYPES))}",
                {"tensor": shown(tensor.name)},
            )
        kind = "STRING" if tensor.is_text and tensor.datatype == "BYTES" else tensor.datatype
        columns.append(ColumnSpec(name=tensor.name, type=kind, shape=list(tensor.shape[1:])))  # type: ignore[arg-type] # as checked
    return columns


def _rows_of(tensors: Sequence[Tensor]) -> int:
    first = tensors[0]
    rows = first.shape[0] if first.shape else -1
    for tensor in tensors:
        shape = tensor.shape
        if not 0 < len(shape) <= MAX_RANK + 1 or min(shape) < 0 or max(shape) > _LARGEST:
            raise InvalidFrameError(
                f"tensor {shown(tensor.name)!r} has the shape {_dimensions(shape)}: the first dimension must be the "
                f"rows, there are at most {MAX_RANK} others, and none is negative or above {_LARGEST}",
                {"tensor": shown(tensor.name)},
            )
        if shape[0] != rows:
            raise InvalidFrameError(
                f"tensor {shown(tensor.name)!r} has the shape {_dimensions(shape)}, {shown(first.name)!r} has "
                f"{_dimensions(first.shape)}: the first dimension is the rows, and must be the same in all",
                {"tensor": shown(tensor.name), "expected": rows, "actual": shape[0]},
            )
    return rows


def _check_kind(tensor: Tensor, kind: str, row_shape: Sequence[int], what: str) -> None:
    datatype = "BYTES" if kind == "STRING" else kind
    if tensor.datatype != datatype:
        raise _mismatch(tensor, what, "datatype", datatype, shown(tensor.datatype))
    expected, actual = list(row_shape), list(tensor.shape[1:])
    if actual != expected and not (prod(expected) == 1 == prod(actual) and max(len(actual), len(expected)) == 1):
        raise _mismatch(tensor, what, "shape", [-1, *expected], _dimensions(tensor.shape))


def _fill(column: v1.Column, tensor: Tensor) -> None:
    try:
        tensor.fill(column, tensor.shape, tensor.contents)
    except TensorError as error:
        raise InvalidFrameError(f"tensor {tensor.name!r} {error}", {"tensor": tensor.name}) from error


def _mark_missing(column: v1.Column, companion: Tensor, rows: int, what: str) -> None:
    _check_kind(companion, "BOOL", (), what)
    marks = v1.Column(type=_BOOL)  # type: ignore[arg-type] # the enum's number
    _fill(marks, companion)
    values = marks.values
    if values.strip(b"\0\1"):
        raise InvalidFrameError(
            f"tensor {companion.name!r} has a byte that is neither 0 nor 1", {"tensor": companion.name}
        )
    mask = np.frombuffer(values, np.bool_)
    if mask.any():
        _blank(column, mask, rows)
        column.missing = np.packbits(mask, bitorder="little").tobytes()


def _blank(column: v1.Column, mask: "np.ndarray[Any, Any]", rows: int) -> None:
    """Makes elements of missing rows zero or empty, as a frame has them; what was sent there does not count."""
    each = prod(column.shape)
    if column.type not in TEXTS:
        values = np.frombuffer(column.values, DTYPES[column.type]).reshape(rows, each).copy()
        values[mask] = 0
        column.values = values.tobytes()
        return
    gone = mask.repeat(each).tolist()
    if column.type == STRING:
        column.strings[:] = ["" if is_gone else text for text, is_gone in zip(column.strings, gone, strict=True)]
    else:
        column.blobs[:] = [b"" if is_gone else blob for blob, is_gone in zip(column.blobs, gone, strict=True)]


def _refuse_twice(tensors: Sequence[Tensor]) -> NoReturn:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise InvalidFrameError(f"tensor {shown(tensor.name)!r} is there twice", {"tensor": shown(tensor.name)})
        seen.add(tensor.name)
    raise AssertionError("a name is there twice")


def _absent(
    spec: ColumnSpec, tensors: Sequence[Tensor], declared: Sequence[ColumnSpec], what: str
) -> SignatureMismatchError:
    names = ", ".join(shown(tensor.name) for tensor in tensors[:_SHOWN_TENSORS]) or "no tensors"
    return SignatureMismatchError(
        f"tensor {spec.name!r} is absent: {what} wants one tensor for each column, {wanted_text(declared)}; "
        f"there are {names}",
        {"tensor": spec.name},
    )


def _unknown(name: str, declared: Sequence[ColumnSpec], what: str) -> SignatureMismatchError:
    near = nearest_name(name, [column.name for column in declared])
    hint = f", did you mean {near!r}?" if near else f": it wants {wanted_text(declared)}"
    return SignatureMismatchError(f"tensor {shown(name)!r} is unknown to {what}{hint}", {"tensor": shown(name)})


def _mismatch(tensor: Tensor, what: str, which: str, expected: object, actual: object) -> RendezvousError:
    return SignatureMismatchError(
        f"tensor {tensor.name!r} has the {which} {actual}: {what} wants {expected}"
        + (" (-1: the rows)" if which == "shape" else ""),
        {"tensor": tensor.name, "expected": expected, "actual": actual},
    )


def _dimensions(shape: Sequence[int]) -> str:
    shown_part = ", ".join(str(size) if abs(size) < 1 << 64 else "?" for size in shape[:10])
    return f"[{shown_part}, ...]" if len(shape) > 10 else f"[{shown_part}]"

"""Columns as tensors of the Open Inference Protocol: raw bytes, typed contents, JSON.

The batch is a tensor's first dimension. STRING and BYTES are both BYTES there; what comes as BYTES is read as such.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidOutputError, SignatureMismatchError
from rendezvous_proto.frames import FrameView, column_width, encode_frame, type_name, type_number
from rendezvous_proto.inference import InferTensorContents

from rendezvous_router.bridge.columns import BYTES, STRING, TEXTS

__all__ = [
    "column_of_json",
    "column_of_raw",
    "column_of_typed",
    "datatype_of",
    "json_of_column",
    "raw_of_column",
    "typed_of_column",
]

_LENGTH = struct.Struct("<I")
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def datatype_of(column: v1.Column) -> str:
    """Returns the datatype of a column's tensor."""
    return "BYTES" if column.type == STRING else type_name(column.type)


def raw_of_column(column: v1.Column) -> bytes:
    """Returns a column's elements as `raw_input_contents` holds them."""
    if column.type not in TEXTS:
        return column.values
    return b"".join(_LENGTH.pack(len(blob)) + blob for blob in _blobs_of(column))


def typed_of_column(column: v1.Column) -> InferTensorContents:
    """Returns a column's elements in the field of their datatype.

    Raises:
        SignatureMismatchError: FP16, which has no field.
    """
    field = _FIELDS.get(datatype_of(column))
    if field is None:
        raise SignatureMismatchError(
            f"input of the model: {column.name!r} is {type_name(column.type)}, which typed contents cannot hold: "
            "use contents: raw",
            {"column": column.name},
        )
    contents = InferTensorContents()
    getattr(contents, field).extend(_blobs_of(column) if column.type in TEXTS else _numbers_of(column).tolist())
    return contents


def json_of_column(column: v1.Column) -> list[Any]:
    """Returns a column's elements as JSON holds them, flat.

    Raises:
        SignatureMismatchError: NaN, an infinite number, or bytes that are no UTF-8 text.
    """
    if column.type not in TEXTS:
        numbers = _numbers_of(column)
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            raise _unsendable(column, "has NaN or an infinite number, which JSON cannot hold: use oip+grpc")
        return list(numbers.tolist())
    try:
        return [blob.decode() for blob in _blobs_of(column)]
    except UnicodeDecodeError as error:
        raise _unsendable(column, "has bytes that are no UTF-8 text, which JSON cannot hold: use oip+grpc") from error


def column_of_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes, rows: int) -> v1.Column:
    """Returns the column of a tensor whose elements are in `raw_output_contents`.

    Raises:
        InvalidOutputError: unknown datatype, another number of rows, or a length that does not go with the shape.
    """
    column = _empty_column(name, datatype, shape, rows)
    if column.type == BYTES:
        column.blobs.extend(_split_raw(name, raw))
        _check_count(name, shape, len(column.blobs))
        return column
    width = column_width(column.type)
    _check_count(name, shape, len(raw) / width)
    column.values = raw
    return column


def column_of_typed(
    name: str, datatype: str, shape: Sequence[int], contents: InferTensorContents, rows: int
) -> v1.Column:
    """Returns the column of a tensor whose elements are in its typed contents.

    Raises:
        InvalidOutputError: as `column_of_raw`; or a value that the datatype does not hold.
    """
    column = _empty_column(name, datatype, shape, rows)
    elements = getattr(contents, _FIELDS[datatype]) if datatype in _FIELDS else ()
    return _with_elements(column, list(elements), shape)


def column_of_json(name: str, datatype: str, shape: Sequence[int], data: object, rows: int) -> v1.Column:
    """Returns the column of a tensor whose elements are JSON, flat or nested; `null` among floats is NaN.

    Raises:
        InvalidOutputError: as `column_of_typed`.
    """
    column = _empty_column(name, datatype, shape, rows)
    elements = list(_flat(data))
    if datatype.startswith("FP"):
        elements = [float("nan") if element is None else element for element in elements]
    if None in elements:
        raise _invalid(name, f"has null among its elements, which {datatype} cannot hold")
    if column.type == BYTES:
        if any(not isinstance(element, str) for element in elements):
            raise _invalid(name, "has elements that are no text, and its datatype is BYTES")
        elements = [element.encode() for element in elements]
    return _with_elements(column, elements, shape)


def _empty_column(name: str, datatype: str, shape: Sequence[int], rows: int) -> v1.Column:
    try:
        kind = type_number(datatype)
    except InvalidFrameError:
        kind = 0
    if kind in (0, STRING):
        raise _invalid(name, f"has the datatype {datatype!r}, which cannot be read here")
    if not shape or shape[0] != rows:
        raise _invalid(name, f"has the shape {list(shape)} for {rows} rows: its first dimension must be the rows")
    return v1.Column(name=name, type=v1.DataType.Name(kind), shape=shape[1:])


def _with_elements(column: v1.Column, elements: list[Any], shape: Sequence[int]) -> v1.Column:
    _check_count(column.name, shape, len(elements))
    if column.type == BYTES:
        column.blobs.extend(elements)
        return column
    try:
        made = encode_frame({column.name: elements or np.zeros(0)}, types={column.name: column.type})
    except InvalidFrameError as error:
        raise _invalid(column.name, f"cannot be read: {error.message}") from error
    column.values = made.columns[0].values
    return column


def _check_count(name: str, shape: Sequence[int], count: float) -> None:
    if count != prod(shape):
        raise _invalid(name, f"has the shape {list(shape)} and {count:g} elements: it must have {prod(shape)}")


def _split_raw(name: str, raw: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(raw):
        start = position + _LENGTH.size
        length = _LENGTH.unpack_from(raw, position)[0] if start <= len(raw) else len(raw)
        position = start + length
        if position > len(raw):
            raise _invalid(name, "ends in the middle of an element")
        yield raw[start:position]


def _flat(data: object) -> Iterator[Any]:
    if not isinstance(data, list):
        yield data
        return
    for part in data:
        yield from _flat(part)


def _numbers_of(column: v1.Column) -> "np.ndarray[Any, Any]":
    rows = len(column.values) // column_width(column.type)
    flat = v1.Column(name=column.name, type=column.type, values=column.values)
    return FrameView(v1.Frame(rows=rows, columns=[flat]))[column.name]


def _blobs_of(column: v1.Column) -> Iterable[bytes]:
    return [text.encode() for text in column.strings] if column.type == STRING else column.blobs


def _unsendable(column: v1.Column, fault: str) -> SignatureMismatchError:
    return SignatureMismatchError(f"input of the model: {column.name!r} {fault}", {"column": column.name})


def _invalid(name: str, fault: str) -> InvalidOutputError:
    return InvalidOutputError(f"output of the model: {name!r} {fault}", {"column": name})

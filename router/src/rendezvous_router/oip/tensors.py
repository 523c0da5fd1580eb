"""Elements of tensors to and from columns: raw bytes, typed contents, JSON. For the front doors and for the bridge.

STRING and BYTES are both BYTES there. Fixed-width elements are copied as blocks wherever the wire holds them as such:
raw contents always, typed contents of FP32, FP64 and BOOL, which protobuf packs as they are.

What does not fit raises `TensorError`, which says what is wrong and leaves it to the caller whose fault that is.
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import prod
from typing import Any

import msgspec
import numpy as np
from rendezvous_proto import v1
from rendezvous_proto.frames import type_name
from rendezvous_proto.inference import InferTensorContents

__all__ = [
    "BYTES",
    "DTYPES",
    "FIELDS",
    "STRING",
    "TEXTS",
    "Fill",
    "TensorError",
    "datatype_of",
    "datatype_of_type",
    "fill_elements",
    "fill_json",
    "fill_raw",
    "fill_typed",
    "is_typed",
    "json_of_column",
    "raw_of_column",
    "typed_of_column",
]

STRING: int = v1.DataType.DATA_TYPE_STRING
BYTES: int = v1.DataType.DATA_TYPE_BYTES
TEXTS = frozenset({STRING, BYTES})
"""Types whose elements have no fixed width."""

DTYPES: dict[int, "np.dtype[Any]"] = {
    v1.DataType.Value(f"DATA_TYPE_{name}"): np.dtype(layout)
    for name, layout in (
        ("BOOL", "?"),
        ("INT8", "i1"),
        ("INT16", "<i2"),
        ("INT32", "<i4"),
        ("INT64", "<i8"),
        ("UINT8", "u1"),
        ("UINT16", "<u2"),
        ("UINT32", "<u4"),
        ("UINT64", "<u8"),
        ("FP16", "<f2"),
        ("FP32", "<f4"),
        ("FP64", "<f8"),
    )
}
"""How elements of fixed width are on the wire."""

FIELDS: dict[str, str] = {
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
"""Field of typed contents by datatype. FP16 has none."""

Fill = Callable[[v1.Column, Sequence[int], Any], None]
"""Puts a tensor's contents into a column, by the tensor's shape: `fill_raw`, `fill_typed`, `fill_json`."""

_LENGTH = struct.Struct("<I")
_NESTED = re.compile(rb"\s*\[\s*\[")
_PACKED_AS_THEY_ARE = frozenset({"bool_contents", "fp32_contents", "fp64_contents"})
_DATATYPES = {kind: type_name(kind) for kind in DTYPES} | {STRING: "BYTES", BYTES: "BYTES"}


class TensorError(ValueError):
    """Elements do not go with what their tensor says of itself; the message continues the tensor's name."""


def datatype_of_type(kind: int) -> str:
    """Returns the datatype of tensors for columns of a type: its name, BYTES for STRING."""
    return _DATATYPES[kind]


def datatype_of(column: v1.Column) -> str:
    """Returns the datatype of a column's tensor."""
    return _DATATYPES[column.type]


def is_typed(column: v1.Column) -> bool:
    """Whether typed contents can hold the column: all but FP16."""
    return _DATATYPES[column.type] in FIELDS


def raw_of_column(column: v1.Column) -> bytes:
    """Returns a column's elements as `raw_input_contents` holds them."""
    if column.type not in TEXTS:
        return column.values
    return b"".join([part for blob in _blobs_of(column) for part in (_LENGTH.pack(len(blob)), blob)])


def typed_of_column(column: v1.Column) -> InferTensorContents:
    """Returns a column's elements in the field of their datatype.

    Raises:
        TensorError: FP16, which has no field.
    """
    field = FIELDS.get(_DATATYPES[column.type])
    if field is None:
        raise TensorError(f"is {type_name(column.type)}, which typed contents cannot hold")
    if field in _PACKED_AS_THEY_ARE:
        values = column.values
        return InferTensorContents.FromString(_packed_head(field, len(values)) + values if values else b"")
    contents = InferTensorContents()
    getattr(contents, field).extend(_blobs_of(column) if column.type in TEXTS else _numbers_of(column).tolist())
    return contents


def json_of_column(column: v1.Column, *, is_nan_null: bool) -> list[Any]:
    """Returns a column's elements as JSON holds them, flat.

    Args:
        column: the column.
        is_nan_null: whether NaN may stay, because who writes the text makes `null` of it.

    Raises:
        TensorError: an infinite number, NaN where it may not stay, or bytes that are no UTF-8 text.
    """
    if column.type not in TEXTS:
        numbers = _numbers_of(column)
        if numbers.dtype.kind == "f" and (np.isinf(numbers).any() if is_nan_null else not np.isfinite(numbers).all()):
            raise TensorError(f"has {'' if is_nan_null else 'NaN or '}an infinite number, which JSON cannot hold")
        elements: list[Any] = numbers.tolist()
        return elements
    if column.type == STRING:
        return list(column.strings)
    try:
        return [blob.decode() for blob in column.blobs]
    except UnicodeDecodeError as error:
        raise TensorError("has bytes that are no UTF-8 text, which JSON cannot hold") from error


def fill_raw(column: v1.Column, shape: Sequence[int], raw: bytes) -> None:
    """Puts the elements of a tensor of *shape*, as raw contents hold them, into a column that has a type.

    Raises:
        TensorError: they are not as many, or a text is not UTF-8.
    """
    dtype, count = DTYPES.get(column.type), prod(shape)
    if dtype is None:
        _put_blobs(column, _split_raw(raw, count))
        return
    if len(raw) != count * dtype.itemsize:
        raise TensorError(
            f"has {len(raw)} bytes of raw contents: {count} elements of {datatype_of(column)} are "
            f"{count * dtype.itemsize} bytes"
        )
    column.values = raw


def fill_typed(column: v1.Column, shape: Sequence[int], contents: InferTensorContents) -> None:
    """Puts the elements of a tensor of *shape*, as typed contents hold them, into a column that has a type.

    Raises:
        TensorError: they are not as many, are in another field, do not fit the type, or a text is not UTF-8.
    """
    datatype = _DATATYPES[column.type]
    field = FIELDS.get(datatype)
    if field is None:
        raise TensorError(f"is {datatype}, which typed contents cannot hold")
    elements, count = getattr(contents, field), prod(shape)
    if len(elements) != count:
        raise TensorError(f"has {len(elements)} elements in {field}: its shape {list(shape)} needs {count}")
    if column.type in TEXTS:
        _put_blobs(column, elements)
    elif count:
        column.values = _packed(field, contents, DTYPES[column.type]) or _narrowed(column.type, elements, count)


def fill_json(column: v1.Column, shape: Sequence[int], raw: bytes | msgspec.Raw) -> None:
    """Puts the elements of a JSON array, flat or nested as *shape*, into a column that has a type.

    `null` among floats is NaN. Among other types it is an error.

    Raises:
        TensorError: they are not as many, do not fit the type, or the nesting is another.
    """
    is_nested = len(shape) > 1 and _starts_nested(raw)
    try:
        data = _decoder(column.type, len(shape) if is_nested else 1).decode(raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise TensorError(
            f"has data that are no {'nested' if is_nested else 'flat'} array of {_json_kind(column.type)}: {error}"
        ) from error
    fill_elements(column, shape, data)


def fill_elements(column: v1.Column, shape: Sequence[int], data: object) -> None:
    """Puts Python elements, flat or nested as *shape*, into a column that has a type; None among floats is NaN.

    Raises:
        TensorError: as `fill_json`.
    """
    if not isinstance(data, list):
        raise TensorError("has data that are no array")
    flat = _flattened(data, shape)
    if column.type in TEXTS:
        if any(type(element) is not str for element in flat):
            raise TensorError("has elements that are no text, and its datatype is BYTES")
        try:
            _put_blobs(column, [text.encode() for text in flat])
        except UnicodeEncodeError as error:
            raise TensorError("has a text with a lone surrogate, which UTF-8 cannot hold") from error
    elif flat:
        column.values = _fitted(column.type, _as_array(column.type, flat))


def _put_blobs(column: v1.Column, blobs: Iterable[bytes]) -> None:
    if column.type == BYTES:
        column.blobs.extend(blobs)
        return
    texts: list[str] = []
    try:
        for blob in blobs:
            texts.append(blob.decode())  # noqa: PERF401 # how far it came tells the element
    except UnicodeDecodeError as error:
        raise TensorError(
            f"has in element {len(texts)} the byte 0x{error.object[error.start]:02x} at {error.start}, "
            "which is no UTF-8 text"
        ) from error
    column.strings.extend(texts)


def _split_raw(raw: bytes, count: int) -> list[bytes]:
    blobs: list[bytes] = []
    position, end, size = 0, len(raw), _LENGTH.size
    while position < end:
        start = position + size
        if start > end:
            raise TensorError(f"ends in the middle of the length of element {len(blobs)}")
        position = start + _LENGTH.unpack_from(raw, position)[0]
        if position > end:
            raise TensorError(
                f"ends in the middle of element {len(blobs)}, which should have {position - start} bytes: "
                "each element of BYTES follows its length in 4 bytes, little endian"
            )
        blobs.append(raw[start:position])
    if len(blobs) != count:
        raise TensorError(f"has {len(blobs)} elements in its raw contents: its shape needs {count}")
    return blobs


def _packed(field: str, contents: InferTensorContents, dtype: "np.dtype[Any]") -> bytes | None:
    """Returns the packed bytes of a field whose encoding is the frame's own; None where it is not."""
    if field not in _PACKED_AS_THEY_ARE:
        return None
    size = len(getattr(contents, field)) * dtype.itemsize
    wire = contents.SerializeToString()
    return wire[-size:] if len(wire) == size + len(_packed_head(field, size)) else None


def _packed_head(field: str, size: int) -> bytes:
    """Returns tag and length before *size* packed bytes."""
    number = InferTensorContents.DESCRIPTOR.fields_by_name[field].number
    head = bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head)


def _narrowed(kind: int, elements: Any, count: int) -> bytes:
    """Returns the bytes of elements that travel in a wider field."""
    wide = DTYPES[kind] if DTYPES[kind].kind in "fb" else np.dtype("<u8" if DTYPES[kind].kind == "u" else "<i8")
    return _fitted(kind, np.fromiter(elements, wide, count))


def _as_array(kind: int, flat: list[Any]) -> "np.ndarray[Any, Any]":
    dtype = DTYPES[kind]
    found = set(map(type, flat))
    if not found <= ({int, float, type(None)} if dtype.kind == "f" else {int, float, bool}):
        null = "null among its elements" if type(None) in found else "an element"
        raise TensorError(f"has {null}, which {type_name(kind)} does not hold")
    try:
        if dtype.kind == "f":
            return np.array(flat, dtype="<f8")  # None becomes NaN
        if found == {int}:
            return np.array(flat, dtype="<u8" if dtype.kind == "u" else "<i8")
        return np.array(flat)
    except OverflowError as error:
        raise TensorError(f"has an element that {type_name(kind)} does not hold") from error


def _fitted(kind: int, array: "np.ndarray[Any, Any]") -> bytes:
    """Returns the bytes of *array* in the type; refuses what it does not hold, precision of floats aside."""
    dtype = DTYPES[kind]
    if array.dtype == dtype:
        return array.tobytes()
    with np.errstate(all="ignore"):
        made = array.astype(dtype)
    wrong = np.isinf(made) & ~np.isinf(array) if dtype.kind == "f" else made != array
    if wrong.any():
        raise TensorError(f"has the element {array[wrong][0]}, which {type_name(kind)} does not hold")
    return made.tobytes()


def _flattened(data: list[Any], shape: Sequence[int]) -> list[Any]:
    count = prod(shape)
    if len(shape) > 1 and data and isinstance(data[0], list):
        for size in shape[1:]:
            if any(not isinstance(part, list) or len(part) != size for part in data):
                raise TensorError(f"has data that are nested in another way than its shape {list(shape)} says")
            data = [element for part in data for element in part]
    if len(data) != count:
        raise TensorError(f"has {len(data)} elements: its shape {list(shape)} needs {count}")
    return data


def _starts_nested(raw: bytes | msgspec.Raw) -> bool:
    return _NESTED.match(memoryview(raw)) is not None


@cache
def _decoder(kind: int, rank: int) -> "msgspec.json.Decoder[list[Any]]":
    element: Any = str if kind in TEXTS else {"f": float | None, "b": bool}.get(DTYPES[kind].kind, int)
    for _ in range(rank):
        element = list[element]
    return msgspec.json.Decoder(element)


def _json_kind(kind: int) -> str:
    if kind in TEXTS:
        return "texts"
    return {"f": "numbers", "b": "true and false"}.get(DTYPES[kind].kind, "whole numbers")


def _numbers_of(column: v1.Column) -> "np.ndarray[Any, Any]":
    return np.frombuffer(column.values, DTYPES[column.type])


def _blobs_of(column: v1.Column) -> Sequence[bytes]:
    return [text.encode() for text in column.strings] if column.type == STRING else column.blobs

"""Columns as tensors of a model server: `rendezvous_router.oip.tensors`, with errors that say whose fault it is.

What cannot be sent is the request's fault, what cannot be read is the model's. The batch is a tensor's first dimension.
What comes as BYTES is read as such.
"""

from collections.abc import Sequence
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidOutputError, SignatureMismatchError
from rendezvous_proto.frames import type_number
from rendezvous_proto.inference import InferTensorContents

from rendezvous_router.oip import tensors
from rendezvous_router.oip.tensors import STRING, Fill, TensorError, datatype_of, raw_of_column

__all__ = [
    "column_of_json",
    "column_of_raw",
    "column_of_typed",
    "datatype_of",
    "json_of_column",
    "raw_of_column",
    "typed_of_column",
]


def typed_of_column(column: v1.Column) -> InferTensorContents:
    """Returns a column's elements in the field of their datatype.

    Raises:
        SignatureMismatchError: FP16, which has no field.
    """
    try:
        return tensors.typed_of_column(column)
    except TensorError as error:
        raise _unsendable(column, f"{error}: use contents: raw") from error


def json_of_column(column: v1.Column) -> list[Any]:
    """Returns a column's elements as JSON holds them, flat.

    Raises:
        SignatureMismatchError: NaN, an infinite number, or bytes that are no UTF-8 text.
    """
    try:
        return tensors.json_of_column(column, is_nan_null=False)
    except TensorError as error:
        raise _unsendable(column, f"{error}: use oip+grpc") from error


def column_of_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes, rows: int) -> v1.Column:
    """Returns the column of a tensor whose elements are in `raw_output_contents`.

    Raises:
        InvalidOutputError: unknown datatype, another number of rows, or a length that does not go with the shape.
    """
    return _filled(name, datatype, shape, rows, tensors.fill_raw, raw)


def column_of_typed(
    name: str, datatype: str, shape: Sequence[int], contents: InferTensorContents, rows: int
) -> v1.Column:
    """Returns the column of a tensor whose elements are in its typed contents.

    Raises:
        InvalidOutputError: as `column_of_raw`; or a value that the datatype does not hold.
    """
    return _filled(name, datatype, shape, rows, tensors.fill_typed, contents)


def column_of_json(name: str, datatype: str, shape: Sequence[int], data: object, rows: int) -> v1.Column:
    """Returns the column of a tensor whose elements are JSON, flat or nested; `null` among floats is NaN.

    Raises:
        InvalidOutputError: as `column_of_typed`.
    """
    return _filled(name, datatype, shape, rows, tensors.fill_elements, data)


def _filled(name: str, datatype: str, shape: Sequence[int], rows: int, fill: Fill, contents: Any) -> v1.Column:
    try:
        kind = type_number(datatype)
    except InvalidFrameError:
        kind = 0
    if kind in (0, STRING):
        raise _invalid(name, f"has the datatype {datatype!r}, which cannot be read here")
    if not shape or shape[0] != rows:
        raise _invalid(name, f"has the shape {list(shape)} for {rows} rows: its first dimension must be the rows")
    column = v1.Column(name=name, type=v1.DataType.Name(kind), shape=shape[1:])
    try:
        fill(column, shape, contents)
    except TensorError as error:
        raise _invalid(name, str(error)) from error
    return column


def _unsendable(column: v1.Column, fault: str) -> SignatureMismatchError:
    return SignatureMismatchError(f"input of the model: {column.name!r} {fault}", {"column": column.name})


def _invalid(name: str, fault: str) -> InvalidOutputError:
    return InvalidOutputError(f"output of the model: {name!r} {fault}", {"column": name})

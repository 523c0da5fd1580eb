"""Columns as tensors of the Open Inference Protocol and back: raw, typed, JSON; every datatype."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidOutputError, SignatureMismatchError
from rendezvous_proto.frames import FrameView, encode_frame, type_name
from rendezvous_proto.inference import InferTensorContents
from rendezvous_router.bridge.tensors import (
    column_of_json,
    column_of_raw,
    column_of_typed,
    datatype_of,
    json_of_column,
    raw_of_column,
    typed_of_column,
)

CASES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**53 + 1],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [-0.5, 65504.0],
    "FP32": [-0.25, 2.0**100],
    "FP64": [0.1, -1e300],
    "BYTES": [b"", b"a\x00\xc3\xa4"],
    "STRING": ["", "zähle"],
}
SHAPED = {"FP64": [[1.0, 2.0], [3.0, 4.0]], "STRING": [["a", ""], ["b", "ä"]]}


def through_raw(column: v1.Column, rows: int) -> v1.Column:
    """Sends a column as raw contents and reads it back."""
    return column_of_raw(column.name, datatype_of(column), [rows, *column.shape], raw_of_column(column), rows)


def through_typed(column: v1.Column, rows: int) -> v1.Column:
    """Sends a column as typed contents over the wire and reads it back."""
    contents = InferTensorContents.FromString(typed_of_column(column).SerializeToString())
    return column_of_typed(column.name, datatype_of(column), [rows, *column.shape], contents, rows)


def through_json(column: v1.Column, rows: int) -> v1.Column:
    """Sends a column as JSON text and reads it back."""
    data = json.loads(json.dumps(json_of_column(column)))
    return column_of_json(column.name, datatype_of(column), [rows, *column.shape], data, rows)


KINDS = [*CASES, "FP64 shaped", "STRING shaped"]
WAYS = [
    (through, kind)
    for through in (through_raw, through_typed, through_json)
    for kind in KINDS
    if (through, kind) != (through_typed, "FP16")  # typed contents have no field for it
]


@pytest.mark.parametrize(("through", "kind"), WAYS)
def test_every_datatype_comes_back(through: Callable[[v1.Column, int], v1.Column], kind: str) -> None:
    """Each datatype survives each way of writing it; text comes back as the bytes that it is there."""
    name, _, is_shaped = kind.partition(" ")
    values = SHAPED[name] if is_shaped else CASES[name]
    column = encode_frame({"x": values}, types={"x": name}).columns[0]
    back = through(column, 2)
    expected = "BYTES" if name == "STRING" else name
    assert (type_name(back.type), list(back.shape)) == (expected, list(column.shape))
    received = FrameView(v1.Frame(rows=2, columns=[back]))["x"].tolist()
    assert received == _bytes(values)


def _bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_bytes(value) for value in values]
    return values.encode() if isinstance(values, str) else values


def test_raw_contents_are_the_frames_own_bytes() -> None:
    """Fixed-width columns are sent as they are; an element of BYTES follows its length, little endian."""
    numbers = encode_frame({"x": np.array([1, 2], "<i2")}).columns[0]
    assert raw_of_column(numbers) == b"\x01\x00\x02\x00"
    assert raw_of_column(encode_frame({"x": ["ab", ""]}).columns[0]) == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"


def test_json_may_be_nested_and_hold_null_for_nan() -> None:
    """Data nested by shape is read row-major; `null` among floats is NaN, which JSON cannot hold."""
    column = column_of_json("x", "FP32", [2, 2], [[1, 2.5], [None, 4]], 2)
    values = FrameView(v1.Frame(rows=2, columns=[column]))["x"]
    assert np.array_equal(values, [[1, 2.5], [np.nan, 4]], equal_nan=True)


@pytest.mark.parametrize(
    ("send", "table", "message"),
    [
        (typed_of_column, {"x": np.array([1.0], "<f2")}, "use contents: raw"),
        (json_of_column, {"x": [1.0, float("nan")]}, "JSON cannot hold: use oip+grpc"),
        (json_of_column, {"x": [float("-inf")]}, "JSON cannot hold"),
        (json_of_column, {"x": [b"\xff"]}, "no UTF-8 text"),
    ],
)
def test_what_cannot_be_written_is_the_requests_fault(
    send: Callable[[v1.Column], Any], table: dict[str, Any], message: str
) -> None:
    """A value that this way of writing cannot hold is SIGNATURE_MISMATCH, and the message says what can."""
    with pytest.raises(SignatureMismatchError) as caught:
        send(encode_frame(table).columns[0])
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "message"),
    [
        ("BF16", [2], b"\0" * 4, "datatype 'BF16'"),
        ("STRING", [2], b"", "datatype 'STRING'"),
        ("FP32", [3], b"\0" * 12, "for 2 rows"),
        ("FP32", [], b"\0" * 4, "for 2 rows"),
        ("FP32", [2, 2], b"\0" * 8, "4 elements of FP32 are 16 bytes"),
        ("FP32", [2], b"\0" * 7, "has 7 bytes of raw contents"),
        ("BYTES", [2], b"\x01\0\0\0a", "its shape needs 2"),
        ("BYTES", [2], b"\x09\0\0\0a", "ends in the middle"),
        ("BYTES", [2], b"\x01\0", "ends in the middle"),
    ],
)
def test_malformed_raw_answers_are_the_models_fault(datatype: str, shape: list[int], raw: bytes, message: str) -> None:
    """A tensor that contradicts itself or the rows is INVALID_OUTPUT."""
    with pytest.raises(InvalidOutputError) as caught:
        column_of_raw("y", datatype, shape, raw, 2)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("INT8", [1, 300], "the element 300, which INT8 does not hold"),
        ("INT64", [1, 2.5], "the element 2.5, which INT64 does not hold"),
        ("INT64", [1, None], "null"),
        ("FP64", [1.0, "x"], "FP64 does not hold"),
        ("BYTES", ["a", 1], "no text"),
        ("FP64", [1.0], "its shape [2] needs 2"),
    ],
)
def test_malformed_json_answers_are_the_models_fault(datatype: str, data: list[Any], message: str) -> None:
    """Elements that their datatype does not hold are INVALID_OUTPUT."""
    with pytest.raises(InvalidOutputError) as caught:
        column_of_json("y", datatype, [2], data, 2)
    assert message in caught.value.message


def test_typed_contents_beyond_their_datatype_are_the_models_fault() -> None:
    """INT8 travels in 32 bits; what does not fit 8 is refused, not cut."""
    with pytest.raises(InvalidOutputError, match="the element 200, which INT8 does not hold"):
        column_of_typed("y", "INT8", [1], InferTensorContents(int_contents=[200]), 1)

"""Encoding of what people have, and reading it back."""

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import (
    FrameView,
    column_width,
    encode_frame,
    join_frames,
    slice_frame,
    split_frame,
    type_name,
    type_number,
)

NAN = float("nan")
STAMP = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
MICROS = 1577836800000000

TAKEN: list[tuple[str, Any, str, list[Any]]] = [
    ("bool", [True, None], "BOOL", [True, None]),
    ("int", [1, None, -(2**63)], "INT64", [1, None, -(2**63)]),
    ("large int", [1, 2**63], "UINT64", [1, 2**63]),
    ("int and float", [1, 2.5, None], "FP64", [1.0, 2.5, None]),
    ("NumPy scalars", [np.float32(1.5), np.int8(2)], "FP64", [1.5, 2.0]),
    ("text", ["a", None, ""], "STRING", ["a", None, ""]),
    ("text and NaN", ["a", NAN], "STRING", ["a", None]),
    ("bytes", [b"a", None, bytearray(b"b")], "BYTES", [b"a", None, b"b"]),
    ("tuple", (1.0, 2.0), "FP64", [1.0, 2.0]),
    ("pandas' nothings", ["a", pd.NA, pd.NaT], "STRING", ["a", None, None]),
    ("points in time", [STAMP, None], "INT64", [MICROS, None]),
    ("points in time without zone", [STAMP.replace(tzinfo=None)], "INT64", [MICROS]),
    ("nested lists", [[1, 2], None, [3, 4]], "INT64", [[1, 2], None, [3, 4]]),
    ("nested text", [["a", "b"], None], "STRING", [["a", "b"], None]),
    ("arrays in a list", [np.array([1, 2], dtype=np.float32), None], "FP32", [[1.0, 2.0], None]),
    ("big endian", np.array([1.5, -2.5], dtype=">f8"), "FP64", [1.5, -2.5]),
    ("big endian integers", np.array([1, -2], dtype=">i4"), "INT32", [1, -2]),
    ("strided", np.arange(6, dtype=np.int16)[::2], "INT16", [0, 2, 4]),
    ("Fortran order", np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "FP64", [[1.0, 2.0], [3.0, 4.0]]),
    ("half floats", np.array([0.5, NAN], dtype=np.float16), "FP16", [0.5, NAN]),
    ("NumPy text", np.array(["a", "bc"]), "STRING", ["a", "bc"]),
    ("NumPy bytes", np.array([b"a", b"bc"]), "BYTES", [b"a", b"bc"]),
    ("object array", np.array([1, None], dtype=object), "INT64", [1, None]),
    ("NumPy time", np.array(["2020-01-01", "NaT"], dtype="M8[ns]"), "INT64", [MICROS, None]),
    ("no elements a row", np.empty((2, 0), dtype=np.int8), "INT8", [[], []]),
    ("Int64", pd.Series([1, None], dtype="Int64"), "INT64", [1, None]),
    ("large UInt64", pd.Series([2**64 - 1, None], dtype="UInt64"), "UINT64", [2**64 - 1, None]),
    ("boolean", pd.Series([True, None], dtype="boolean"), "BOOL", [True, None]),
    ("Float32", pd.Series([1.5, None], dtype="Float32"), "FP32", [1.5, None]),
    ("float with NaN", pd.Series([1.5, NAN]), "FP64", [1.5, NAN]),
    ("string", pd.Series(["a", None], dtype="string"), "STRING", ["a", None]),
    ("str", pd.Series(["a", None]), "STRING", ["a", None]),
    ("object", pd.Series(["a", NAN, None], dtype=object), "STRING", ["a", None, None]),
    ("category", pd.Series(["u", None, "v"], dtype="category"), "STRING", ["u", None, "v"]),
    ("category of integers", pd.Series([3, None], dtype=pd.CategoricalDtype([3, 4])), "INT64", [3, None]),
    ("datetime", pd.Series([pd.Timestamp(STAMP), None]), "INT64", [MICROS, None]),
    ("datetime elsewhere", pd.Series([STAMP, None]).dt.tz_convert("Asia/Tokyo"), "INT64", [MICROS, None]),
    ("Arrow dtype", pd.Series([1, None], dtype=pd.ArrowDtype(pa.int32())), "INT32", [1, None]),
    ("pandas index", pd.Index([1, 2]), "INT64", [1, 2]),
    ("Arrow", pa.array([1, None, 3], pa.uint16()), "UINT16", [1, None, 3]),
    ("Arrow large integers", pa.array([2**63 - 1, None]), "INT64", [2**63 - 1, None]),
    ("Arrow slice", pa.array([9, 1, None, 3], pa.int64())[1:], "INT64", [1, None, 3]),
    ("Arrow bool", pa.array([True, None]), "BOOL", [True, None]),
    ("Arrow half floats", pa.array([np.float16(1.5), None], pa.float16()), "FP16", [1.5, None]),
    ("Arrow chunks", pa.chunked_array([[1.5], [], [None, NAN]]), "FP64", [1.5, None, NAN]),
    ("Arrow no chunks", pa.chunked_array([], pa.int8()), "INT8", []),
    ("Arrow dictionary", pa.array(["a", None, "a"]).dictionary_encode(), "STRING", ["a", None, "a"]),
    ("Arrow dictionary chunks", pa.chunked_array([["a"], ["b", None]]).dictionary_encode(), "STRING", ["a", "b", None]),
    ("Arrow large text", pa.array(["a", None], pa.large_string()), "STRING", ["a", None]),
    ("Arrow binary", pa.array([b"a", None]), "BYTES", [b"a", None]),
    ("Arrow time", pa.array([MICROS * 1000, None], pa.timestamp("ns", "UTC")), "INT64", [MICROS, None]),
    ("Arrow vectors", pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)), "INT32", [[1, 2], [3, 4]]),
    ("Arrow vectors with null", pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), "INT64", [[1, 2], None]),
    ("Arrow lists of one length", pa.array([[1.0], [2.0]]), "FP64", [[1.0], [2.0]]),
]


@pytest.mark.parametrize(("source", "kind", "values"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_columns_are_taken(source: Any, kind: str, values: list[Any]) -> None:
    """A column of any usual kind gets its type, and its values and missing rows come back."""
    view = FrameView(encode_frame({"x": source}))
    assert type_name(view.type("x")) == kind
    np.testing.assert_equal(view.column("x"), values)
    assert [type(each) for each in view.column("x")] == [type(each) for each in values]


REFUSED: list[tuple[str, Any, dict[str, str] | None, str]] = [
    ("mixed", [1, "a"], None, "column 'x': its values mix types (int, str)"),
    ("all missing", [None, None], None, "column 'x': its type cannot be told"),
    ("none", [], None, "types={'x': 'FP64'}"),
    ("scalar", 1.0, None, "column 'x': a value of type float is no column"),
    ("text", "abc", None, "column 'x': a value of type str is no column"),
    ("scalar array", np.array(1.0), None, "column 'x': a scalar is no column"),
    ("complex", np.array([1j]), None, "column 'x': NumPy dtype complex128"),
    ("longdouble", np.array([1], dtype=np.longdouble), None, "column 'x': NumPy dtype"),
    ("timedelta", np.array([1], dtype="m8[s]"), None, "column 'x': NumPy dtype timedelta64"),
    ("pandas period", pd.Series(pd.period_range("2020", periods=2, freq="D")), None, "column 'x': pandas dtype period"),
    ("decimal", [decimal.Decimal(1)], None, "column 'x': values of type Decimal"),
    ("dict", [{"a": 1}], None, "column 'x': values of type dict"),
    ("Arrow decimal", pa.array([decimal.Decimal(1)]), None, "column 'x': Arrow type decimal128"),
    ("Arrow date", pa.array([dt.date(2020, 1, 1)]), None, "column 'x': Arrow type date32"),
    ("ragged", [[1], [1, 2]], None, "column 'x': its rows differ in shape"),
    ("list and scalar", [[1], 2], None, "column 'x': its values mix scalars and lists"),
    ("missing inside", [[1, None]], None, "column 'x': missing inside a shaped value"),
    ("nine dimensions", np.zeros((1,) * 10), None, "column 'x': 9 dimensions a row: at most 8"),
    ("too large an integer", [2**64], None, "column 'x': integers from"),
    ("lone surrogate", ["a", "\ud800"], None, "column 'x': element 1 has a lone surrogate"),
    ("out of range", [300], {"x": "INT8"}, "column 'x': a value of type INT64 does not fit type INT8"),
    ("negative", [-1], {"x": "UINT64"}, "does not fit type UINT64"),
    ("fraction", [1.5], {"x": "INT64"}, "does not fit type INT64"),
    ("NaN as integer", [NAN], {"x": "INT64"}, "does not fit type INT64"),
    ("2**63 as integer", [2.0**63], {"x": "INT64"}, "does not fit type INT64"),
    ("overflow", [1e300], {"x": "FP32"}, "does not fit type FP32"),
    ("two as BOOL", [2], {"x": "BOOL"}, "does not fit type BOOL"),
    ("text as number", ["1"], {"x": "FP64"}, "column 'x': STRING values do not fit type FP64"),
    ("number as text", [1], {"x": "STRING"}, "column 'x': INT64 values do not fit type STRING"),
    ("unknown type", [1], {"x": "FLOAT"}, "type 'FLOAT' is unknown: use one of BOOL, "),
    ("type of no column", [1], {"y": "FP64"}, "column 'y' is named in `types`"),
]


@pytest.mark.parametrize(
    ("source", "types", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_columns_are_refused(source: Any, types: dict[str, str] | None, message: str) -> None:
    """What has no type here is refused with the column's name and what to do."""
    with pytest.raises(InvalidFrameError) as caught:
        encode_frame({"x": source}, types=types)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1], "b": [1, 2]}, "column 'b': has 2 rows, column 'a' has 1"),
        ({"": [1]}, "its name, '', must be text and not empty"),
        ({1: [1]}, "its name, 1, must be text"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "its name, 'a', is there twice"),
        (pa.table([[1], [2]], names=["a", "a"]), "its name, 'a', is there twice"),
        ([{"a": 1}, 2], "row 1 is of type int"),
        ("abc", "a table of type str cannot be encoded"),
        (3, "a table of type int cannot be encoded"),
    ],
)
def test_tables_are_refused(table: Any, message: str) -> None:
    """A table that is none is refused with what to give instead."""
    with pytest.raises(InvalidFrameError) as caught:
        encode_frame(table)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("table", "records"),
    [
        ([{"a": 1, "b": "x"}, {"b": "y"}], [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]),
        (pd.DataFrame({"a": [1, 2]}, index=[7, 8]), [{"a": 1}, {"a": 2}]),
        (pa.table({"a": [1, None]}), [{"a": 1}, {"a": None}]),
        (pa.record_batch({"a": [1, None]}), [{"a": 1}, {"a": None}]),
        ({}, []),
        ([], []),
    ],
)
def test_tables_of_every_kind(table: Any, records: list[dict[str, Any]]) -> None:
    """Rows, DataFrames and Arrow tables give the same records back."""
    assert FrameView(encode_frame(table)).to_records() == records


@pytest.mark.parametrize("kind", ["BOOL", "INT8", "UINT64", "FP16", "FP64", "STRING", "BYTES"])
def test_types_make_columns_without_values(kind: str) -> None:
    """With a type named, a column may be empty or missing altogether."""
    for values in ([], [None, None]):
        view = FrameView(encode_frame({"x": values}, types={"x": kind}))
        assert (view.column("x"), type_name(view.type("x"))) == (values, kind)
    assert FrameView(encode_frame([], types={"x": kind})).names == ("x",)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [([1, 2], "FP32", [1.0, 2.0]), ([1.0, None], "INT8", [1, None]), ([1, 0], "BOOL", [True, False])],
)
def test_types_convert_without_loss(values: list[Any], kind: str, expected: list[Any]) -> None:
    """Numbers are converted to the type asked for where nothing is lost."""
    assert FrameView(encode_frame({"x": values}, types={"x": kind})).column("x") == expected


def test_arrays_are_views_of_the_message() -> None:
    """Fixed-width columns are read-only and share memory with the message; texts are objects with None."""
    view = FrameView(encode_frame({"v": np.ones((3, 2), dtype=np.float32), "s": ["a", None, "b"]}))
    array = view["v"]
    assert (array.shape, str(array.dtype), array.flags.writeable, array.flags.owndata) == (
        (3, 2),
        "float32",
        False,
        False,
    )
    assert view["s"].tolist() == ["a", None, "b"]
    assert (len(view), "v" in view, "z" in view, view.shape("v"), view.missing("v")) == (3, True, False, (2,), None)
    with pytest.raises(KeyError):
        view["z"]


def test_pandas_keeps_missing_apart() -> None:
    """A DataFrame of a frame has nullable dtypes where rows are missing and NumPy's where none is."""
    frame = encode_frame(
        {"i": [1, None], "b": [True, None], "f": [NAN, None], "g": [NAN, 1.0], "s": ["a", None], "v": [[1], None]}
    )
    table = FrameView(frame).to_pandas()
    assert [str(dtype) for dtype in table.dtypes] == ["Int64", "boolean", "Float64", "float64", "object", "object"]
    assert FrameView(encode_frame(table)).column("i") == [1, None]


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 3), (2, 1)])
def test_slices_outside_are_refused(start: int, stop: int) -> None:
    """Rows that are not there cannot be cut out."""
    with pytest.raises(InvalidFrameError, match="of a frame of 2 rows"):
        slice_frame(encode_frame({"x": [1, 2]}), start, stop)


@pytest.mark.parametrize("sizes", [[1], [3], [3, -1], []])
def test_parts_that_do_not_add_up_are_refused(sizes: list[int]) -> None:
    """Parts must add up to the frame's rows."""
    with pytest.raises(InvalidFrameError, match="of a frame of 2 rows"):
        split_frame(encode_frame({"x": [1, 2]}), sizes)


@pytest.mark.parametrize("other", [{"y": [1]}, {"x": [1.0]}, {"x": [[1]]}, {"x": [1], "y": [1]}, {}, {"x": ["a"]}])
@pytest.mark.parametrize("count", [1, 9])
def test_frames_of_other_columns_do_not_join(other: dict[str, Any], count: int) -> None:
    """Only frames of the same columns are joined; the message names the frame."""
    frames = [encode_frame({"x": [1]})] * count + [encode_frame(other)]
    with pytest.raises(InvalidFrameError, match=f"frame {count} has"):
        join_frames(frames)


def test_joining_none_and_one() -> None:
    """No frames make a frame without rows; one frame is itself."""
    one = encode_frame({"x": [1]})
    assert join_frames([]) == v1.Frame()
    assert join_frames([one]) is one


def test_types_have_names_numbers_and_widths() -> None:
    """Names, with or without prefix, and numbers stand for each other; unknown ones are refused."""
    assert type_number("DATA_TYPE_FP64") == type_number("FP64") == type_number(12) == v1.DataType.DATA_TYPE_FP64
    widths = {"BOOL": 1, "INT16": 2, "FP32": 4, "UINT64": 8, "STRING": 0, "BYTES": 0}
    assert {name: column_width(type_number(name)) for name in widths} == widths
    assert type_name(99) == "99"
    for unknown in (0, 99, "UNSPECIFIED", "fp64"):
        with pytest.raises(InvalidFrameError, match="is unknown"):
            type_number(unknown)

"""Tensors to frames and back: any table, through each way of writing it, bit for bit."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendezvous.spec import ColumnSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError, SignatureMismatchError, UnimplementedError
from rendezvous_proto.frames import check_frame
from rendezvous_proto.inference import InferTensorContents
from rendezvous_router.oip.inputs import KINDS, MISSING, Tensor, frame_of
from rendezvous_router.oip.outputs import check_wanted, pick_outputs
from rendezvous_router.oip.parameters import legal_id, read_wishes, refuse_shared_memory
from rendezvous_router.oip.tensors import (
    DTYPES,
    TEXTS,
    TensorError,
    datatype_of,
    fill_json,
    fill_raw,
    fill_typed,
    json_of_column,
    raw_of_column,
    typed_of_column,
)

WHAT = "endpoint e"


@st.composite
def columns(draw: st.DrawFn, name: str, rows: int) -> v1.Column:
    """Any sound column of *rows* rows, missing ones among them; floats of any bits."""
    kind = draw(st.sampled_from(sorted(KINDS.values())))
    shape = draw(st.lists(st.integers(1, 3), max_size=2))
    mask = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    each = prod(shape)
    column = v1.Column(name=name, type=kind, shape=shape)  # type: ignore[arg-type] # the enum's number
    if mask.any():
        column.missing = np.packbits(mask, bitorder="little").tobytes()
    gone = mask.repeat(each)
    if kind in TEXTS:
        texts = draw(st.lists(st.text(max_size=5), min_size=rows * each, max_size=rows * each))
        kept = ["" if is_gone else text for text, is_gone in zip(texts, gone, strict=True)]
        (column.strings if kind == KINDS["STRING"] else column.blobs).extend(
            kept if kind == KINDS["STRING"] else [text.encode() for text in kept]
        )
        return column
    width = DTYPES[kind].itemsize
    octets = np.frombuffer(draw(st.binary(min_size=rows * each * width, max_size=rows * each * width)), np.uint8)
    values = (octets & 1 if kind == KINDS["BOOL"] else octets.copy()).reshape(rows * each, width)
    values[gone] = 0
    column.values = values.tobytes()
    return column


@st.composite
def frames(draw: st.DrawFn) -> v1.Frame:
    """Any sound frame of a few rows and columns."""
    rows = draw(st.integers(1, 5))
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
    names = [name for name in names if not name.endswith(MISSING)] or ["x"]
    return v1.Frame(rows=rows, columns=[draw(columns(name, rows)) for name in names])


def raw(column: v1.Column, shape: Sequence[int]) -> Tensor:
    """Writes a column as raw contents."""
    return Tensor(column.name, datatype_of(column), shape, fill_raw, raw_of_column(column))


def typed(column: v1.Column, shape: Sequence[int]) -> Tensor:
    """Writes a column as typed contents, over the wire; FP16 raw."""
    if column.type == KINDS["FP16"]:
        return raw(column, shape)
    contents = InferTensorContents.FromString(typed_of_column(column).SerializeToString())
    return Tensor(column.name, datatype_of(column), shape, fill_typed, contents)


def as_json(column: v1.Column, shape: Sequence[int]) -> Tensor:
    """Writes a column as JSON; raw where it has numbers that JSON does not, and where NaN has bits of its own."""
    dtype = DTYPES.get(column.type)
    if dtype is not None and dtype.kind == "f" and not np.isfinite(np.frombuffer(column.values, dtype)).all():
        return raw(column, shape)
    data = msgspec.Raw(msgspec.json.encode(json_of_column(column, is_nan_null=True)))
    return Tensor(column.name, datatype_of(column), shape, fill_json, data)


@pytest.mark.parametrize("write", [raw, typed, as_json])
@given(frame=frames())
def test_any_table_comes_back_bit_for_bit(write: Callable[[v1.Column, Sequence[int]], Tensor], frame: v1.Frame) -> None:
    """Frame, tensors as an answer has them, frame again: the same bytes, missing values included."""
    check_frame(frame)
    kinds = {number: name for name, number in KINDS.items()}
    declared = [
        ColumnSpec(name=column.name, type=kinds[column.type], shape=list(column.shape))  # type: ignore[arg-type] # of the list
        for column in frame.columns
    ]
    tensors = [write(column, [frame.rows, *column.shape]) for column in pick_outputs(frame, ())]
    assert frame_of(tensors[::-1], declared, WHAT) == frame


def test_wide_columns_of_one_kind_come_back_through_typed_contents() -> None:
    """Lengths of more than one byte before packed contents."""
    for name in ("BOOL", "FP32", "FP64", "INT64", "UINT64"):
        values = np.arange(50_000).astype(DTYPES[KINDS[name]])
        column = v1.Column(name="x", type=KINDS[name], values=values.tobytes())  # type: ignore[arg-type] # the number
        tensor = typed(column, [50_000])
        spec = ColumnSpec(name="x", type=name)  # type: ignore[arg-type] # of the list
        assert frame_of([tensor], [spec], WHAT).columns[0] == column


def test_contents_in_several_fields_are_read_by_their_datatype() -> None:
    """What stands in another field does not matter, and does not spoil the block that is copied."""
    column = v1.Column(name="x", type=KINDS["FP32"])  # type: ignore[arg-type] # the enum's number
    fill_typed(column, [2], InferTensorContents(fp32_contents=[1.5, -0.0], int64_contents=[7]))
    assert column.values == np.array([1.5, -0.0], "<f4").tobytes()


@pytest.mark.parametrize(
    ("kind", "shape", "data", "message"),
    [
        ("INT8", [1], b"[128]", "the element 128, which INT8 does not hold"),
        ("UINT8", [1], b"[-1]", "UINT8 does not hold"),
        ("UINT64", [1], b"[18446744073709551616]", "UINT64 does not hold"),
        ("INT64", [1], b"[1.5]", "no flat array of whole numbers"),
        ("INT64", [1], b"[null]", "no flat array of whole numbers"),
        ("FP16", [1], b"[65520]", "FP16 does not hold"),
        ("FP32", [1], b"[1e39]", "FP32 does not hold"),
        ("FP64", [1], b"[1e999]", "no flat array of numbers"),
        ("BOOL", [1], b"[1]", "true and false"),
        ("STRING", [1], b"[1]", "no flat array of texts"),
        ("FP64", [2, 2], b"[[1, 2], [3]]", "nested in another way"),
        ("FP64", [2, 2], b"[[1, 2, 3, 4]]", "nested in another way"),
        ("FP64", [2, 2], b"[[[1], [2]], [[3], [4]]]", "no nested array of numbers"),
        ("FP64", [2], b"[[1], [2]]", "no flat array of numbers"),
        ("FP64", [2], b"7", "no flat array of numbers"),
    ],
)
def test_json_that_does_not_fit_is_refused(kind: str, shape: list[int], data: bytes, message: str) -> None:
    """Nothing is cut, rounded to another number or guessed."""
    column = v1.Column(name="x", type=KINDS[kind])  # type: ignore[arg-type] # the enum's number
    with pytest.raises(TensorError) as caught:
        fill_json(column, shape, data)
    assert message in str(caught.value)


def test_text_that_is_no_utf8_is_refused_by_its_element() -> None:
    """A STRING column's tensor is BYTES, and they must be text."""
    spec = ColumnSpec(name="x", type="STRING")
    tensor = Tensor("x", "BYTES", [2], fill_raw, b"\1\0\0\0a\1\0\0\0\xff")
    with pytest.raises(InvalidFrameError, match="in element 1 the byte 0xff at 0"):
        frame_of([tensor], [spec], WHAT)


def test_what_stands_under_missing_does_not_count() -> None:
    """Elements of missing rows become zero or empty."""
    mask = Tensor("x.missing", "BOOL", [2], fill_raw, b"\1\0")
    tensor = Tensor("x", "INT16", [2], fill_raw, b"\7\0\7\0")
    [column] = frame_of([tensor, mask], [ColumnSpec(name="x", type="INT16", missing=True)], WHAT).columns
    assert (column.values, column.missing) == (b"\0\0\7\0", b"\1")


def test_undeclared_bytes_are_text_where_the_client_says_so() -> None:
    """`content_type` = `str`, as clients of MLServer send it."""
    tensors = [
        Tensor("a", "BYTES", [1], fill_raw, b"\1\0\0\0a", is_text=True),
        Tensor("b", "BYTES", [1], fill_raw, b"\1\0\0\0b"),
    ]
    made = frame_of(tensors, [], WHAT)
    assert (list(made.columns[0].strings), list(made.columns[1].blobs)) == (["a"], [b"b"])
    with pytest.raises(InvalidFrameError, match="the datatype 'FP8'"):
        frame_of([Tensor("a", "FP8", [1], fill_raw, b"a")], [], WHAT)


def test_a_column_may_be_called_like_a_companion() -> None:
    """Where the signature has a column `x.missing`, the tensor is that column, and there is no companion."""
    declared = [ColumnSpec(name="x", type="BOOL"), ColumnSpec(name="x.missing", type="BOOL")]
    tensors = [Tensor(each.name, "BOOL", [1], fill_raw, b"\1") for each in declared]
    made = frame_of(tensors, declared, WHAT)
    assert [column.missing for column in made.columns] == [b"", b""]
    made.columns[0].missing = b"\1"
    assert [column.name for column in pick_outputs(made, ())] == ["x", "x.missing"]


def test_a_wrong_table_is_told_which_tensors_are_wanted() -> None:
    """One tensor for all columns, as clients of other servers send it; of many columns the first twenty are listed."""
    declared = [ColumnSpec(name=f"c{number}", type="FP64") for number in range(30)]
    table = Tensor("input-0", "FP64", [1, 30], fill_raw, bytes(240))
    with pytest.raises(SignatureMismatchError, match=r"one tensor for each column, c0 FP64 \[-1\].*c19.* and 10 more"):
        frame_of([table], declared, WHAT)


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [({}, None), ({"timeout": 0}, None), ({"timeout": 1500}, 0.0015), ({"timeout": "2000000"}, 2.0)],
)
def test_the_timeout_is_in_microseconds(parameters: dict[str, Any], seconds: float | None) -> None:
    """Whole numbers, also as text; 0 is none."""
    assert read_wishes(parameters).timeout_s == seconds


@pytest.mark.parametrize("value", [-1, True, "soon", float("nan"), float("inf"), 10**400, None, [1]])
def test_other_timeouts_are_refused(value: Any) -> None:
    """A deadline that is none is no deadline of an hour."""
    with pytest.raises(InvalidRequestError, match="parameter timeout"):
        read_wishes({"timeout": value})


def test_the_context_is_text() -> None:
    """Numbers and truth values become the text that JSON has for them."""
    wishes = read_wishes({"context.a": "x", "context.b": 7, "context.c": True, "content_type": "pd", "priority": 9})
    assert wishes.context == {"a": "x", "b": "7", "c": "true"}


def test_what_would_change_the_answer_is_refused() -> None:
    """Sequences, shared memory and classification are not passed over in silence."""
    with pytest.raises(UnimplementedError, match="sequence_id"):
        read_wishes({"sequence_id": 7})
    for name in ("shared_memory_region", "classification"):
        with pytest.raises(UnimplementedError, match=name):
            refuse_shared_memory("x", {name: "a"})


def test_ids_that_may_not_be_request_ids_are_not() -> None:
    """They are echoed all the same; the request gets one of ours."""
    assert [legal_id(given) for given in ("a-Z_9", "a" * 65, "a b", "ä", "", "a.b")] == ["a-Z_9", "", "", "", "", ""]


def test_outputs_that_are_not_there_are_refused_with_the_nearest() -> None:
    """A typing error is named."""
    with pytest.raises(InvalidRequestError, match="did you mean 'label'"):
        check_wanted(["lable"], [ColumnSpec(name="label", type="STRING")], WHAT)

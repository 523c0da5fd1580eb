"""Frames of one row recognised by their bytes: never another answer than the full checks give."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import RowPattern, check_frame, encode_frame, join_frames, slice_frame, type_number
from rendezvous_proto.signatures import check_signature

TYPES = {"a": "STRING", "n": "FP64", "b": "STRING", "y": "BYTES", "t": "BOOL", "c": "STRING", "i": "INT16"}
SPECS = [v1.ColumnSpec(name=name, type=type_number(kind)) for name, kind in TYPES.items()]  # type: ignore[arg-type] # numbers
PATTERN = RowPattern(SPECS)
ROW: dict[str, list[Any]] = {
    "a": ["x"],
    "n": [1.5],
    "b": [""],
    "y": [b"\xff\x00"],
    "t": [True],
    "c": ["Zürich"],
    "i": [-3],
}


def row_frame(**changed: Any) -> v1.Frame:
    """Encodes the usual row, some of its values changed."""
    return encode_frame({**ROW, **{name: [value] for name, value in changed.items()}}, types=TYPES)


def agree(frame: v1.Frame) -> bool:
    """Tells whether the pattern took the frame, having made sure that the full checks take it too."""
    row = PATTERN.match(frame)
    if row is None:
        return False
    check_frame(frame)
    check_signature(frame, SPECS, what="test")
    assert PATTERN.join([row]) == frame
    assert PATTERN.join([row] * 3).rows == 3
    return True


@pytest.mark.parametrize(
    "changed", [{}, {"a": "", "c": ""}, {"a": "y" * 90}, {"n": -0.0, "t": False, "i": 0}, {"y": b""}]
)
def test_usual_rows_are_taken(changed: dict[str, Any]) -> None:
    """Rows with texts of usual length are taken."""
    assert agree(row_frame(**changed))


@pytest.mark.parametrize(
    "changed",
    [{"a": None}, {"n": None}, {"n": float("nan")}, {"n": float("-inf")}, {"a": "y" * 130}, {"a": "y" * 5000}],
)
def test_unusual_rows_are_left_to_the_full_checks(changed: dict[str, Any]) -> None:
    """Missing rows, NaN and long texts are not taken."""
    assert not agree(row_frame(**changed))


def test_other_forms_are_left_to_the_full_checks() -> None:
    """Several rows, another order, absent and more columns are not taken."""
    frame = row_frame()
    for columns in (frame.columns[::-1], frame.columns[:-1], [*frame.columns, v1.Column(name="z")], []):
        assert not agree(v1.Frame(rows=1, columns=columns))
    assert not agree(encode_frame({name: values * 2 for name, values in ROW.items()}, types=TYPES))
    assert not agree(v1.Frame())


def test_columns_hidden_in_unknown_fields_are_not_taken() -> None:
    """Bytes that look like the columns, but are a field that nobody knows, are not taken for columns."""
    raw = row_frame().SerializeToString()
    first = row_frame().columns[0].SerializeToString()
    rest = raw[raw.index(first) + len(first) :]
    hidden = first + rest  # the other columns as unknown fields of the first: field 2 is no message there
    frame = v1.Frame.FromString(b"\x08\x01\x12" + bytes([len(hidden)]) + hidden)
    assert len(frame.columns) == 1
    assert not agree(frame)


TRICKY = st.sampled_from(
    ["a", "b", "\x12", "\x0a", "\x01", "\x10", "\x0e", "*", "\x03", "\x12\x07\x0a\x01b\x10\x0e*", "é"]
)


@settings(max_examples=100, deadline=None)
@given(*[st.lists(TRICKY, max_size=12).map("".join)] * 3, st.binary(max_size=20))
@example(
    "\x12\x08\x0a\x01b\x10\x0e*\x01", "\x12\x08\x0a\x01y\x10\x0d2\x01", "", b"\x12\x07\x0a\x01t\x10\x01\x22\x01\x01"
)
def test_texts_that_look_like_columns_confuse_nothing(a: str, b: str, c: str, y: bytes) -> None:
    """Texts made of the format's own bytes are taken only as what they are."""
    agree(row_frame(a=a, b=b, c=c, y=y))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_changed_bytes_confuse_nothing(data: st.DataObject) -> None:
    """A frame with changed, cut or repeated bytes is taken only if the full checks take it."""
    raw = bytearray(row_frame(a="ab", c="\x12").SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                raw[at] = data.draw(st.integers(0, 255))
            case 1:
                del raw[at : at + 2]
            case _:
                raw[at:at] = raw[at : at + data.draw(st.integers(1, 40))]
    try:
        frame = v1.Frame.FromString(bytes(raw))
    except DecodeError:
        return
    agree(frame)


@pytest.mark.parametrize(
    "specs",
    [
        [],
        [v1.ColumnSpec(name="", type=type_number("FP64"))],  # type: ignore[arg-type] # numbers
        [v1.ColumnSpec(name="x")],
        [v1.ColumnSpec(name="x" * 120, type=type_number("FP64"))],  # type: ignore[arg-type] # numbers
        [v1.ColumnSpec(name="x", type=type_number("FP64"), shape=[2])],  # type: ignore[arg-type] # numbers
        [v1.ColumnSpec(name="x", type=type_number("FP64"))] * 2,  # type: ignore[arg-type] # numbers
    ],
)
def test_signatures_without_a_pattern(specs: list[v1.ColumnSpec]) -> None:
    """A signature that has no usual form says so."""
    assert not RowPattern.fits(specs)
    with pytest.raises(ValueError, match="scalars"):
        RowPattern(specs)


@pytest.mark.parametrize(
    "use",
    [lambda frame: join_frames([frame, frame]), lambda frame: slice_frame(frame, 0, 1)],
    ids=["joined", "cut"],
)
def test_columns_of_unknown_type_are_refused(use: Callable[[v1.Frame], object]) -> None:
    """A frame that nobody checked is refused like one that somebody did."""
    column = v1.Column(name="x", type=99, values=bytes(16))  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidFrameError, match="type 99 is unknown"):
        use(v1.Frame(rows=2, columns=[column]))

"""Properties of the frame codec: nothing is lost on the way, and nothing but RendezvousError comes out."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import (
    FrameView,
    check_frame,
    diagnose_bad_utf8,
    encode_frame,
    join_frames,
    slice_frame,
    split_frame,
)

WIDTHS = {"FP16": 16, "FP32": 32, "FP64": 64}
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans(),
    **{f"INT{n}": st.integers(-(1 << n - 1), (1 << n - 1) - 1) for n in (8, 16, 32, 64)},
    **{f"UINT{n}": st.integers(0, (1 << n) - 1) for n in (8, 16, 32, 64)},
    **{name: st.floats(width=width) for name, width in WIDTHS.items()},  # type: ignore[arg-type] # 16, 32, 64
    "STRING": st.text(max_size=8),
    "BYTES": st.binary(max_size=8),
}
SHAPES = st.lists(st.integers(0, 3), max_size=3)
QUICK = settings(max_examples=60, deadline=None)  # no deadline: machines under load stumble
Table = tuple[dict[str, list[Any]], dict[str, str], int]


def nested(elements: st.SearchStrategy[Any], shape: list[int]) -> st.SearchStrategy[Any]:
    """Returns values of one shape: scalars, or nested lists."""
    for dimension in reversed(shape):
        elements = st.lists(elements, min_size=dimension, max_size=dimension)
    return elements


@st.composite
def tables(draw: st.DrawFn, *, shaped: bool = True, rows: int | None = None, min_columns: int = 1) -> Table:
    """Draws columns of any types, with missing rows, with or without shapes."""
    rows = draw(st.integers(0, 20)) if rows is None else rows
    names = draw(st.lists(st.text(min_size=1, max_size=6), min_size=min_columns, max_size=5, unique=True))
    columns, types = {}, {}
    for name in names:
        types[name] = draw(st.sampled_from(list(ELEMENTS)))
        value = nested(ELEMENTS[types[name]], draw(SHAPES) if shaped else [])
        missing = draw(st.booleans())
        columns[name] = draw(st.lists(value | st.none() if missing else value, min_size=rows, max_size=rows))
    return columns, types, rows


def same(left: Any, right: Any) -> bool:
    """Compares values, types included; NaN equals NaN."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and bool(left == right)


def encoded(table: Table) -> v1.Frame:
    """Encodes a drawn table."""
    return encode_frame(table[0], types=table[1])


@QUICK
@given(tables())
def test_values_survive_a_round_trip(table: Table) -> None:
    """What was encoded is read back: every type, missing rows and shapes; and the frame is sound."""
    frame = v1.Frame.FromString(encoded(table).SerializeToString())
    view = FrameView(frame)
    assert view.rows == table[2]
    for name, values in table[0].items():
        assert same(view.column(name), values)
        missing = view.missing(name)
        assert (missing.tolist() if missing is not None else [False] * table[2]) == [v is None for v in values]


@QUICK
@given(tables())
def test_encoding_what_was_read_gives_the_same_frame(table: Table) -> None:
    """Arrays and masks of a view, encoded again, are the same frame."""
    frame = encoded(table)
    view = FrameView(frame)
    again = encode_frame({name: view.column(name) for name in view.names}, types=table[1])
    for name, column, twin in zip(view.names, frame.columns, again.columns, strict=True):
        missing = view.missing(name)
        if missing is None or not missing.all():  # else its shape is not told
            assert column == twin


@QUICK
@given(tables(shaped=False))
def test_pandas_and_arrow_lose_nothing(table: Table) -> None:
    """A frame made into a DataFrame or an Arrow table and back is the same frame."""
    frame = encoded(table)
    view = FrameView(frame)
    half_missing = {n for n in view.names if table[1][n] == "FP16" and view.missing(n) is not None}
    for back in (view.to_pandas(), view.to_arrow()):
        again = encode_frame(back, types=table[1])
        assert isinstance(back, pd.DataFrame | pa.Table)
        for name, column, twin in zip(view.names, frame.columns, again.columns, strict=True):
            # NaN that is not missing is lost in pandas' nullable floats by pandas' own default
            if name in half_missing or (isinstance(back, pd.DataFrame) and _has_nan_and_missing(view, name)):
                continue
            assert column == twin


def _has_nan_and_missing(view: FrameView, name: str) -> bool:
    return view.missing(name) is not None and view[name].dtype.kind == "f" and bool(np.isnan(view[name]).any())


@st.composite
def parts(draw: st.DrawFn) -> tuple[v1.Frame, list[int]]:
    """Draws a frame and sizes that add up to its rows."""
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    return encoded(draw(tables(rows=sum(sizes)))), sizes


@QUICK
@given(parts())
def test_split_and_joined_is_the_frame(drawn: tuple[v1.Frame, list[int]]) -> None:
    """Parts of a frame are sound, have the rows they should, and join to the frame."""
    frame, sizes = drawn
    pieces = split_frame(frame, sizes)
    whole, start = FrameView(frame).to_dict(), 0
    for piece, size in zip(pieces, sizes, strict=True):
        assert same(
            list(FrameView(piece).to_dict().values()), [values[start : start + size] for values in whole.values()]
        )
        assert piece == slice_frame(frame, start, start + size)
        start += size
    assert join_frames(pieces) == frame


@QUICK
@given(tables(rows=1), st.integers(1, 70))
def test_many_frames_of_one_row_join(table: Table, count: int) -> None:
    """Requests of one row, the usual case, join to a table with each of their rows, and come apart as they were."""
    frames = [v1.Frame.FromString(encoded(table).SerializeToString()) for _ in range(count)]
    for frame in frames:
        check_frame(frame)
    joined = join_frames(frames)
    check_frame(joined)
    assert same(list(FrameView(joined).to_dict().values()), [values * count for values in table[0].values()])
    assert split_frame(joined, [1] * count) == frames


@QUICK
@given(st.binary(max_size=200))
def test_random_bytes_never_break_the_check(raw: bytes) -> None:
    """Whatever parses as a frame is either sound and can be read, or refused with our error."""
    read_or_refuse(raw)


@QUICK
@given(tables(), st.data())
def test_mutated_frames_never_break_the_check(table: Table, data: st.DataObject) -> None:
    """A frame with a few bytes changed, cut or repeated is either sound and can be read, or refused with our error."""
    raw = bytearray(encoded(table).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        if not raw:
            break
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["change", "cut", "repeat"])):
            case "change":
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 8))]
            case _:
                raw[at:at] = raw[at : at + data.draw(st.integers(1, 8))]
    read_or_refuse(bytes(raw))


@QUICK
@given(tables(), st.data())
def test_mutated_fields_never_break_the_check(table: Table, data: st.DataObject) -> None:
    """A frame whose fields were set to anything is either sound and can be read, or refused with our error."""
    frame = encoded(table)
    frame.rows = data.draw(st.sampled_from([frame.rows, frame.rows + 1, -1, 0, 1, 7]))
    for column in frame.columns:
        match data.draw(st.integers(0, 7)):
            case 0:
                column.type = data.draw(st.integers(-5, 20))  # type: ignore[assignment] # any number may be received
            case 1:
                column.missing = data.draw(st.binary(max_size=4))
            case 2:
                column.values = data.draw(st.binary(max_size=20))
            case 3:
                column.shape[:] = data.draw(st.lists(st.integers(-2, 1 << 62), max_size=10))
            case 4:
                column.strings[:] = data.draw(st.lists(st.text(max_size=2), max_size=3))
            case 5:
                column.name = data.draw(st.text(max_size=2))
    read_or_refuse(frame.SerializeToString())


def read_or_refuse(raw: bytes) -> None:
    """Parses, checks and reads; the only ways out are a DecodeError of protobuf and a RendezvousError."""
    try:
        frame = v1.Frame.FromString(raw)
    except DecodeError:
        diagnose_bad_utf8(raw, v1.Frame)
        return
    try:
        view = FrameView(frame)
    except RendezvousError:
        return
    if view.rows <= 1000:
        records = view.to_records()
        assert len(records) == view.rows
        assert join_frames(split_frame(frame, [view.rows, 0])).rows == view.rows

"""Frames side by side, some of their columns, and many rows of one."""

import pytest
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import FrameView, check_frame, encode_frame, put_beside, repeat_row, select_columns

LEFT = encode_frame({"a": [1, 2], "t": ["x", None]})
RIGHT = encode_frame({"v": [[1.0, 2.0], [3.0, 4.0]], "b": [b"\x00", b""]})


def test_columns_of_frames_of_the_same_rows_stand_side_by_side() -> None:
    """All columns are there, in order, with their missing rows and shapes."""
    joined = put_beside([LEFT, RIGHT])
    check_frame(joined)
    assert FrameView(joined).to_records() == [
        {"a": 1, "t": "x", "v": [1.0, 2.0], "b": b"\x00"},
        {"a": 2, "t": None, "v": [3.0, 4.0], "b": b""},
    ]


def test_other_rows_and_names_that_clash_are_refused() -> None:
    """Frames of other lengths, or with a column that is there already, are not joined; the error says which."""
    with pytest.raises(InvalidFrameError, match="frame 1 has 1 rows, the first has 2"):
        put_beside([LEFT, encode_frame({"z": [1]})])
    with pytest.raises(InvalidFrameError, match="column 'a' is there twice"):
        put_beside([LEFT, encode_frame({"a": [1, 2]})])


def test_columns_are_selected_in_the_order_of_the_frame() -> None:
    """What is not named is left out; nothing is copied where all are named."""
    assert [column.name for column in select_columns(RIGHT, ["b"]).columns] == ["b"]
    assert [column.name for column in select_columns(put_beside([LEFT, RIGHT]), ["b", "a"]).columns] == ["a", "b"]
    assert select_columns(LEFT, ["t", "a"]) is LEFT


@pytest.mark.parametrize("rows", [1, 2, 8, 9])
def test_row_is_repeated_with_all_that_it_has(rows: int) -> None:
    """Numbers, texts, bytes, shapes and what is missing are there in each row."""
    one = put_beside(
        [
            encode_frame({"a": [7], "t": ["x"], "b": [b"y"], "v": [[1, 2]]}),
            encode_frame({"n": [None]}, types={"n": "INT8"}),
        ]
    )
    many = repeat_row(one, rows)
    check_frame(many)
    assert FrameView(many).to_records() == [{"a": 7, "t": "x", "b": b"y", "v": [1, 2], "n": None}] * rows

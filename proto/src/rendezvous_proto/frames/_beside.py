"""Puts frames of the same rows side by side, and makes many rows of one."""

from collections.abc import Sequence

import numpy as np

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._bits import pack_bits
from rendezvous_proto.frames._check import shown_name


def put_beside(frames: Sequence[v1.Frame]) -> v1.Frame:
    """Returns one frame with the columns of all, in order.

    Args:
        frames: Sound frames (see `check_frame`) of the same number of rows, at least one.

    Raises:
        InvalidFrameError: If their rows differ, or two columns have one name; attributes `frame`, or `column`.
    """
    rows = frames[0].rows
    names: set[str] = set()
    for index, frame in enumerate(frames):
        if frame.rows != rows:
            raise InvalidFrameError(
                f"frame {index} has {frame.rows} rows, the first has {rows}: only frames of the same rows stand "
                "side by side",
                {"frame": index, "expected": rows, "actual": frame.rows},
            )
        for column in frame.columns:
            if column.name in names:
                shown = shown_name(column.name)
                raise InvalidFrameError(f"column {shown!r} is there twice", {"column": shown})
            names.add(column.name)
    return v1.Frame(rows=rows, columns=[column for frame in frames for column in frame.columns])


def select_columns(frame: v1.Frame, names: Sequence[str]) -> v1.Frame:
    """Returns the columns of these *names*, in the frame's order; the very same object if they are all."""
    wanted = frozenset(names)
    columns = [column for column in frame.columns if column.name in wanted]
    return frame if len(columns) == len(frame.columns) else v1.Frame(rows=frame.rows, columns=columns)


def repeat_row(frame: v1.Frame, rows: int) -> v1.Frame:
    """Returns *rows* rows, each as the only one of *frame*, which is sound and has one."""
    return v1.Frame(
        rows=rows,
        columns=[
            v1.Column(
                name=column.name,
                type=column.type,
                shape=column.shape,
                values=column.values * rows,
                strings=list(column.strings) * rows,
                blobs=list(column.blobs) * rows,
                missing=pack_bits(np.ones(rows, dtype=np.bool_)) if column.missing else b"",
            )
            for column in frame.columns
        ],
    )

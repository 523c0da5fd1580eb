"""Joins frames of the same columns and cuts them apart again."""

from collections.abc import Sequence

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._bits import join_bits, pack_bits, unpack_bits
from rendezvous_proto.frames._check import shown_name
from rendezvous_proto.frames._rows import join_rows
from rendezvous_proto.frames._types import STRING, column_width, elements_per_row, type_name

_MANY = 4
"""Frames from which on it pays to look whether they are of one row each."""


def join_frames(frames: Sequence[v1.Frame]) -> v1.Frame:
    """Returns one frame with the rows of all, in order; the very same object if there is one only.

    Args:
        frames: Sound frames (see `check_frame`) with the same columns in the same order. None: no rows.

    Raises:
        InvalidFrameError: If names, types, shapes or their order differ; attributes `column` and `frame`.
    """
    if len(frames) == 1:
        return frames[0]
    if len(frames) >= _MANY and (joined := join_rows(frames)) is not None:
        return joined
    joined = v1.Frame(rows=sum(frame.rows for frame in frames))
    if not frames:
        return joined
    tables = [list(frame.columns) for frame in frames]
    width = len(tables[0])
    for index, table in enumerate(tables):
        if len(table) != width:
            raise InvalidFrameError(
                f"frame {index} has {len(table)} columns, the first has {width}: only frames of the same "
                "columns can be joined",
                {"frame": index, "expected": width, "actual": len(table)},
            )
    rows = [frame.rows for frame in frames]
    joined.columns.extend([_join_columns(columns, rows) for columns in zip(*tables, strict=True)])
    return joined


def _join_columns(columns: Sequence[v1.Column], rows: Sequence[int]) -> v1.Column:
    first = columns[0]
    name, kind, shape = first.name, first.type, list(first.shape)
    for index, column in enumerate(columns):
        if column.name != name or column.type != kind or column.shape != shape:
            _refuse_join(first, column, index)
    joined = v1.Column(name=name, type=kind, shape=shape)
    if column_width(kind):
        joined.values = b"".join([column.values for column in columns])
    elif kind == STRING:
        joined.strings.extend([text for column in columns for text in column.strings])
    else:
        joined.blobs.extend([blob for column in columns for blob in column.blobs])
    bitmaps = [column.missing for column in columns]
    if any(bitmaps):
        joined.missing = join_bits(bitmaps, rows)
    return joined


def _refuse_join(first: v1.Column, other: v1.Column, index: int) -> None:
    shown = shown_name(first.name)
    raise InvalidFrameError(
        f"column {shown!r}: frame {index} has {_described(other)} in its place, the first frame "
        f"{_described(first)}: only frames of the same columns can be joined",
        {"column": shown, "frame": index, "expected": _described(first), "actual": _described(other)},
    )


def _described(column: v1.Column) -> str:
    return f"{shown_name(column.name)!r} {type_name(column.type)}{list(column.shape)}"


def slice_frame(frame: v1.Frame, start: int, stop: int) -> v1.Frame:
    """Returns rows *start* to *stop* (not included) of a sound frame.

    Raises:
        InvalidFrameError: If not 0 <= start <= stop <= rows.
    """
    rows = frame.rows
    if not 0 <= start <= stop <= rows:
        raise InvalidFrameError(
            f"rows {start} to {stop} were asked of a frame of {rows} rows",
            {"start": start, "stop": stop, "rows": rows},
        )
    return _cut(frame, [(start, stop)])[0]


def split_frame(frame: v1.Frame, rows: Sequence[int]) -> list[v1.Frame]:
    """Returns consecutive parts of a sound frame: one of rows[0] rows, one of rows[1] rows, ...

    Raises:
        InvalidFrameError: If a part is negative or the parts do not add up to the frame's rows.
    """
    if sum(rows) != frame.rows or (rows and min(rows) < 0):
        raise InvalidFrameError(
            f"parts of {sum(rows)} rows in all were asked of a frame of {frame.rows} rows",
            {"expected": frame.rows, "actual": sum(rows)},
        )
    spans, start = [], 0
    for count in rows:
        spans.append((start, start + count))
        start += count
    return _cut(frame, spans)


def _cut(frame: v1.Frame, spans: Sequence[tuple[int, int]]) -> list[v1.Frame]:
    pieces = [_cut_column(column, frame.rows, spans) for column in frame.columns]
    return [
        v1.Frame(rows=stop - start, columns=[column[part] for column in pieces])
        for part, (start, stop) in enumerate(spans)
    ]


def _cut_column(column: v1.Column, rows: int, spans: Sequence[tuple[int, int]]) -> list[v1.Column]:
    name, kind, shape = column.name, column.type, list(column.shape)
    elements = elements_per_row(shape)
    if stride := column_width(kind) * elements:
        values = column.values
        cut = [
            v1.Column(name=name, type=kind, shape=shape, values=values[start * stride : stop * stride])
            for start, stop in spans
        ]
    elif kind == STRING:
        texts = list(column.strings)
        cut = [
            v1.Column(name=name, type=kind, shape=shape, strings=texts[start * elements : stop * elements])
            for start, stop in spans
        ]
    else:
        blobs = list(column.blobs)
        cut = [
            v1.Column(name=name, type=kind, shape=shape, blobs=blobs[start * elements : stop * elements])
            for start, stop in spans
        ]
    if column.missing:
        mask = unpack_bits(column.missing, rows)
        for piece, (start, stop) in zip(cut, spans, strict=True):
            piece.missing = pack_bits(mask[start:stop])
    return cut

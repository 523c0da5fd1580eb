"""Refuses frames that contradict themselves, by the column's name."""

from typing import NoReturn

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._bits import spare_bits_set
from rendezvous_proto.frames._types import BOOL, BYTES, MAX_RANK, STRING, WIDTHS, elements_per_row, type_name

_SHOWN_CHARACTERS = 80


def check_frame(frame: v1.Frame) -> None:
    """Checks all that a frame says about itself; what it means is the signature's concern.

    A frame without rows is sound. One with columns of no elements may claim any number of rows: compare `rows` with
    your limit before you make anything of that size. Time grows with columns and BOOL elements, not with other values.

    Raises:
        InvalidFrameError: If rows are negative; a name is empty or used twice; a type is unknown; a shape has
            a negative dimension or more than 8; values, strings or blobs are of the wrong number or belong to
            another type; a bitmap has the wrong length or spare bits; a BOOL byte is not 0 or 1.
            Attribute `column`: the name, where one is at fault.
    """
    rows = frame.rows
    if rows < 0:
        raise InvalidFrameError(f"rows is {rows}: it must not be negative", {"rows": rows})
    seen = set()
    for index, column in enumerate(frame.columns):
        name = column.name
        if not name or name in seen:
            _refuse_name(name, index)
        seen.add(name)
        check_column(column, rows)


def check_column(column: v1.Column, rows: int) -> None:
    """Checks one column of a frame of *rows* rows, all but its name."""
    kind = column.type
    width = WIDTHS.get(kind)
    if width is None:
        _refuse(column, f"type {int(kind)} is unknown", type=int(kind))
    elements = rows
    if column.shape:
        _check_shape(column)
        elements *= elements_per_row(column.shape)
    if kind == STRING:
        if len(column.strings) != elements or column.values or column.blobs:
            _refuse_payload(column, rows, elements)
    elif kind == BYTES:
        if len(column.blobs) != elements or column.values or column.strings:
            _refuse_payload(column, rows, elements)
    elif len(values := column.values) != elements * width or column.strings or column.blobs:
        _refuse_payload(column, rows, elements)
    elif kind == BOOL and values.count(0) + values.count(1) != elements:
        index = next(i for i, octet in enumerate(values) if octet > 1)
        _refuse(column, f"BOOL element {index} is the byte {values[index]}: it must be 0 or 1", element=index)
    if missing := column.missing:
        _check_bitmap(column, missing, rows)


def _check_shape(column: v1.Column) -> None:
    shape = column.shape
    if len(shape) > MAX_RANK:
        _refuse(
            column,
            f"shape has {len(shape)} dimensions: at most {MAX_RANK} are allowed",
            limit=MAX_RANK,
            actual=len(shape),
        )
    if min(shape) < 0:
        _refuse(column, f"shape {list(shape)} has a negative dimension", shape=list(shape))


def _check_bitmap(column: v1.Column, missing: bytes, rows: int) -> None:
    expected = (rows + 7) // 8
    if len(missing) != expected:
        _refuse(
            column,
            f"missing bitmap has {len(missing)} bytes: {rows} rows need {expected}",
            expected=expected,
            actual=len(missing),
        )
    if spare_bits_set(missing, rows):
        _refuse(
            column,
            f"missing bitmap has bits set beyond row {rows - 1}: spare bits must be 0",
            actual=missing[-1],
        )


def _refuse_payload(column: v1.Column, rows: int, elements: int) -> NoReturn:
    """Says which of `values`, `strings` and `blobs` is wrong, expected and actual."""
    kind, width = column.type, WIDTHS[column.type]
    carrier = {STRING: "strings", BYTES: "blobs"}.get(kind, "values")
    for other in ("values", "strings", "blobs"):
        if other != carrier and (actual := len(getattr(column, other))):
            unit = "bytes" if other == "values" else "elements"
            _refuse(
                column,
                f"type {type_name(kind)} is carried in `{carrier}`, but `{other}` has {actual} {unit}",
                carrier=carrier,
                actual=actual,
            )
    actual, shape = len(getattr(column, carrier)), list(column.shape)
    unit = "bytes" if width else "elements"
    expected = elements * (width or 1)
    each = f" of {width} bytes" if width else ""
    _refuse(
        column,
        f"`{carrier}` has {actual} {unit}: {rows} rows of shape {shape}, type {type_name(kind)}{each}, "
        f"need {expected} {unit}",
        expected=expected,
        actual=actual,
    )


def _refuse_name(name: str, index: int) -> NoReturn:
    if not name:
        raise InvalidFrameError(f"column {index} has no name: name it", {"column": "", "index": index})
    shown = shown_name(name)
    raise InvalidFrameError(
        f"column {shown!r} (number {index}) is there twice: names must be unique",
        {"column": shown, "index": index},
    )


def shown_name(name: str) -> str:
    """Returns *name* for a message, cut if it is very long."""
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "..."


def _refuse(column: v1.Column, message: str, **attributes: object) -> NoReturn:
    shown = shown_name(column.name)
    raise InvalidFrameError(f"column {shown!r}: {message}", {"column": shown, **attributes})

"""Frames of one row, recognised and joined by their bytes: the usual request, in a quarter of the time.

Reading a column's fields one by one costs about a microsecond a column. But a request of one row nearly always has
the same bytes as the one before, except for the values. So one regular expression is made of a signature and matched
against the serialized frame. It does not know lengths, so every length byte that it passed is checked afterwards;
then, and only then, the match is what a parser would have read, since both start at the same byte.
Groups are atomic: a match takes time linear in the frame, whatever the frame holds.
"""

import math
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import add, itemgetter
from typing import Final

from rendezvous_proto import v1
from rendezvous_proto.frames._types import BOOL, DTYPES, FLOATS, STRING, WIDTHS

_LONGEST: Final = 127
"""Most bytes of a serialized column, and so of a text in it: beyond, lengths take more than one byte."""
_ONE_ROW = b"\x08\x01"
_ANY_LENGTH = b"[\\x00-\\x7f]"
_SECOND = itemgetter(1)
_LESS_TWO = bytes([0, 0, *range(254)])
"""Table for `bytes.translate`: the length of a text of the length of its element, without tag and length byte."""


class RowPattern:
    """Recognises frames of one row that fit a signature as they are: no missing row, texts up to 100 bytes or so.

    Thread safety: may be used from any thread.

    Args:
        columns: The signature: scalars only; names so short that a serialized column can have less than 128 bytes.

    Raises:
        ValueError: If the columns are not such; see `fits`.
    """

    __slots__ = ("_expression", "_finite", "_floats", "_heads", "_lengths", "_overheads", "_texts", "_values")

    def __init__(self, columns: Sequence[v1.ColumnSpec]) -> None:
        if not self.fits(columns):
            raise ValueError("a pattern needs one or more columns, scalars with short names only")
        self._heads = [_head(column) for column in columns]
        self._values: list[int] = []
        self._texts: list[int] = []
        self._lengths: list[int] = []
        self._overheads: list[int] = []
        self._expression = re.compile(self._compose(columns), re.DOTALL)
        self._floats = [at for at, column in enumerate(columns) if column.type in FLOATS and not column.allow_nan]
        self._finite = struct.Struct("<" + "".join(DTYPES[columns[at].type].char for at in self._floats))

    @staticmethod
    def fits(columns: Sequence[v1.ColumnSpec]) -> bool:
        """Tells whether a pattern can be made of *columns*."""
        names = {column.name for column in columns}
        return (
            0 < len(names) == len(columns)
            and "" not in names
            and all(not column.shape and column.type in WIDTHS and len(_head(column)) < 100 for column in columns)
        )

    def _compose(self, columns: Sequence[v1.ColumnSpec]) -> bytes:
        """Returns the expression; notes which groups are values, encoded texts and columns' length bytes."""
        starts = [b"\\x12" + self._start(head, column.type) for head, column in zip(self._heads, columns, strict=True)]
        parts, group = [re.escape(_ONE_ROW)], 1
        for index, (column, head) in enumerate(zip(columns, self._heads, strict=True)):
            if width := WIDTHS[column.type]:
                parts += [starts[index], b"([\\x00\\x01])" if column.type == BOOL else b"(.{%d})" % width]
            else:
                after = starts[index + 1] if index + 1 < len(columns) else b"\\Z"
                tag = re.escape(b"\x2a" if column.type == STRING else b"\x32")
                parts.append(starts[index].replace(_ANY_LENGTH, b"(" + _ANY_LENGTH + b")"))
                parts.append(b"(%s%s(?>.{0,%d}?(?=%s)))" % (tag, _ANY_LENGTH, _LONGEST, after))
                self._lengths.append(group)
                self._overheads.append(len(head))
                group += 1
                self._texts.append(group)
            self._values.append(group)
            group += 1
        return b"".join(parts)

    @staticmethod
    def _start(head: bytes, kind: int) -> bytes:
        """Returns the expression for a column up to its value, without the tag."""
        width = WIDTHS[kind]
        if not width:
            return _ANY_LENGTH + re.escape(head)
        return re.escape(bytes([len(head) + 2 + width]) + head + bytes([0x22, width]))

    def match(self, frame: v1.Frame) -> tuple[bytes, ...] | None:
        """Returns the row's values, to be given to `join`, if the frame is sound and fits the signature.

        Returns:
            One piece a column, for `join` only; None: the frame is not of this usual form, which says nothing of
            whether it is right (`check_frame` and `check_signature` do).
        """
        if frame.rows != 1:
            return None
        found = self._expression.fullmatch(frame.SerializeToString())
        if found is None:
            return None
        if self._texts:
            texts = _groups(found, self._texts)
            sizes = bytes(map(len, texts))
            if bytes(map(_SECOND, texts)) != sizes.translate(_LESS_TWO):
                return None
            if b"".join(_groups(found, self._lengths)) != bytes(map(add, sizes, self._overheads)):
                return None
        values = _groups(found, self._values)
        if self._floats:
            floats = self._finite.unpack(b"".join([values[index] for index in self._floats]))
            if not all(map(math.isfinite, floats)):
                return None
        return values

    def join(self, rows: Sequence[tuple[bytes, ...]]) -> v1.Frame:
        """Returns one frame of the rows that `match` gave, in their order."""
        columns = []
        for head, values in zip(self._heads, zip(*rows, strict=True), strict=True):
            content = b"".join(values)
            if WIDTHS[head[-1]]:
                content = b"\x22" + _varint(len(content)) + content
            columns.append(b"\x12" + _varint(len(head) + len(content)) + head + content)
        return v1.Frame.FromString(b"\x08" + _varint(len(rows)) + b"".join(columns))


def _head(column: v1.ColumnSpec) -> bytes:
    """Returns the serialized name and type, with which every such column begins; the last byte is the type."""
    return v1.Column(name=column.name, type=column.type).SerializeToString()


def _groups(found: re.Match[bytes], numbers: Sequence[int]) -> tuple[bytes, ...]:
    return found.group(*numbers) if len(numbers) > 1 else (found[numbers[0]],)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


@lru_cache(maxsize=64)
def _pattern_of(columns: tuple[tuple[str, int], ...]) -> RowPattern | None:
    specs = [v1.ColumnSpec(name=name, type=kind, allow_nan=True) for name, kind in columns]  # type: ignore[arg-type] # numbers
    return RowPattern(specs) if RowPattern.fits(specs) else None


def join_rows(frames: Sequence[v1.Frame]) -> v1.Frame | None:
    """Returns the frames joined, if all have one row and the usual form; None if not.

    Making a pattern costs as much as joining some hundred columns, and is kept for the last 64 lists of columns.
    """
    first = frames[0]
    if first.rows != 1 or any(column.shape or column.missing for column in first.columns):
        return None
    pattern = _pattern_of(tuple([(column.name, column.type) for column in first.columns]))
    if pattern is None:
        return None
    rows = []
    for frame in frames:
        row = pattern.match(frame)
        if row is None:
            return None
        rows.append(row)
    return pattern.join(rows)

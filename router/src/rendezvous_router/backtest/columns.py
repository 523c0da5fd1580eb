"""Columns of a piece of the record, as rules read them: each becomes Python values once, when it is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

__all__ = ["Cut", "PieceColumns", "lists_of"]


class PieceColumns:
    """Output columns of all scores, or of all answers, of a piece.

    Args:
        columns: flat columns by name in the signature, all of one length.
    """

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: Mapping[str, pa.Array]) -> None:
        self._columns = columns
        self._values: dict[str, list[Any]] = {}

    def column(self, name: str) -> list[Any]:
        """Returns a column's values; None where missing."""
        values = self._values.get(name)
        if values is None:
            values = self._values[name] = self._columns[name].to_pylist()
        return values


class Cut:
    """The rows of one request in such columns; `rendezvous.answers.Columns`."""

    __slots__ = ("_columns", "_start", "rows")

    def __init__(self, columns: PieceColumns, start: int, rows: int) -> None:
        self._columns = columns
        self._start = start
        self.rows = rows

    def column(self, name: str, /) -> Sequence[Any]:
        """Returns one column's values of the request."""
        return self._columns.column(name)[self._start : self._start + self.rows]


def lists_of(table: pa.Table, name: str) -> tuple[list[int], pa.Array]:
    """Returns where each list of a column begins, one more for the end, and the lists' values joined."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column.offsets.to_pylist(), column.values

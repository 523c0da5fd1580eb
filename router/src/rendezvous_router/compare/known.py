"""Truths, groups and other facts of rows, looked up by their hashes."""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rendezvous_sdk.archive.sql_text import name

from rendezvous_router.compare.census import Slice
from rendezvous_router.compare.pairs import Pairs, Vocabulary
from rendezvous_router.compare.places import Places, first_of_each
from rendezvous_router.compare.truths import Truths

__all__ = ["Grouping", "KnownTruths"]

_Array = npt.NDArray[Any]
MOST_GROUPS = 10


class _ByHash:
    """Values by hash, of keys and values in parts; of a key that is there twice, the first counts."""

    def __init__(self, parts: list[tuple[_Array, _Array]]) -> None:
        keys, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        first = first_of_each(keys, np.arange(len(keys)))
        self._places = Places(keys[first])
        # The last place is that of the keys which are not there.
        self._values = np.append(values[first], np.nan)

    def find(self, wanted: _Array) -> _Array:
        """Returns the value of each of *wanted*; NaN: it has none."""
        found: _Array = self._values[self._places.find(wanted)]
        return found


class KnownTruths:
    """Truths by row, in memory: about 40 bytes each.

    Args:
        connection: with the table `compared_truths`.
        truths: what is in it.
        vocabulary: gets the labels among them.
        positive: number of the label that a truth of 1 means among labels, as 0 means any other; None: there is none.
        one_row: each request has one row, so what is known of a request is known of its row 0.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        truths: Truths,
        vocabulary: Vocabulary,
        *,
        positive: int | None,
        one_row: bool,
    ) -> None:
        self._tables: list[_ByHash] = []
        self._vocabulary = vocabulary
        self._is_text = truths.is_text
        self._positive = Vocabulary.OTHER if positive is None else positive
        if not truths.task:
            return
        value = "text" if truths.is_text else "number"
        if truths.is_text and truths.other_form:
            value = "text, CASE WHEN text IS NULL THEN number END"
        whole = "hash(request_id, CAST(0 AS INTEGER))" if one_row else "hash(request_id)"
        parts = [
            self._read(connection, f"SELECT {key}, {value} FROM compared_truths WHERE {which}")  # noqa: S608
            for key, which in (("hash(request_id, CAST(row AS INTEGER))", "row >= 0"), (whole, "row < 0"))
        ]
        # A row's own counts first.
        self._tables = [_ByHash(parts)] if one_row else [_ByHash([part]) for part in parts]

    def _read(self, connection: duckdb.DuckDBPyConnection, query: str) -> tuple[_Array, _Array]:
        keys, values = [np.zeros(0, np.uint64)], [np.zeros(0)]
        for batch in connection.sql(query).to_arrow_reader(1_000_000):
            keys.append(batch.column(0).to_numpy())
            values.append(self._values(*batch.columns[1:]))
        return np.concatenate(keys), np.concatenate(values)

    def _values(self, column: Any, number: Any = None) -> _Array:
        if not self._is_text:
            return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
        labels = self._vocabulary.encode(pa.chunked_array([column])).astype(np.float64)
        if number is None:
            return labels
        said = np.asarray(number.to_numpy(zero_copy_only=False), np.float64)
        return np.where(np.isnan(said), labels, np.where(said == 1, self._positive, Vocabulary.NEGATIVE))

    def of(self, pairs: Pairs) -> _Array:
        """Returns the truth of each row: a number, or that of a label; NaN unknown. A row's own counts first."""
        if not self._tables:
            return np.full(pairs.count, np.nan)
        found = self._tables[0].find(pairs.place)
        if pairs.request is not None:
            missing = np.isnan(found)
            found[missing] = self._tables[-1].find(pairs.request[missing])
        return found


class Grouping:
    """Numbers rows by the value of an input column: the most frequent values, then all others together.

    Args:
        connection: to an archive's views, used by this alone.
        column: name of the column, in the archive.
        condition: which inputs count, in SQL.
    """

    REST = "(all others)"

    def __init__(self, connection: duckdb.DuckDBPyConnection, column: str, condition: str) -> None:
        self._connection = connection
        self._value = f"CAST({name(column)} AS VARCHAR)"
        rows = connection.execute(
            f"SELECT {self._value}, count(*) FROM inputs WHERE {condition} "  # noqa: S608 # quoted names
            f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_GROUPS + 1}"
        ).fetchall()
        self._numbers = {value: number for number, (value, _) in enumerate(rows[:MOST_GROUPS])}
        self.names = ["(missing)" if value is None else str(value) for value in self._numbers]
        """The groups' names."""
        if len(rows) > MOST_GROUPS:
            self.names.append(self.REST)

    def of(self, part: Slice, pairs: Pairs) -> _Array:
        """Returns the number of each row's group; -1: its input is not in the archive."""
        found = self._connection.sql(
            f"SELECT hash(request_id, row), {self._value} FROM inputs "  # noqa: S608 # quoted names
            f"WHERE stream_sequence BETWEEN {part.first} AND {part.last} ORDER BY stream_sequence"
        )
        keys, values = [np.zeros(0, np.uint64)], [np.zeros(0)]
        for batch in found.to_arrow_reader(1_000_000):
            coded = batch.column(1).dictionary_encode()
            of_code = [self._numbers.get(each, MOST_GROUPS) for each in coded.dictionary.to_pylist()]
            of_code.append(self._numbers.get(None, MOST_GROUPS))
            places = coded.indices.fill_null(len(of_code) - 1).to_numpy(zero_copy_only=False)
            keys.append(batch.column(0).to_numpy())
            values.append(np.asarray(of_code, np.float64)[places])
        numbers = _ByHash([*zip(keys, values, strict=True)]).find(pairs.place)
        return np.asarray(np.where(np.isnan(numbers), -1, numbers), np.int64)

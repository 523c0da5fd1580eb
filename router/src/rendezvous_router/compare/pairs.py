"""Scores of two models on the same rows, in batches: read in slices, paired, each row once.

DuckDB reads a slice; NumPy pairs it by 64-bit hashes of (request id, row), by which it also finds repeats. A million
requests take a slice's memory, whatever the archive has. The chance that any two of a slice's rows share a hash by
accident is about one in ten million.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rendezvous_router.compare.census import Side, Slice
from rendezvous_router.compare.columns import Columns
from rendezvous_router.compare.places import Places, Seen, first_of_each

__all__ = ["Pairs", "Reader", "Scores", "Vocabulary"]

_Array = npt.NDArray[Any]
_MOST_LABELS = 1000


class Vocabulary:
    """Numbers of labels, the same in every batch. Thread-safe."""

    OTHER = -2
    """Number of labels beyond the thousandth: they equal none."""
    NONE = -1
    """Number of a missing label."""
    NEGATIVE = -3
    """As a truth: any label but the positive one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = Lock()

    @property
    def names(self) -> list[str]:
        """The labels by their numbers."""
        return list(self._numbers)

    def number(self, label: str) -> int:
        """Returns a label's number."""
        with self._lock:
            if label not in self._numbers and len(self._numbers) >= _MOST_LABELS:
                return self.OTHER
            return self._numbers.setdefault(label, len(self._numbers))

    def encode(self, labels: pa.ChunkedArray) -> _Array:
        """Returns the number of each label, int16."""
        if labels.null_count == len(labels):
            return np.full(len(labels), self.NONE, np.int16)
        coded = pc.dictionary_encode(labels).combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
        numbers = np.asarray([*map(self.number, coded.dictionary.to_pylist()), self.NONE], np.int16)
        places = pc.fill_null(coded.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(numbers[places])


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one model, one element for each row."""

    value: _Array
    """The score; NaN where it failed or gave none."""
    label: _Array
    """Number of the label."""
    is_failed: _Array
    """Whether it answered with an error."""
    is_late: _Array
    """Whether it came after the request's deadline."""
    after_us: _Array
    """Microseconds after the parcel was stored; NaN unknown."""

    def take(self, places: _Array) -> "Scores":
        """Returns some of them."""
        return Scores(*(getattr(self, name)[places] for name in Scores.__slots__))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows that both models have a score of, errors too; one element for each."""

    request: _Array | None
    """Hash of the request's id; None: each row is a request."""
    place: _Array
    """Hash of the request's id and the row, in any order."""
    parcel: _Array
    """Stream sequence of the parcel."""
    asked_us: _Array
    """When the request was stored, microseconds since 1970-01-01 UTC."""
    first: Scores
    """Of the first model."""
    second: Scores
    """Of the second."""

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.place)

    @property
    def both_scored(self) -> _Array:
        """Whether neither failed."""
        return ~(self.first.is_failed | self.second.is_failed)


@dataclass(slots=True)
class Unpaired:
    """Rows that cannot be compared."""

    only_first: int = 0
    """Scored by the first alone."""
    only_second: int = 0
    """Scored by the second alone."""
    repeats: int = 0
    """Scored before, in another parcel or delivery."""


class Reader:
    """Reads the pairs of two models, slice by slice: `start`, then `pairs`. Ends its threads as a context manager.

    Args:
        connection: to an archive's views, used by this alone.
        columns: the compared columns.
        sides: the two models.
        condition: which scores count, in SQL.
        vocabulary: gets the labels.
        one_row: each request has one row.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        columns: Columns,
        sides: tuple[Side, Side],
        *,
        condition: str,
        vocabulary: Vocabulary,
        one_row: bool,
    ) -> None:
        self._connection = connection
        self._columns = columns
        self._sides = sides
        self._condition = condition
        self._vocabulary = vocabulary
        self._one_row = one_row
        self._seen = Seen()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="compare-read")
        self._slices: Sequence[Slice] = ()
        self._reading: list[Future[pa.Table]] = []
        self.unpaired = Unpaired()
        """What could not be paired so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.shutdown(cancel_futures=True)

    def start(self, slices: Sequence[Slice]) -> None:
        """Begins to read the first slice, so that it is there when `pairs` is asked for it."""
        self._slices = slices
        self._read_ahead(0)

    def pairs(self) -> Iterator[tuple[Slice, Pairs]]:
        """Yields each slice's pairs; while one is worked on, the next is paired, and the one after that is read."""
        with ThreadPoolExecutor(1, thread_name_prefix="compare-pair") as between:
            paired: tuple[Slice, Future[Pairs]] | None = None
            for number, part in enumerate(self._slices):
                table = self._reading.pop().result()
                self._read_ahead(number + 1)
                before, paired = paired, (part, between.submit(self._pair, table))
                del table
                if before is not None:
                    yield before[0], before[1].result()
                    del before
            if paired is not None:
                yield paired[0], paired[1].result()

    def _read_ahead(self, number: int) -> None:
        self._reading += [self._ahead.submit(self._read, each) for each in self._slices[number : number + 1]]

    def _read(self, part: Slice) -> pa.Table:
        first, second = (side.condition for side in self._sides)
        request = "" if self._one_row else "hash(request_id) AS request,"
        query = (
            f"SELECT {request} hash(request_id, row) AS place, "  # noqa: S608 # quoted names and texts
            f"{first} AS is_first, parcel_sequence, epoch_us(stored_at) AS stored_us, "
            f"error_code IS NOT NULL AS failed, coalesce(late, false) AS late, CAST(after_us AS DOUBLE) AS after_us, "
            f"{self._columns.score_sql} AS score, "
            f"{self._columns.label_sql} AS label FROM scores "
            f"WHERE {part.condition} AND row IS NOT NULL AND ({first} OR {second}) AND {self._condition}"
        )
        return self._connection.sql(query).to_arrow_table()

    def _pair(self, table: pa.Table) -> Pairs:
        columns = {name: _numpy(table[name]) for name in table.column_names if name != "label"}
        labels = self._vocabulary.encode(table["label"])
        is_first = columns["is_first"]
        place, stored = columns["place"], columns["stored_us"]
        chosen = []
        for side, which in zip(self._sides, (np.flatnonzero(is_first), np.flatnonzero(~is_first)), strict=True):
            # Of several, the first live one counts, and the last that a replay made.
            rank = stored[which] if side.is_live else -stored[which]
            kept = first_of_each(place[which], rank)
            self.unpaired.repeats += len(which) - len(kept)
            chosen.append(which[kept])
        first, second = self._common(place, *chosen)
        every = Scores(columns["score"], labels, columns["failed"], columns["late"], columns["after_us"])
        scores = every.take(first), every.take(second)
        is_untold = np.isnan(scores[0].after_us)
        asked = stored[first] - np.where(is_untold, 0.0, scores[0].after_us).astype(np.int64)
        if is_untold.any():
            after = np.nan_to_num(scores[1].after_us[is_untold]).astype(np.int64)
            asked[is_untold] = stored[second[is_untold]] - after
        return Pairs(
            None if self._one_row else columns["request"][first],
            place[first],
            columns["parcel_sequence"][first],
            asked,
            *scores,
        )

    def _common(self, place: _Array, first: _Array, second: _Array) -> tuple[_Array, _Array]:
        found = Places(place[second]).find(place[first])
        is_common = found >= 0
        self.unpaired.only_first += int((~is_common).sum())
        self.unpaired.only_second += len(second) - int(is_common.sum())
        first, second = first[is_common], second[found[is_common]]
        is_new = self._seen.add(place[first])
        if is_new.all():
            return first, second
        self.unpaired.repeats += int((~is_new).sum())
        return first[is_new], second[is_new]


def _numpy(column: pa.ChunkedArray) -> _Array:
    array: _Array = column.to_numpy()
    return array.astype(np.bool_, copy=False) if array.dtype == object else array

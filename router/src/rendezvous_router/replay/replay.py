"""Scores history with a candidate and writes its scores into the archive: in order, once each, from where it ended.

The run is a source of the archive, `replay-<run>`, whose sequences are those of the inputs that it has scored: what an
entry of its manifest covers is done, and the next one begins behind it. Scores are written, then the entry, so a
process that is killed at any moment loses what it had scored since the last entry, and nothing is there twice.

Source: ADR 0025.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from rendezvous_proto import v1
from rendezvous_sdk.archive.layout import Generation
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.archive.tables import error_name, merge
from rendezvous_router.replay.candidate import Candidate
from rendezvous_router.replay.history import History, Place, StoredParcels, same_stream
from rendezvous_router.replay.options import ReplayLimits
from rendezvous_router.replay.pace import Pace
from rendezvous_router.replay.pieces import Piece, Skipped, cut_pieces
from rendezvous_router.replay.rows import ReplayedModel, score_tables
from rendezvous_router.replay.scoring import Outcome, score_piece

__all__ = ["Replay", "Totals"]


@dataclass(slots=True)
class Totals:
    """What a run has done since it was started or resumed."""

    requests: int = 0
    """Requests asked."""
    scored: int = 0
    """Rows that the candidate scored."""
    failed: int = 0
    """Rows that it failed on or refused."""
    errors: Counter[str] = field(default_factory=Counter)
    """The same by the error's name."""
    first_error: str = ""
    """Message of the first error."""
    skipped: Skipped = field(default_factory=Skipped)
    """What was not asked."""
    written: int = 0
    """Rows in the archive."""

    @property
    def rows(self) -> int:
        """Rows asked."""
        return self.scored + self.failed

    def count(self, outcome: Outcome) -> None:
        """Counts one outcome."""
        rows = outcome.stop - outcome.start
        self.requests += outcome.requests
        if outcome.error is None:
            self.scored += rows
        else:
            self.failed += rows
            self.errors[error_name(outcome.error.code)] += rows
            self.first_error = self.first_error or outcome.error.message


@dataclass(frozen=True, slots=True)
class _Asked:
    """One piece on its way."""

    piece: Piece
    outcomes: "asyncio.Task[list[Outcome]]"


@dataclass(frozen=True, slots=True)
class _Mark:
    """The end of some whole parcels, behind their pieces."""

    sequence: int
    """Of the last parcel."""


class Replay:
    """One run. Belongs to the event loop; reads and writes in threads.

    Args:
        history: what is scored.
        store: where the scores go.
        candidate: what scores.
        model: what the rows say of it.
        outputs: columns that it must give; empty: any.
        repeats: first places of requests that are there more than once.
        limits: how much at a time.
        on_progress: called with the rows that are done since the last call.
    """

    def __init__(
        self,
        history: History,
        store: ArchiveStore,
        candidate: Candidate,
        *,
        model: ReplayedModel,
        outputs: list[v1.ColumnSpec],
        repeats: Mapping[str, Place],
        limits: ReplayLimits,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.totals = Totals()
        self._history = history
        self._store = store
        self._candidate = candidate
        self._model = model
        self._outputs = outputs
        self._repeats = repeats
        self._limits = limits
        self._on_progress = on_progress
        self._pace = Pace(limits.rate)
        self._asked: deque[_Asked | _Mark] = deque()
        self._calls = 0
        self._tables: list[pa.Table] = []
        self._complete = 0
        """How many of the tables are of parcels that are done."""
        self._rows = 0
        self._generation: Generation | None = None
        self._covered = 0
        """Sequence up to which parcels of that generation are done."""
        self._unread = 0
        """Sequence up to which nothing of that generation was to be read: it lies before the span, or is gone."""
        self._wrote_at = time.monotonic()

    @staticmethod
    def reached(store: ArchiveStore) -> Place | None:
        """Returns up to where a run has scored; None: it has not begun."""
        last = store.last_range
        return None if last is None else Place(Generation.parse(last.generation), last.last)

    async def run(self) -> Totals:
        """Scores all that is left, and writes it.

        Returns:
            What was done; `totals` tells it also of a run that failed or was cancelled. Parcels that were done by then
            are written.

        Raises:
            CandidateGoneError: the candidate does not answer.
            ArchiveError: the history cannot be read.
            OSError: the scores cannot be written.
        """
        parcels = self._history.read(self.reached(self._store))
        try:
            while (each := await asyncio.to_thread(next, parcels, None)) is not None:
                await self._score_parcels(each)
            await self._take_all()
        finally:
            await end_tasks(*[each.outcomes for each in self._asked if isinstance(each, _Asked)])
            await asyncio.shield(asyncio.to_thread(self._write))
        return self.totals

    async def _score_parcels(self, parcels: StoredParcels) -> None:
        if self._generation is None or not same_stream(parcels.generation, self._generation):
            await self._begin(parcels)
        most_rows = self._pace.rows_at_once(self._limits.piece_rows)
        for piece in cut_pieces(parcels, self._repeats, self.totals.skipped, most_rows=most_rows):
            await self._pace.wait(piece.rows)
            while self._calls >= self._limits.concurrency:
                await self._take()
            asking = asyncio.create_task(score_piece(self._candidate, piece, self._outputs))
            self._asked.append(_Asked(piece, asking))
            self._calls += 1
        self._asked.append(_Mark(parcels.last))

    async def _begin(self, parcels: StoredParcels) -> None:
        """Writes all that an earlier stream had, and goes on with the next."""
        await self._take_all()
        await asyncio.to_thread(self._write)
        stream, reached = parcels.generation, self.reached(self._store)
        if reached is not None and same_stream(reached.generation, stream):
            self._generation, self._covered = reached.generation, reached.sequence
        else:
            before = 0
            if reached is not None and reached.generation.created_unix_us == stream.created_unix_us:
                before = reached.sequence  # the stream lost its end, and goes on under the next number
            begin = min(stream.begin, before + 1) if before else 1
            self._generation = Generation(stream.created_unix_us, stream.number, begin)
            self._covered, self._unread = begin - 1, parcels.first - 1

    async def _take_all(self) -> None:
        while self._asked:
            await self._take()

    async def _take(self) -> None:
        """Waits for the oldest piece: scores are written in the order of the inputs."""
        oldest = self._asked[0]
        if isinstance(oldest, _Mark):
            self._asked.popleft()
            await self._complete_parcels(oldest)
            return
        outcomes = await oldest.outcomes
        self._asked.popleft()
        self._calls -= 1
        for outcome in outcomes:
            self.totals.count(outcome)
        self._tables += score_tables(self._model, oldest.piece, outcomes)
        self._rows += oldest.piece.rows
        self._on_progress(oldest.piece.rows)

    async def _complete_parcels(self, mark: _Mark) -> None:
        self._covered, self._complete = mark.sequence, len(self._tables)
        waited_s = time.monotonic() - self._wrote_at
        if self._rows >= self._limits.file_rows or (self._rows and waited_s >= self._limits.file_s):
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        """Writes what is complete and not written; again, if it could not be written before."""
        if self._generation is None:
            return
        last, first = self._store.last_range, self._generation.begin
        if last is not None and last.generation == str(self._generation):
            first = last.last + 1
        if first > self._covered:
            return
        tables = self._tables[: self._complete]
        self._store.write_batch(
            Batch(
                generation=self._generation,
                first=first,
                last=self._covered,
                last_stored_unix_us=time.time_ns() // 1000,
                messages=len({each for table in tables for each in table["parcel_sequence"].unique().to_pylist()}),
                deleted=((first, self._unread),) if first <= self._unread else (),
                tables=[("scores", table) for table in merge(tables)],
            )
        )
        del self._tables[: self._complete]
        written = sum(table.num_rows for table in tables)
        self.totals.written += written
        self._rows -= written
        self._complete = 0
        self._wrote_at = time.monotonic()

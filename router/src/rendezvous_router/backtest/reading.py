"""Recorded requests, one after the other, in memory that does not grow with their number."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rendezvous.backtest import RecordedRequest
from rendezvous.spec import ColumnSpec
from rendezvous_sdk.archive.reader import Archive

from rendezvous_router.backtest import queries
from rendezvous_router.backtest.assembling import PieceAssembly
from rendezvous_router.backtest.pieces import Piece, plan_pieces
from rendezvous_router.backtest.policies import Policies, RecordedSpec
from rendezvous_router.record import id_unix_us

__all__ = ["FoundRequest", "Record"]


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """One recorded request with what is known about it."""

    request: RecordedRequest
    """The request."""
    spec: RecordedSpec
    """The specification that was in force."""
    truths: Sequence[tuple[int, Mapping[str, Any]]]
    """Rows of which the truth is known, and the truth about each output; None: unknown."""


class Record:
    """Reads an endpoint's record.

    Args:
        archive: opened with the time that is asked for, and the endpoint chosen.
        outputs: the signature's outputs.
        truths: columns of the view `answers` with the truth, by the output that it is about.
    """

    def __init__(self, archive: Archive, outputs: Sequence[ColumnSpec], truths: Mapping[str, str]) -> None:
        self._archive = archive
        self._outputs = tuple(outputs)
        self._truths = dict(truths)
        self._kept_scores = frozenset(column for (column, *_) in archive.sql("DESCRIBE scores").fetchall())
        self.pieces: list[Piece] = plan_pieces(archive.connection)
        self.without_scores = 0
        """Requests left out: a score that had arrived is not in the record (yet)."""
        self.repeats = 0
        """Decisions left out: their requests had been decided before."""
        self.rounded = 0
        """Requests whose times the record has in microseconds only."""

    @property
    def requests(self) -> int:
        """Decisions that the record has."""
        return sum(piece.requests for piece in self.pieces)

    def read(self, policies: Policies, *, with_repeats: bool = False) -> Iterator[FoundRequest]:
        """Yields all requests in the order in which they were decided.

        Args:
            policies: tells what was in force.
            with_repeats: also decisions on requests that had been decided before: a client tried again.
        """
        repeated = set(self._ask(queries.repeated_requests()).column("request_id").to_pylist())
        decided: set[str] = set()
        if self._truths:
            self._archive.connection.execute(queries.keep_truths(self._truths))
        for piece in self.pieces:
            assembly = self._assemble(piece)
            for number, request_id in enumerate(assembly.request_ids):
                if request_id in repeated and not with_repeats:
                    if request_id in decided:
                        self.repeats += 1
                        continue
                    decided.add(request_id)
                spec = policies.in_force(*assembly.origin(number))
                request = assembly.request(number, spec.deadline_s)
                if request is None:
                    self.without_scores += 1
                else:
                    yield FoundRequest(request, spec, assembly.truths.get(number, ()))
            self.rounded += assembly.rounded

    def _assemble(self, piece: Piece) -> PieceAssembly:
        self._archive.connection.execute(queries.make_piece(piece, self._outputs))
        decisions = self._ask(queries.decisions_of())
        ids = decisions.column("parcel_id").drop_null().unique().to_pylist()
        parcels = (min(ids, default=""), max(ids, default=""))
        times = [at for each in ids if (at := id_unix_us(each)) is not None]
        sealed_s = (
            (min(times) / 1e6, max(times) / 1e6) if len(times) == len(ids) and ids else (piece.first_s, piece.end_s)
        )
        return PieceAssembly(
            decisions,
            self._ask(queries.asked_inputs(parcels, sealed_s)),
            self._ask(queries.asked_scores(self._outputs, self._kept_scores, parcels, sealed_s)),
            self._outputs,
            self._read_truths(),
        )

    def _read_truths(self) -> dict[int, list[tuple[int, dict[str, Any]]]]:
        if not self._truths:
            return {}
        found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for number, row, *values in self._archive.sql(queries.truths_of(self._truths)).fetchall():
            found.setdefault(number, []).append((row, dict(zip(self._truths, values, strict=True))))
        return found

    def _ask(self, query: str) -> pa.Table:
        return self._archive.sql(query).to_arrow_table().combine_chunks()

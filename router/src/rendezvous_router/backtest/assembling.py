"""Puts the rows of a piece of the record together: decisions, how they were asked, and what the models said.

A score that had arrived when its request was decided has its moment from the decision. One that came later has the
moment at which the broker stored it, moved by what that differs for the scores of the same request whose moments are
known both ways (else by the request's wait for its parcel). Source, and how far off that is: ADR 0026.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from statistics import median
from typing import Any, NamedTuple

import pyarrow as pa
from rendezvous.answers import Failure, Score
from rendezvous.backtest import RecordedArrival, RecordedDecision, RecordedRequest
from rendezvous.spec import ColumnSpec
from rendezvous_proto.errors import ErrorCode

from rendezvous_router.backtest.columns import Cut, PieceColumns, lists_of
from rendezvous_router.backtest.queries import columns_of

__all__ = ["PieceAssembly"]

_PENDING = "pending"
_FAILED = "failed"
_INTERNAL = ErrorCode.INTERNAL


class _Said(NamedTuple):
    """What one model said of one request; what fits the signature in no way has an error here."""

    version: str
    error_code: str | None
    error_message: str | None
    after_us: int | None
    start: int
    rows: int


class _Noted(NamedTuple):
    """An arrival as the decision has it."""

    version: str
    status: str
    after_ns: int
    error_code: str | None
    error_message: str | None


class PieceAssembly:
    """The requests of one piece, by number.

    Args:
        decisions: rows of `queries.decisions_of`.
        inputs: rows of `queries.asked_inputs`.
        scores: rows of `queries.asked_scores`.
        outputs: the signature's outputs.
        truths: rows of which the truth is known, by number.
    """

    def __init__(
        self,
        decisions: pa.Table,
        inputs: pa.Table,
        scores: pa.Table,
        outputs: Sequence[ColumnSpec],
        truths: Mapping[int, Sequence[tuple[int, Mapping[str, Any]]]],
    ) -> None:
        answers = columns_of("decisions", outputs)
        fixed = [each for each in decisions.column_names if each not in ("arrivals", *answers)]
        self._decisions = {each: decisions.column(each).to_pylist() for each in fixed}
        self.request_ids: list[str] = self._decisions["request_id"]
        self._noted = _read_noted(decisions)
        self._answers, self._answer_starts = _read_answers(decisions, outputs)
        self._asked = _read_asked(inputs)
        self._said = _read_said(scores)
        names = columns_of("scores", outputs)
        self._scored = PieceColumns(
            {told.name: _flat(scores, column) for told, column in zip(outputs, names, strict=True)}
        )
        self._outputs = tuple(outputs)
        self.truths = truths
        self.rounded = 0

    def origin(self, number: int) -> tuple[str, int, int]:
        """Returns router, revision and stream sequence of a decision."""
        found = self._decisions
        return found["router"][number] or "", found["spec_revision"][number] or 0, found["stream_sequence"][number] or 0

    def request(self, number: int, deadline_s: float | None) -> RecordedRequest | None:
        """Returns one request.

        Args:
            number: which.
            deadline_s: the deadline of the policy in force, seconds; None: unknown.

        Returns:
            The request; None: a score that had arrived is not in the record.
        """
        decided = self._decided(number)
        context, force, left_us = self._asked.get(number, ({}, None, None))
        found = self._decisions
        budget_ns = found["budget_ns"][number]
        is_rounded = budget_ns is None
        if is_rounded:
            budget_ns = ((found["decided_after_us"][number] or 0) + (found["deadline_left_us"][number] or 0)) * 1000
        arrivals = self._arrivals(number, decided, 0 if left_us is None else max(0, budget_ns // 1000 - left_us))
        if arrivals is None:
            return None
        self.rounded += is_rounded
        return RecordedRequest(
            found["request_id"][number],
            found["rows"][number] or 0,
            budget_ns,
            tuple(arrivals),
            decided,
            context,
            force or None,
            deadline_s,
        )

    def _decided(self, number: int) -> RecordedDecision:
        found = self._decisions
        after_ns = found["decided_after_ns"][number]
        if after_ns is None:
            after_ns = (found["decided_after_us"][number] or 0) * 1000
        error = found["error_code"][number] or ""
        start = self._answer_starts[number]
        columns = None if error or start is None else Cut(self._answers, start, found["rows"][number] or 0)
        due_ns = found["due_after_ns"][number]
        return RecordedDecision(
            found["rule"][number] or "",
            tuple(found["models"][number] or ()),
            after_ns,
            after_ns if due_ns is None else due_ns,
            columns,
            error,
        )

    def _arrivals(self, number: int, decided: RecordedDecision, wait_us: int) -> list[RecordedArrival] | None:
        noted, said = self._noted[number], self._said.get(number, {})
        found, apart_us = [], []
        for model, each in noted.items():
            score = self._scored_as(model, each, said.get(model, ()), decided)
            if score is None:
                return None
            found.append(RecordedArrival(score, each.after_ns))
            heard = said.get(model)
            if heard and heard[0].after_us is not None:
                apart_us.append(each.after_ns / 1000 - heard[0].after_us)
        late = [model for model in said if model not in noted]
        if late:
            later_us = median(apart_us) if apart_us else wait_us
            for model in late:
                first = said[model][0]
                if first.after_us is not None:
                    after_ns = max(round((first.after_us + later_us) * 1000), decided.decided_after_ns + 1)
                    found.append(RecordedArrival(self._checked(model, first), after_ns, is_exact=False))
        found.sort(key=_moment)
        return found

    def _scored_as(self, model: str, noted: _Noted, said: Sequence[_Said], decided: RecordedDecision) -> Score | None:
        """Returns a score as the mailbox saw it; None: what it said is not in the record."""
        if noted.status == _FAILED:
            return Score(model, noted.version, None, _failure(noted.error_code, noted.error_message))
        for each in said:
            if each.error_code is None and each.version == noted.version:
                return self._score(model, each)
        if decided.models == (model,) and decided.columns is not None:
            return Score(model, noted.version, decided.columns)  # the answer is this score, whoever lost it
        return None

    def _checked(self, model: str, said: _Said) -> Score:
        """Returns a score that the router has not judged, as it would have: what the signature forbids has failed."""
        score = self._score(model, said)
        if score.columns is None:
            return score
        for column in self._outputs:
            if not _is_allowed(score.columns.column(column.name), column):
                message = f"model {model}: a value of {column.name} that is not allowed"
                return Score(model, said.version, None, Failure(int(ErrorCode.INVALID_OUTPUT), message))
        return score

    def _score(self, model: str, said: _Said) -> Score:
        if said.error_code is not None:
            return Score(model, said.version, None, _failure(said.error_code, said.error_message))
        return Score(model, said.version, Cut(self._scored, said.start, said.rows))


def _is_allowed(values: Sequence[Any], column: ColumnSpec) -> bool:
    """Returns whether values of an output, or elements of theirs, are missing or not finite only where they may be."""
    for value in values:
        if value is None:
            if not column.missing:
                return False
        elif isinstance(value, list):
            if not _is_allowed(value, column):
                return False
        elif not column.nan and isinstance(value, float) and not isfinite(value):
            return False
    return True


def _moment(arrival: RecordedArrival) -> int:
    return arrival.after_ns


def _failure(code: str | None, message: str | None) -> Failure:
    known = ErrorCode.__members__.get(code or "", _INTERNAL)
    return Failure(int(known), message or "")


def _flat(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _read_noted(decisions: pa.Table) -> list[dict[str, _Noted]]:
    """Returns for each decision what had arrived, by model."""
    starts, arrivals = lists_of(decisions, "arrivals")
    given = [
        arrivals.field(name).to_pylist()
        for name in ("model", "version", "status", "after_us", "after_ns", "error_code", "error_message")
    ]
    every = [
        (model, _Noted(version or "", status, ns or (us or 0) * 1000, code, message))
        for model, version, status, us, ns, code, message in zip(*given, strict=True)
    ]
    return [
        {model: noted for model, noted in every[start:end] if noted.status != _PENDING}
        for start, end in pairwise(starts)
    ]


def _read_answers(decisions: pa.Table, outputs: Sequence[ColumnSpec]) -> tuple[PieceColumns, list[int | None]]:
    """Returns the answers' columns, and where each request's rows begin in them; None: it has none."""
    flat: dict[str, pa.Array] = {}
    starts: list[int | None] = [None] * decisions.num_rows
    for told, column in zip(outputs, columns_of("decisions", outputs), strict=True):
        begins, flat[told.name] = lists_of(decisions, column)
        missing = decisions.column(column).is_null().to_pylist()
        starts = [None if is_missing else begin for begin, is_missing in zip(begins, missing, strict=False)]
    return PieceColumns(flat), starts


def _read_asked(inputs: pa.Table) -> dict[int, tuple[Mapping[str, str], str | None, int | None]]:
    """Returns context, forced model, and deadline by the broker's clock less storage, microseconds, by number."""
    asked: dict[int, tuple[Mapping[str, str], str | None, int | None]] = {}
    rows = zip(*(inputs.column(name).to_pylist() for name in inputs.column_names), strict=True)
    for number, context, force, stored_us, due_us in rows:
        left_us = None if due_us is None or stored_us is None else due_us - stored_us
        asked.setdefault(number, (dict(context or ()), force, left_us))
    return asked


def _read_said(scores: pa.Table) -> dict[int, dict[str, list[_Said]]]:
    """Returns what each model said, first things first, by number and model; failures too."""
    fixed = ("n", "model", "version", "error_code", "error_message", "after_us", "score_sequence", "delivery")
    columns = [scores.column(name).to_pylist() for name in fixed]
    said: dict[int, dict[str, list[_Said]]] = {}
    before: tuple[Any, ...] | None = None
    start = 0
    rows = list(zip(*columns, strict=True))
    for place, row in enumerate(rows):
        if before is not None and (row[0], row[6], row[1]) != (before[0], before[6], before[1]):
            _keep_said(said, before, start, place)
            start = place
        before = row
    if before is not None:
        _keep_said(said, before, start, len(rows))
    return said


def _keep_said(said: dict[int, dict[str, list[_Said]]], row: tuple[Any, ...], start: int, end: int) -> None:
    number, model, version, code, message, after_us, _, _ = row
    found = _Said(version or "", code, message, after_us, start, end - start)
    said.setdefault(number, {}).setdefault(model, []).append(found)

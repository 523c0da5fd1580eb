"""Asks the archive for a comparison."""

import datetime as dt
import tempfile
from typing import Any

import numpy as np
from rendezvous_sdk.archive.reader import Archive
from rendezvous_sdk.archive.schema import signature_of
from rendezvous_sdk.archive.sql_text import moment

from rendezvous_router.compare.census import Census, Side, Slice
from rendezvous_router.compare.columns import Columns, check_positive, find_columns, find_positive
from rendezvous_router.compare.known import Grouping, KnownTruths
from rendezvous_router.compare.pairs import Reader, Vocabulary
from rendezvous_router.compare.question import CompareError, Question
from rendezvous_router.compare.reporting import (
    METHODS,
    report_agreement,
    report_differences,
    report_groups,
    report_model,
)
from rendezvous_router.compare.results import Comparison, Pairing, TruthReport
from rendezvous_router.compare.tally import Tally, Target
from rendezvous_router.compare.truths import CLASSES, NUMBERS, Truths, gather_truths, leave_out_unreadable
from rendezvous_router.compare.worst import find_worst

__all__ = ["compare"]

_MEMORY = "512MB"
_BINS = 40
_SHOWN_SAMPLE = 1500
LOAD = "load it with `rendezvous feedback load`"


def compare(
    archive: Archive, question: Question, *, since: dt.datetime | None = None, until: dt.datetime | None = None
) -> Comparison:
    """Compares two models on the requests that both have scored.

    Memory is bounded: at most 512 MB for DuckDB, which then uses a temporary folder, and some hundred bytes for each of
    a million rows at a time; beside that about 40 bytes for each known truth.

    Args:
        archive: opened for one endpoint, without a span of time.
        question: what is compared.
        since: requests stored from then on; None: from the first.
        until: requests stored before; None: to the last.

    Returns:
        The comparison.

    Raises:
        CompareError: there is no such model, output or column, or there are no common requests; says what there is.
    """
    with tempfile.TemporaryDirectory(prefix="rendezvous-compare-") as spill:
        connection = archive.connection
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute("SET temp_directory = ?", [spill])
        return _Asking(archive, question, _in_time(archive, since, until), _stored(since, until)).answer()


def _in_time(archive: Archive, since: dt.datetime | None, until: dt.datetime | None) -> str:
    """Returns a condition for scores about requests of a span of time.

    Sequences of the stream ascend with time, so the parcels of a span are those between two sequences: that leaves out
    whole files. Scores that were live tell the time by themselves.
    """
    if since is None and until is None:
        return "true"
    row = archive.connection.execute(
        f"SELECT min(stream_sequence), max(stream_sequence) FROM inputs WHERE {_stored(since, until)}"  # noqa: S608 # moments
    ).fetchall()[0]
    # Without inputs of that time only live scores tell whether they belong to it.
    parcels = ["origin = 'live'" if row[0] is None else f"parcel_sequence BETWEEN {row[0]} AND {row[1]}"]
    asked = _stored(since, until, "(stored_at - to_microseconds(after_us))")
    return " AND ".join([*parcels, f"(after_us IS NULL OR ({asked}))"])


def _stored(since: dt.datetime | None, until: dt.datetime | None, column: str = "stored_at") -> str:
    limits = ([f"{column} >= {moment(since)}"] if since else []) + ([f"{column} < {moment(until)}"] if until else [])
    return " AND ".join(limits) or "true"


class _Asking:
    """One question on its way to an answer."""

    def __init__(self, archive: Archive, question: Question, condition: str, inputs_condition: str) -> None:
        self._archive = archive
        self._connection = archive.connection
        self._question = question
        self._condition = condition
        self._inputs_condition = inputs_condition
        self._notes: list[str] = []
        self._vocabulary = Vocabulary()

    def answer(self) -> Comparison:
        """Returns the comparison."""
        census = Census(self._connection, self._condition)
        sides = _choose(census, self._question)
        slices = census.slices(sides)
        columns = find_columns(self._archive, self._question)
        one_row = census.have_one_row(sides)
        with Reader(
            self._connection.cursor(),
            columns,
            sides,
            condition=self._condition,
            vocabulary=self._vocabulary,
            one_row=one_row,
        ) as reader:
            reader.start(slices)
            return self._compare(reader, census, sides, slices, columns, one_row=one_row)

    def _compare(
        self,
        reader: Reader,
        census: Census,
        sides: tuple[Side, Side],
        slices: list[Slice],
        columns: Columns,
        *,
        one_row: bool,
    ) -> Comparison:
        truths = gather_truths(self._connection, columns)
        if self._question.positive is not None:
            check_positive(self._connection, columns, self._question.positive, truths_are_text=truths.is_text)
        target = self._target(columns, truths, sides[0], slices[0])
        self._leave_out(truths, target)
        known = KnownTruths(self._connection, truths, self._vocabulary, positive=target.positive, one_row=one_row)
        grouping = self._grouping()
        tally = Tally(
            target,
            groups=len(grouping.names) if grouping else 0,
            worst=self._question.worst,
            tolerance=self._question.tolerance,
            vocabulary=self._vocabulary,
            span_us=census.span_us(sides),
            are_live=all(side.is_live for side in sides),
            has_scores=columns.score is not None,
        )
        for part, pairs in reader.pairs():
            tally.add(pairs, known.of(pairs), grouping.of(part, pairs) if grouping and pairs.count else None)
        return self._told(tally, reader, columns, sides, target, grouping)

    def _target(self, columns: Columns, truths: Truths, side: Side, part: Slice) -> Target:
        if truths.task is None:
            self._notes.append(
                f"no truth is known of these outputs: accuracy, AUC, losses and calibration are left out; {LOAD}"
            )
            return Target(task=None)
        if truths.task == NUMBERS:
            return Target(task=NUMBERS)
        positive = self._question.positive
        if positive is None and columns.label is not None:
            positive = find_positive(self._connection, columns, side, part, columns.label)
        if positive is None and truths.is_text:
            self._notes.append(
                "which label the scores tell the probability of is unknown: AUC, log-loss, Brier score and calibration "
                "are left out; name it with --positive"
            )
        return Target(
            task=CLASSES,
            is_text=truths.is_text,
            positive=None if positive is None else self._vocabulary.number(positive),
            has_labels=columns.label is not None,
            threshold=columns.threshold,
        )

    def _leave_out(self, truths: Truths, target: Target) -> None:
        left_out = leave_out_unreadable(self._connection, truths, has_positive=target.positive is not None)
        if not left_out:
            return
        what = "numbers where others are labels" if truths.is_text else "labels where others are numbers"
        hint = "" if target.positive is not None or not truths.is_text else "; 0 and 1 could, with --positive"
        self._notes.append(f"{left_out} truths cannot be read, and are left out: {what}{hint}")

    def _grouping(self) -> Grouping | None:
        if self._question.by is None:
            return None
        inputs = signature_of(self._archive.dataset("inputs").schema)
        column = next(
            (each for each, told in inputs.items() if told.name == self._question.by and not told.shape), None
        )
        if column is None:
            known = ", ".join(told.name for told in inputs.values()) or "none: inputs are not in the archive"
            raise CompareError(f"there is no input {self._question.by!r} to group by; there are {known}")
        condition = self._inputs_condition
        return Grouping(self._connection.cursor(), column, condition)

    def _told(
        self,
        tally: Tally,
        reader: Reader,
        columns: Columns,
        sides: tuple[Side, Side],
        target: Target,
        grouping: Grouping | None,
    ) -> Comparison:
        question, (first, second) = self._question, sides
        if not tally.rows:
            raise CompareError(
                f"{first.asked} and {second.asked} have no row in common: {reader.unpaired.only_first} rows have a "
                f"score of the one, {reader.unpaired.only_second} of the other; give a longer time, or score the "
                "requests of the one with the other: `rendezvous replay`"
            )
        if not all(side.is_live for side in sides):
            replayed = " and ".join(side.asked for side in sides if not side.is_live)
            self._notes.append(f"scores of {replayed} come from a replay: latency and lateness are left out")
        edges = _edges(tally)
        return Comparison(
            endpoint=str(self._archive.endpoint),
            score_column=None if columns.score is None else columns.outputs[columns.score].name,
            label_column=None if columns.label is None else columns.outputs[columns.label].name,
            alpha=question.alpha,
            first=report_model(first, tally.sides[0], tally, edges),
            second=report_model(second, tally.sides[1], tally, edges),
            pairing=Pairing(
                requests=tally.requests,
                rows=tally.rows,
                only_first=reader.unpaired.only_first,
                only_second=reader.unpaired.only_second,
                repeats=reader.unpaired.repeats,
                since_unix_us=tally.asked_us[0],
                until_unix_us=tally.asked_us[1],
            ),
            agreement=report_agreement(tally, question.alpha),
            differences=report_differences(tally, question.alpha),
            groups=report_groups(tally, str(question.by), grouping.names, question.alpha) if grouping else None,
            truth=TruthReport(
                rows=tally.truths,
                task=target.task,
                positive=self._positive(target),
                notes=self._truth_notes(tally, target),
            ),
            worst=find_worst(self._archive, tally.worst, self._vocabulary, target),
            rank_error=max(side.score.rank_error for side in tally.sides),
            score_edges=edges,
            sample=_sample(tally),
            methods=METHODS,
        )

    def _positive(self, target: Target) -> str | None:
        if target.task != CLASSES:
            return None
        return (
            "1"
            if target.positive is None and not target.is_text
            else (None if target.positive is None else self._vocabulary.names[target.positive])
        )

    def _truth_notes(self, tally: Tally, target: Target) -> list[str]:
        notes = list(self._notes)
        if target.task is not None and not tally.truths:
            notes.append(f"none of the common rows has a known truth yet; {LOAD}")
        if target.task == CLASSES and tally.truths and "brier" in tally.measures and not _probable(tally):
            notes.append(
                "scores outside 0 to 1 are no probabilities: log-loss, Brier score and calibration are left out"
            )
        return notes


def _probable(tally: Tally) -> bool:
    return all(side.score.least >= 0 and side.score.greatest <= 1 for side in tally.sides)


def _choose(census: Census, question: Question) -> tuple[Side, Side]:
    first, second = census.choose(question.first), census.choose(question.second)
    if first.model == second.model and first.is_live == second.is_live and set(first.versions) & set(second.versions):
        raise CompareError(
            f"{first.asked} and {second.asked} share scores ({first.model}:{', '.join(first.versions)}): name two "
            f"models, or two versions as NAME:VERSION; there are {', '.join(census.models)}"
        )
    return first, second


def _edges(tally: Tally) -> list[float]:
    sketches = [side.score for side in tally.sides if side.score.count]
    if not sketches or not _is_finite(sketches):
        return []
    low, high = min(each.least for each in sketches), max(each.greatest for each in sketches)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return [float(each) for each in np.linspace(low, high if high > low else low + 1, _BINS + 1)]


def _is_finite(sketches: list[Any]) -> bool:
    return all(np.isfinite([each.least, each.greatest]).all() for each in sketches)


def _sample(tally: Tally) -> list[tuple[float, float]]:
    columns = tally.sample.columns
    if not columns:
        return []
    pairs = zip(columns["first"][:_SHOWN_SAMPLE], columns["second"][:_SHOWN_SAMPLE], strict=True)
    return [(float(x), float(y)) for x, y in pairs]

"""From parcels to scores, without any I/O: what the server and the in-memory postbox both run.

A parcel is scored as one table, several waiting parcels as one too. Where the model fails, the table is
halved by requests until the ones that fail stand alone; the others are answered.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ExpiredError,
    InternalError,
    InvalidFrameError,
    InvalidOutputError,
    ModelFailedError,
    RendezvousError,
    TooLargeError,
)
from rendezvous_proto.frames import check_frame, join_frames, slice_frame, split_frame

from rendezvous_sdk.fitting import fit_score
from rendezvous_sdk.model import Model
from rendezvous_sdk.options import DEFAULT_MAX_ROWS, MAX_DELIVER
from rendezvous_sdk.thread import ThreadLeftBehind
from rendezvous_sdk.traces import ScoredSpan, trace_scored

__all__ = ["Delivery", "ParcelScorer", "unix_us"]

_log = logging.getLogger(__name__)

_MESSAGE_CHARACTERS = 300
_SPLITTING_LIMIT_S = 5.0


def unix_us() -> int:
    """Returns the wall clock, microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery of a parcel to this replica."""

    parcel: v1.Parcel
    """The parcel."""
    sequence: int = 0
    """Its sequence in the stream."""
    number: int = 1
    """Which delivery this is; 1 = the first."""
    age_us: int = 0
    """Microseconds from the moment when the broker stored the parcel to this delivery, by the broker's clock."""
    received_unix_us: int = 0
    """When it was received, by this process's clock."""


@dataclass(slots=True)
class _Outcome:
    """Scores of a run of items: rows of items `start` to `stop` in one frame, or the error of all of them."""

    start: int
    stop: int
    outputs: v1.Frame | None = None
    error: RendezvousError | None = None


class ParcelScorer:
    """Scores parcels with one model. Not thread-safe: called from the model's thread only.

    Args:
        model: the model, after `setup`.
        endpoint: endpoint that it belongs to.
        name: the model's name.
        version: its version.
        replica: this process.
        max_bytes: largest serialized score; a larger one is answered with TOO_LARGE for each request.
        max_rows: most rows of one request or parcel; more are answered with TOO_LARGE.
        clock: microseconds since 1970-01-01 UTC.
        limited: runs the author's code for as long as it may; by default as long as it takes.
    """

    def __init__(
        self,
        model: Model,
        *,
        endpoint: str,
        name: str,
        version: str,
        replica: str,
        max_bytes: int = 1 << 20,
        max_rows: int = DEFAULT_MAX_ROWS,
        clock: Callable[[], int] = unix_us,
        limited: "Callable[[Callable[[], v1.Frame]], v1.Frame] | None" = None,
    ) -> None:
        self.model = model
        self._limited = limited or _unlimited
        self._endpoint = endpoint
        self._name = name
        self._version = version
        self._replica = replica
        self.max_bytes = max_bytes
        self.max_rows = max_rows
        self._clock = clock

    def score_parcels(self, deliveries: Sequence[Delivery]) -> list[v1.ParcelScore]:
        """Scores several parcels, as one table where their columns are the same.

        Returns:
            One score for each delivery, in order. Whatever goes wrong is in it; nothing is raised.
        """
        try:
            started = self._clock()
            works = [_ParcelWork(delivery) for delivery in deliveries]
            for work in works:
                work.admit(self._refusal_of(work, is_joined=len(works) > 1))
            self._score_together([work for work in works if work.live])
            finished = self._clock()
            return [self._reply(work, started, finished) for work in works]
        except Exception:  # noqa: BLE001 - its trace goes to the log
            # A fault of this SDK must not end the process: it would come again with the parcel, in each replica.
            _log.exception("scoring %d parcels failed outside of the model", len(deliveries))
            if len(deliveries) > 1:
                return [score for each in deliveries for score in self.score_parcels([each])]
            return [self.refuse_parcel(deliveries[0], InternalError("a fault of the model's server: see its log"))]

    def refuse_parcel(self, delivery: Delivery, error: RendezvousError) -> v1.ParcelScore:
        """Returns the score of a parcel of which every request gets *error*. May be called in any thread."""
        work = _ParcelWork(delivery)
        work.admit(error)
        now = self._clock()
        return self._reply(work, delivery.received_unix_us or now, now)

    def score_request(self, frame: v1.Frame) -> v1.Frame:
        """Scores the rows of one request.

        Raises:
            RendezvousError: as the error of an item in a parcel.
        """
        if (refusal := self._refusal_of_rows(frame.rows)) is not None:
            raise refusal
        outcome = self._attempt(frame, 0, 1)
        if outcome.error is not None:
            raise outcome.error
        return outcome.outputs or v1.Frame()

    def _refusal_of(self, work: "_ParcelWork", *, is_joined: bool) -> RendezvousError | None:
        delivery = work.delivery
        if delivery.number >= MAX_DELIVER:
            return ModelFailedError(
                f"delivered {delivery.number} times without an answer, so it is not tried again: "
                "the model's process ended or hung on it",
                {"deliveries": delivery.number, "limit": MAX_DELIVER},
            )
        inputs = delivery.parcel.inputs
        rows = sum(work.rows)
        if rows != inputs.rows or (work.rows and min(work.rows) < 1):
            return InvalidFrameError(
                f"the parcel's items have {rows} rows in all, its frame has {inputs.rows}: "
                "they must be the same, and each item must have one at least",
                {"expected": rows, "actual": inputs.rows},
            )
        if (too_many := self._refusal_of_rows(rows)) is not None:
            return too_many
        if is_joined or work.has_expired:
            try:
                check_frame(inputs)  # is cut or joined before the model checks it
            except InvalidFrameError as error:
                return error
        return None

    def _refusal_of_rows(self, rows: int) -> TooLargeError | None:
        if rows <= self.max_rows:
            return None
        return TooLargeError(
            f"the table has {rows} rows; the limit is {self.max_rows}: send fewer at a time",
            {"actual": rows, "limit": self.max_rows},
        )

    def _score_together(self, works: "Sequence[_ParcelWork]") -> None:
        if not works:
            return
        try:
            table = join_frames([work.table() for work in works])
        except InvalidFrameError:
            # A specification changed between them, or one of them is malformed: each for itself.
            for work in works:
                self._score_alone(work)
            return
        counts = [rows for work in works for rows in work.live_rows]
        outcomes = self._score_items(table, counts)
        first = 0
        for work in works:
            stop = first + len(work.live)
            work.outcomes = _cut_outcomes(outcomes, counts, first, stop)
            first = stop

    def _score_alone(self, work: "_ParcelWork") -> None:
        try:
            work.outcomes = self._score_items(work.table(), work.live_rows)
        except InvalidFrameError as error:
            work.outcomes = [_Outcome(0, len(work.live), error=error)]

    def _score_items(self, table: v1.Frame, counts: Sequence[int]) -> list[_Outcome]:
        """Halves what fails; the runs come back in order."""
        bounds = [0, *accumulate(counts)]
        outcomes: list[_Outcome] = []
        failed_at: float | None = None
        waiting = [(0, len(counts))]
        while waiting:
            start, stop = waiting.pop()
            is_whole = stop - start == len(counts)
            part = table if is_whole else slice_frame(table, bounds[start], bounds[stop])
            outcome = self._attempt(part, start, stop)
            if outcome.error is None or stop - start == 1 or isinstance(outcome.error, InvalidFrameError):
                outcomes.append(outcome)
                continue
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - failed_at > _SPLITTING_LIMIT_S:
                outcomes.append(outcome)
                continue
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
        return outcomes

    def _attempt(self, part: v1.Frame, start: int, stop: int) -> _Outcome:
        try:
            return _Outcome(start, stop, outputs=self._limited(partial(self.model.score_frame, part)))
        except RendezvousError as error:
            return _Outcome(start, stop, error=error)
        except ThreadLeftBehind:
            raise
        except BaseException as error:  # noqa: BLE001 - the author's code may raise anything
            if stop - start == 1:
                _log.warning("model %s:%s failed on one request", self._name, self._version, exc_info=error)
            return _Outcome(start, stop, error=_model_failed(error))

    def _reply(self, work: "_ParcelWork", started: int, finished: int) -> v1.ParcelScore:
        delivery = work.delivery
        parcel = delivery.parcel
        score = v1.ParcelScore(
            parcel_id=parcel.parcel_id,
            endpoint=self._endpoint,
            model=self._name,
            version=self._version,
            replica=self._replica,
            timing=v1.Timing(
                received_unix_us=delivery.received_unix_us or started,
                started_unix_us=started,
                finished_unix_us=finished,
            ),
            parcel_sequence=delivery.sequence,
            delivery=delivery.number,
        )
        work.fill(score)
        if traced := [index for index, item in enumerate(parcel.items) if item.traceparent]:
            self._trace(score, parcel, traced)
        if (size := score.ByteSize()) > self.max_bytes:
            fit_score(score, size, self.max_bytes)
        return score

    def _trace(self, score: v1.ParcelScore, parcel: v1.Parcel, traced: Iterable[int]) -> None:
        for index in traced:
            item, answered = parcel.items[index], score.items[index]
            span = ScoredSpan(
                endpoint=self._endpoint,
                model=self._name,
                version=self._version,
                started_unix_us=score.timing.started_unix_us,
                finished_unix_us=score.timing.finished_unix_us,
                request_id=item.request_id,
                rows=item.rows,
                error=answered.error if answered.HasField("error") else None,
            )
            answered.traceparent = trace_scored(item.traceparent, item.tracestate, span)


def _unlimited(call: Callable[[], v1.Frame]) -> v1.Frame:
    return call()


class _ParcelWork:
    """One parcel on its way to a score: which items are scored, and what came of them."""

    __slots__ = ("budgets_us", "delivery", "errors", "items", "live", "live_rows", "outcomes", "rows")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.items = list(delivery.parcel.items)
        self.rows = [item.rows for item in self.items]
        self.budgets_us = [item.budget_us for item in self.items]
        self.errors: dict[int, RendezvousError] = {}
        self.outcomes: list[_Outcome] = []
        self.live: list[int] = []
        self.live_rows: list[int] = []

    @property
    def has_expired(self) -> bool:
        """Whether some item had expired."""
        return bool(self.budgets_us) and self.delivery.age_us >= min(self.budgets_us)

    def admit(self, refusal: RendezvousError | None) -> None:
        """Decides which items are scored: all but those that had expired; none with a *refusal*."""
        age_us = self.delivery.age_us
        if refusal is not None:
            self.errors = dict.fromkeys(range(len(self.items)), refusal)
            return
        self.errors = {
            index: _expired(budget_us, age_us) for index, budget_us in enumerate(self.budgets_us) if age_us >= budget_us
        }
        self.live = [index for index in range(len(self.items)) if index not in self.errors]
        self.live_rows = [self.rows[index] for index in self.live]

    def table(self) -> v1.Frame:
        """Returns the rows of the live items."""
        parcel = self.delivery.parcel
        if not self.errors:
            return parcel.inputs
        parts = split_frame(parcel.inputs, self.rows)
        return join_frames([parts[index] for index in self.live])

    def fill(self, score: v1.ParcelScore) -> None:
        """Writes items and outputs."""
        frames = []
        for outcome in self.outcomes:
            if outcome.outputs is not None:
                frames.append(outcome.outputs)
            elif outcome.error is not None:
                self.errors.update(dict.fromkeys(self.live[outcome.start : outcome.stop], outcome.error))
        try:
            outputs = join_frames(frames) if frames else None
        except InvalidFrameError as error:
            outputs = None
            self._refuse_rest(error)
        if outputs is not None:
            score.outputs.CopyFrom(outputs)
        score.items.extend(
            [
                v1.ItemScore(request_id=item.request_id, rows=rows)
                if index not in self.errors
                else v1.ItemScore(request_id=item.request_id, error=self.errors[index].to_proto())
                for index, (item, rows) in enumerate(zip(self.items, self.rows, strict=True))
            ]
        )

    def _refuse_rest(self, error: InvalidFrameError) -> None:
        refusal = InvalidOutputError(
            f"the model gave different columns for parts of one parcel: {error.message}; declare its output types",
            error.attributes,
        )
        for index in self.live:
            self.errors.setdefault(index, refusal)


def _cut_outcomes(outcomes: Sequence[_Outcome], counts: Sequence[int], first: int, stop: int) -> list[_Outcome]:
    """Returns the outcomes of items *first* to *stop*, counted from *first*."""
    cut = []
    for outcome in outcomes:
        start, end = max(outcome.start, first), min(outcome.stop, stop)
        if start >= end:
            continue
        outputs = outcome.outputs
        if outputs is not None and (start, end) != (outcome.start, outcome.stop):
            before = sum(counts[outcome.start : start])
            outputs = slice_frame(outputs, before, before + sum(counts[start:end]))
        cut.append(_Outcome(start - first, end - first, outputs=outputs, error=outcome.error))
    return cut


def _expired(budget_us: int, age_us: int) -> ExpiredError:
    return ExpiredError(
        f"the request's {budget_us / 1000:.0f} ms had passed when the model received it, "
        f"{age_us / 1000:.0f} ms after it was accepted",
        {"budget_us": budget_us, "age_us": age_us},
    )


def _model_failed(error: BaseException) -> ModelFailedError:
    """The author's message, one line; the trace stays in the log."""
    text = " ".join(str(error).split()) or "no message"
    if len(text) > _MESSAGE_CHARACTERS:
        text = text[:_MESSAGE_CHARACTERS] + "..."
    kind = type(error).__name__
    return ModelFailedError(f"the model raised {kind}: {text}", {"exception": kind})

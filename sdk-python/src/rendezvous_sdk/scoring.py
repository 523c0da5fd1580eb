"""From parcels to scores, without any I/O: what the server and the in-memory postbox both run.

A parcel is scored as one table, several waiting parcels as one too. Where the model fails, the table is
halved by requests until the ones that fail stand alone; the others are answered.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from rendezvous_proto import v1
from rendezvous_proto.errors import (
    InternalError,
    InvalidFrameError,
    ModelFailedError,
    RendezvousError,
    TooLargeError,
)
from rendezvous_proto.frames import check_frame, join_frames, slice_frame

from rendezvous_sdk.fitting import fit_score
from rendezvous_sdk.model import Model
from rendezvous_sdk.options import DEFAULT_MAX_ROWS, MAX_DELIVER
from rendezvous_sdk.parcel_work import Delivery, Outcome, ParcelWork, TableItems, cut_outcomes
from rendezvous_sdk.score_spans import ScoreSpans
from rendezvous_sdk.thread import ThreadLeftBehind
from rendezvous_sdk.traces import activate, is_traceparent, traceparent_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Delivery", "ParcelScorer", "unix_us"]

_log = logging.getLogger(__name__)

_MESSAGE_CHARACTERS = 300
_SPLITTING_LIMIT_S = 5.0


def unix_us() -> int:
    """Returns the wall clock, microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


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
        enricher: stage of the enricher that it is; 0: a model.
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
        enricher: int = 0,
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
        self._enricher = int(enricher)
        self._spans = ScoreSpans(endpoint=endpoint, name=name, version=version, enricher=self._enricher)

    def score_parcels(self, deliveries: Sequence[Delivery]) -> list[v1.ParcelScore]:
        """Scores several parcels, as one table where their columns are the same.

        Returns:
            One score for each delivery, in order. Whatever goes wrong is in it; nothing is raised.
        """
        try:
            started = self._clock()
            works = [ParcelWork(delivery) for delivery in deliveries]
            for work in works:
                work.admit(self._refusal_of(work, is_joined=len(works) > 1))
                self._start_spans(work, started)
            self._score_together([work for work in works if work.live])
            finished = self._clock()
            return [self._reply(work, started, finished) for work in works]
        except Exception:  # noqa: BLE001 - its trace goes to the log
            # A fault of this SDK must not end the process: it would come again with the parcel, in each replica.
            _log.exception(
                "scoring %d parcels failed outside of the model",
                len(deliveries),
                extra={"parcel_id": deliveries[0].parcel.parcel_id},
            )
            if len(deliveries) > 1:
                return [score for each in deliveries for score in self.score_parcels([each])]
            return [self.refuse_parcel(deliveries[0], InternalError("a fault of the model's server: see its log"))]

    def refuse_parcel(self, delivery: Delivery, error: RendezvousError) -> v1.ParcelScore:
        """Returns the score of a parcel of which every request gets *error*. May be called in any thread."""
        work = ParcelWork(delivery)
        work.admit(error)
        now = self._clock()
        started = delivery.received_unix_us or now
        self._start_spans(work, started)
        return self._reply(work, started, now)

    def score_request(self, frame: v1.Frame, *, request_id: str = "", span: "Span | None" = None) -> v1.Frame:
        """Scores the rows of one request.

        Args:
            frame: the rows.
            request_id: named in the log.
            span: present while the model scores; None: none.

        Raises:
            RendezvousError: as the error of an item in a parcel.
        """
        if (refusal := self._refusal_of_rows(frame.rows)) is not None:
            raise refusal
        item = TableItems(counts=[frame.rows], fields_of=lambda _: {"request_id": request_id}, spans=[span])
        outcome = self._attempt(frame, 0, 1, item)
        if outcome.error is not None:
            raise outcome.error
        return outcome.outputs or v1.Frame()

    def _start_spans(self, work: ParcelWork, started: int) -> None:
        delivery = work.delivery
        work.spans = self._spans.start(work.items, delivery=delivery.number, started_unix_us=started)

    def _refusal_of(self, work: ParcelWork, *, is_joined: bool) -> RendezvousError | None:
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

    def _score_together(self, works: Sequence[ParcelWork]) -> None:
        if not works:
            return
        try:
            table = join_frames([work.table() for work in works])
        except InvalidFrameError:
            # A specification changed between them, or one of them is malformed: each for itself.
            for work in works:
                self._score_alone(work)
            return
        items = TableItems.of(works)
        outcomes = self._score_items(table, items)
        first = 0
        for work in works:
            stop = first + len(work.live)
            work.outcomes = cut_outcomes(outcomes, items.counts, first, stop)
            first = stop

    def _score_alone(self, work: ParcelWork) -> None:
        try:
            work.outcomes = self._score_items(work.table(), TableItems.of([work]))
        except InvalidFrameError as error:
            work.outcomes = [Outcome(0, len(work.live), error=error)]

    def _score_items(self, table: v1.Frame, items: TableItems) -> list[Outcome]:
        """Halves what fails; the runs come back in order."""
        self._spans.link([span for span in items.spans if span is not None])
        counts = items.counts
        bounds = [0, *accumulate(counts)]
        outcomes: list[Outcome] = []
        failed_at: float | None = None
        waiting = [(0, len(counts))]
        while waiting:
            start, stop = waiting.pop()
            is_whole = stop - start == len(counts)
            part = table if is_whole else slice_frame(table, bounds[start], bounds[stop])
            outcome = self._attempt(part, start, stop, items)
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

    def _attempt(self, part: v1.Frame, start: int, stop: int, items: TableItems) -> Outcome:
        """Scores a part of a table, its rows those of items *start* to *stop*, in the span of the first of them."""
        span = items.first_span(start, stop)
        with nullcontext() if span is None else activate(span):
            try:
                return Outcome(start, stop, outputs=self._limited(partial(self.model.score_frame, part)))
            except RendezvousError as error:
                return Outcome(start, stop, error=error)
            except ThreadLeftBehind:
                raise
            except BaseException as error:  # noqa: BLE001 - the author's code may raise anything
                failure = _model_failed(error)
                if stop - start == 1:
                    fields = {**items.fields_of(start), "error_code": failure.code.name}
                    _log.warning(
                        "model %s:%s failed on one request", self._name, self._version, exc_info=error, extra=fields
                    )
                return Outcome(start, stop, error=failure)

    def _reply(self, work: ParcelWork, started: int, finished: int) -> v1.ParcelScore:
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
            stage=self._enricher,
        )
        work.fill(score)
        for index, item in enumerate(work.items):
            if item.traceparent and is_traceparent(item.traceparent):
                score.items[index].traceparent = item.traceparent
        for index, span in work.spans.items():
            score.items[index].traceparent = traceparent_of(span)
        if (size := score.ByteSize()) > self.max_bytes:
            fit_score(score, size, self.max_bytes)
        for index, span in work.spans.items():
            self._spans.end(span, score.items[index], finished)
        return score


def _unlimited(call: Callable[[], v1.Frame]) -> v1.Frame:
    return call()


def _model_failed(error: BaseException) -> ModelFailedError:
    """The author's message, one line; the trace stays in the log."""
    text = " ".join(str(error).split()) or "no message"
    if len(text) > _MESSAGE_CHARACTERS:
        text = text[:_MESSAGE_CHARACTERS] + "..."
    kind = type(error).__name__
    return ModelFailedError(f"the model raised {kind}: {text}", {"exception": kind})

"""What becomes of one delivered parcel: which of its requests are scored, and with what outcome. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rendezvous_proto import v1
from rendezvous_proto.errors import ExpiredError, InvalidFrameError, InvalidOutputError, RendezvousError
from rendezvous_proto.frames import join_frames, slice_frame, split_frame

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Delivery", "Outcome", "ParcelWork", "TableItems", "cut_outcomes"]


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
    is_history: bool = False
    """Whether it is scored for the record alone: nobody waits for an answer, so nothing in it is expired."""


@dataclass(slots=True)
class Outcome:
    """Scores of a run of items: rows of items `start` to `stop` in one frame, or the error of all of them."""

    start: int
    stop: int
    outputs: v1.Frame | None = None
    error: RendezvousError | None = None


class ParcelWork:
    """One parcel on its way to a score: which items are scored, and what came of them."""

    __slots__ = ("budgets_us", "delivery", "errors", "items", "live", "live_rows", "outcomes", "rows", "spans")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.items = list(delivery.parcel.items)
        self.rows = [item.rows for item in self.items]
        self.budgets_us = [item.budget_us for item in self.items]
        self.errors: dict[int, RendezvousError] = {}
        self.outcomes: list[Outcome] = []
        self.live: list[int] = []
        self.live_rows: list[int] = []
        self.spans: dict[int, Span] = {}

    @property
    def has_expired(self) -> bool:
        """Whether some item had expired."""
        if self.delivery.is_history:
            return False
        return bool(self.budgets_us) and self.delivery.age_us >= min(self.budgets_us)

    def admit(self, refusal: RendezvousError | None) -> None:
        """Decides which items are scored: all but those that had expired (of history, all); none with a *refusal*."""
        age_us = self.delivery.age_us
        if refusal is not None:
            self.errors = dict.fromkeys(range(len(self.items)), refusal)
            return
        if self.has_expired:
            late = [(index, budget_us) for index, budget_us in enumerate(self.budgets_us) if age_us >= budget_us]
            self.errors = {index: _expired(budget_us, age_us) for index, budget_us in late}
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


@dataclass(slots=True, kw_only=True)
class TableItems:
    """The requests whose rows stand in one table, in order."""

    counts: Sequence[int]
    """Rows of each."""
    fields_of: Callable[[int], dict[str, object]]
    """Tells what a log event says of one, by its index."""
    spans: "Sequence[Span | None]" = field(default_factory=tuple)
    """Span of each; empty where none has one."""

    @classmethod
    def of(cls, works: Sequence[ParcelWork]) -> "TableItems":
        """Returns the live items of several parcels."""

        def fields_of(index: int) -> dict[str, object]:
            for work in works:
                if index < len(work.live):
                    parcel_id = work.delivery.parcel.parcel_id
                    return {"parcel_id": parcel_id, "request_id": work.items[work.live[index]].request_id}
                index -= len(work.live)
            return {}

        is_traced = any(work.spans for work in works)
        return cls(
            counts=[rows for work in works for rows in work.live_rows],
            fields_of=fields_of,
            spans=[work.spans.get(index) for work in works for index in work.live] if is_traced else (),
        )

    def first_span(self, start: int, stop: int) -> "Span | None":
        """Returns the first span of items *start* to *stop*, if one of them has any."""
        return next((span for span in self.spans[start:stop] if span is not None), None)


def cut_outcomes(outcomes: Sequence[Outcome], counts: Sequence[int], first: int, stop: int) -> list[Outcome]:
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
        cut.append(Outcome(start - first, end - first, outputs=outputs, error=outcome.error))
    return cut


def _expired(budget_us: int, age_us: int) -> ExpiredError:
    return ExpiredError(
        f"the request's {budget_us / 1000:.0f} ms had passed when the model received it, "
        f"{age_us / 1000:.0f} ms after it was accepted",
        {"budget_us": budget_us, "age_us": age_us},
    )

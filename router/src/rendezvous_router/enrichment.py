"""Enrichment: the stages in which columns are added to a parcel before its models see it. No I/O, no clock.

An `Enrichment` takes one parcel through the stages of a plan: a stage begins, scores of its enrichers come or do not,
the stage ends, and the parcel's rows have its columns: those of the enrichers that answered in time, for the requests
that they answered, else the declared values. Whatever an enricher does, a stage ends when its budget is over.
Source: ADR 0027.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rendezvous.enrichers import time_share
from rendezvous_proto.errors import NoAnswerError, RendezvousError, TooLargeError
from rendezvous_proto.frames import join_frames, put_beside, repeat_row, select_columns, split_frame
from rendezvous_proto.postbox import MAX_PARCEL_BYTES
from rendezvous_proto.v1 import Frame, Provenance

from rendezvous_router.enrichment_plan import NOTE_BYTES, NOTED_BYTES, Enricher, EnrichmentPlan, Stage
from rendezvous_router.scores import ItemColumns, TakenScore
from rendezvous_router.tally import error_name

LATE = "LATE"
"""Why a request got defaults: the enricher had not answered when its budget was over; else the name of an error."""
TOO_LARGE = "TOO_LARGE"
"""The same: with what it answered, the parcel would not fit into a message."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that goes no further, because an enricher failed whose failure is the request's."""

    index: int
    """Its place among the requests of the stage."""
    enricher: str
    """Which enricher."""
    error: RendezvousError
    """What it is answered."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage."""

    kept: Sequence[int]
    """Places of the requests that go on."""
    ended: Sequence[Ended]
    """Those that do not."""
    defaults: Mapping[tuple[str, str], int]
    """Number of requests that got defaults, by (enricher, reason)."""


@dataclass(slots=True, eq=False)
class Enrichment:
    """One parcel on its way through the stages."""

    plan: EnrichmentPlan
    """The stages."""
    frame: Frame
    """The rows, with what was added up to now."""
    rows: list[int]
    """Rows of each request that goes on."""
    overhead_bytes: int = 0
    """What the parcel's message needs beside its frame."""
    share: float = 1.0
    """By which budgets are cut."""
    position: int = -1
    """Index of the present stage; -1 before the first."""
    dues: dict[str, float] = field(default_factory=dict)
    """When the budgets of the present stage's enrichers are over, by enricher."""
    scores: dict[str, TakenScore] = field(default_factory=dict)
    """Scores of the present stage that came in time."""
    provenance: list[list[Provenance]] = field(default_factory=list)
    """What is noted of each request that goes on."""

    def __post_init__(self) -> None:
        self.provenance = [[] for _ in self.rows]

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.plan.stages[self.position]

    @property
    def is_last(self) -> bool:
        """Whether no stage follows."""
        return self.position + 1 == len(self.plan.stages)

    def begin(self, now: float, left_s: float) -> Frame:
        """Begins the next stage.

        Args:
            now: the time, seconds of a monotonic clock.
            left_s: seconds to the earliest deadline.

        Returns:
            The rows as its enrichers see them.
        """
        if self.position < 0:
            self.share = time_share(self.plan.total_s, left_s)
        self.position += 1
        self.scores = {}
        self.dues = {name: now + self.share * each.budget_s for name, each in self.stage.enrichers.items()}
        needs = self.stage.needs
        return self.frame if needs is None or self.stage.number == 1 else select_columns(self.frame, sorted(needs))

    def awaits(self, name: str) -> bool:
        """Returns whether enricher *name* is asked now and has not answered."""
        return name in self.dues and name not in self.scores

    def take(self, name: str, score: TakenScore) -> bool:
        """Takes the score of an enricher that is awaited; returns whether it is in time."""
        if score.arrived_at > self.dues[name]:
            return False
        self.scores[name] = score
        return True

    @property
    def due_at(self) -> float:
        """When the present stage is over at the latest."""
        return max((due for name, due in self.dues.items() if name not in self.scores), default=0.0)

    @property
    def is_complete(self) -> bool:
        """Whether every enricher of the present stage has answered."""
        return len(self.scores) == len(self.dues)

    def finish(self) -> StageResult:
        """Ends the present stage: its columns are joined to the rows of the requests that go on."""
        self.dues = {}
        whys = {name: self._whys_of(name) for name in self.stage.enrichers}
        ended = {
            index: Ended(index, name, self._refusal_of(name, why, index))
            for name, enricher in self.stage.enrichers.items()
            if enricher.default is None
            for index, why in enumerate(whys[name])
            if why
        }
        kept = [index for index in range(len(self.rows)) if index not in ended]
        self._keep(kept)
        whys = {name: [of_all[index] for index in kept] for name, of_all in whys.items()}
        too_large = self._add_columns(kept, whys)
        if too_large is not None:
            ended |= {index: Ended(index, *too_large) for index in kept}
            kept, whys = [], {}
        self._note(whys)
        return StageResult(kept, [ended[index] for index in sorted(ended)], _count_defaults(whys))

    def _whys_of(self, name: str) -> list[str]:
        """Returns why each request has no columns of enricher *name*; empty where it has."""
        taken = self.scores.get(name)
        if taken is None:
            return [LATE] * len(self.rows)
        return [error_name(score.error.code) if score.error else "" for score in taken.scores]

    def _refusal_of(self, name: str, why: str, index: int) -> NoAnswerError:
        budget_ms = self.share * self.stage.enrichers[name].budget_s * 1e3
        taken = self.scores.get(name)
        failure = taken.scores[index].error if taken is not None else None
        said = f"failed ({why}: {failure.message})" if failure else f"had not answered within {budget_ms:.0f} ms"
        return NoAnswerError(
            f"enricher {name} {said}, and the endpoint declares no values in its place: retry, allow more time, or "
            f"declare an `otherwise` of the enricher",
            {"enricher": name, "reason": why},
        )

    def _keep(self, kept: Sequence[int]) -> None:
        """Leaves out the rows of the requests that end."""
        if len(kept) == len(self.rows):
            return
        parts = split_frame(self.frame, self.rows)
        self.frame = join_frames([parts[index] for index in kept])
        self.rows = [self.rows[index] for index in kept]
        self.provenance = [self.provenance[index] for index in kept]

    def _add_columns(self, kept: Sequence[int], whys: dict[str, list[str]]) -> tuple[str, RendezvousError] | None:
        """Joins the stage's columns; what is too large is replaced by defaults, which *whys* then says.

        Returns:
            The enricher whose columns do not even then fit, and the error of all requests; None: all is well.
        """
        if not kept:
            return None
        room = MAX_PARCEL_BYTES - self.overhead_bytes - self.frame.ByteSize() - self._notes_bytes(len(kept))
        frames = [self.frame]
        for name, enricher in self.stage.enrichers.items():
            added = self._columns_of(enricher, kept, whys[name])
            while (excess := added.ByteSize() - room) > 0 and self._replace_largest(enricher, kept, whys[name], excess):
                added = self._columns_of(enricher, kept, whys[name])
            if (size := added.ByteSize()) > room:
                return name, _too_large(name, size, room)
            room -= size
            frames.append(added)
        self.frame = put_beside(frames)
        return None

    def _replace_largest(self, enricher: Enricher, kept: Sequence[int], whys: list[str], excess_bytes: int) -> bool:
        """Has defaults stand in for the largest columns of requests, until about *excess_bytes* are saved.

        One request's long texts are so no other's loss. *whys* then says whose they are.

        Returns:
            Whether anything was replaced.
        """
        default, saved_bytes = enricher.default, 0
        if default is None:
            return False
        for saving_bytes, place in sorted(self._savings(enricher, default, kept, whys), reverse=True):
            if saved_bytes >= excess_bytes or saving_bytes <= 0:
                break
            whys[place] = TOO_LARGE
            saved_bytes += saving_bytes
        return saved_bytes > 0

    def _savings(
        self, enricher: Enricher, default: Frame, kept: Sequence[int], whys: Sequence[str]
    ) -> Iterator[tuple[int, int]]:
        """Yields how many bytes less the defaults take, and of which request that goes on."""
        scores = self.scores[enricher.name].scores if enricher.name in self.scores else []
        for place, (index, rows, why) in enumerate(zip(kept, self.rows, whys, strict=True)):
            if not why and isinstance(columns := scores[index].columns, ItemColumns):
                accepted = enricher.outputs.accept(columns.cut()).frame
                yield accepted.ByteSize() - repeat_row(default, rows).ByteSize(), place

    def _notes_bytes(self, requests: int) -> int:
        """Returns how many bytes the notes on the requests take in their parcel at most, those of this stage too."""
        noted = sum(note.ByteSize() + NOTE_BYTES for notes in self.provenance for note in notes)
        versions = {name: len(taken.message.version) for name, taken in self.scores.items()}
        new = sum(len(name) + max(NOTED_BYTES, versions.get(name, 0)) + NOTE_BYTES for name in self.stage.enrichers)
        return noted + requests * new

    def _columns_of(self, enricher: Enricher, kept: Sequence[int], whys: Sequence[str]) -> Frame:
        """Returns an enricher's columns for the requests that go on."""
        default = enricher.default
        if all(whys):
            assert default is not None, "a request without columns goes on only where there are defaults"
            return repeat_row(default, sum(self.rows))
        scores = self.scores[enricher.name].scores
        if len(kept) == len(scores) and not any(whys):
            columns = scores[0].columns
            assert isinstance(columns, ItemColumns), "the router fills scores with ItemColumns only"
            if [column.name for column in columns.frame.columns] == [column.name for column in enricher.columns]:
                return columns.frame
        parts = []
        for index, rows, why in zip(kept, self.rows, whys, strict=True):
            columns = scores[index].columns
            if why:
                assert default is not None, "as above"
                parts.append(repeat_row(default, rows))
            else:
                assert isinstance(columns, ItemColumns), "as above"
                parts.append(enricher.outputs.accept(columns.cut()).frame)
        return join_frames(parts)

    def _note(self, whys: Mapping[str, Sequence[str]]) -> None:
        for name, of_requests in whys.items():
            taken = self.scores.get(name)
            version = taken.message.version if taken is not None else ""
            for notes, why in zip(self.provenance, of_requests, strict=True):
                done = Provenance(component=f"enricher:{name}", version=version)
                notes.append(Provenance(component=f"default:{name}", version=why) if why else done)


def _count_defaults(whys: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for name, of_requests in whys.items():
        for why in of_requests:
            if why:
                counts[name, why] = counts.get((name, why), 0) + 1
    return counts


def _too_large(name: str, size_bytes: int, room_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"the columns of enricher {name} take {size_bytes} bytes, and {max(0, room_bytes)} are left of a message's "
        f"{MAX_PARCEL_BYTES}: send fewer rows to a request",
        {"enricher": name, "actual": size_bytes, "limit": max(0, room_bytes)},
    )

"""Scores a piece: as one table, or, where the candidate fails on it, in halves until what fails stands alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rendezvous_proto import v1
from rendezvous_proto.errors import (
    InvalidFrameError,
    InvalidOutputError,
    RendezvousError,
    SignatureMismatchError,
)
from rendezvous_proto.frames import check_frame, slice_frame
from rendezvous_proto.signatures import check_signature, conform_frame

from rendezvous_router.replay.candidate import Candidate
from rendezvous_router.replay.pieces import Piece

__all__ = ["Outcome", "score_piece"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of some requests of a piece that were scored by one call."""

    start: int
    """First row in the piece."""
    stop: int
    """Row after the last."""
    requests: int
    """How many requests these rows are."""
    outputs: v1.Frame | None
    """The rows; None with an error."""
    error: RendezvousError | None
    """Why there are none."""
    started_unix_us: int
    """When the call began, microseconds since 1970-01-01 UTC by this machine's clock."""
    finished_unix_us: int
    """When it ended."""


async def score_piece(candidate: Candidate, piece: Piece, outputs: Sequence[v1.ColumnSpec]) -> list[Outcome]:
    """Returns the outcomes of a piece's requests, in their order.

    Args:
        candidate: the model.
        piece: the requests.
        outputs: columns that the answers must have; empty: any.

    Raises:
        CandidateGoneError: the candidate does not answer.
    """
    bounds = [0, *accumulate(piece.counts)]
    outcomes = []
    waiting = [(0, len(piece.counts))]
    while waiting:
        first, stop = waiting.pop()
        outcome = await _score(candidate, piece, (bounds[first], bounds[stop]), stop - first, outputs)
        if outcome.error is None or stop - first == 1:
            outcomes.append(outcome)
        else:
            middle = (first + stop) // 2
            waiting += [(middle, stop), (first, middle)]
    return outcomes


async def _score(
    candidate: Candidate, piece: Piece, rows: tuple[int, int], requests: int, outputs: Sequence[v1.ColumnSpec]
) -> Outcome:
    start, stop = rows
    frame = piece.frame if stop - start == piece.rows else slice_frame(piece.frame, start, stop)
    answer: v1.Frame | None = None
    failure: RendezvousError | None = None
    started = _unix_us()
    try:
        answer = _checked(await candidate.score(frame), frame.rows, outputs)
    except RendezvousError as error:
        failure = error
    return Outcome(
        start=start,
        stop=stop,
        requests=requests,
        outputs=answer,
        error=failure,
        started_unix_us=started,
        finished_unix_us=_unix_us(),
    )


def _checked(answer: v1.Frame, rows: int, outputs: Sequence[v1.ColumnSpec]) -> v1.Frame:
    """Returns an answer in the signature's order.

    Raises:
        InvalidOutputError: it is not sound, has another number of rows, or other columns.
    """
    if answer.rows != rows:
        raise InvalidOutputError(
            f"the candidate answered {answer.rows} rows, expected {rows}", {"expected": rows, "actual": answer.rows}
        )
    try:
        check_frame(answer)
        check_signature(answer, outputs, what="outputs of the candidate")
    except (InvalidFrameError, SignatureMismatchError) as error:
        raise InvalidOutputError(error.message, error.attributes) from error
    return conform_frame(answer, outputs)


def _unix_us() -> int:
    return time.time_ns() // 1000

"""Records outcomes: all of a call or none, acknowledged when JetStream has them (docs/protocol.md, P120 to P125).

Scoring comes first. Calls are few and large, so reading one is cut into slices between which the event loop turns to
requests; one call is read at a time, its messages are small and go one after the other, and what may be under way at
once is bounded.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from rendezvous_proto.errors import OverloadedError, RendezvousError, UnavailableError
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import feedback_subject
from rendezvous_proto.v1 import FeedbackBatch, Outcome, OutcomeKind, RecordReply

from rendezvous_router.desk import Desk
from rendezvous_router.endpoint import Endpoint
from rendezvous_router.fair_share import ROOM_RETRY_MS
from rendezvous_router.feedback.batches import Kept, digest_of, pack
from rendezvous_router.feedback.checking import OutcomeChecker, Wrong, check_count, refusal_of
from rendezvous_router.limits import Gate
from rendezvous_router.postbox import Postbox, PostboxError
from rendezvous_router.streams import duplicate_window_s
from rendezvous_router.throttle import Throttle

__all__ = ["CALLS", "CALLS_BYTES", "TIMEOUT_S", "Offices", "Recorder", "Sent"]

CALLS = 64
"""Calls under way in one router, at most."""
CALLS_BYTES = 16 << 20
"""Their bytes, at most; one call alone may have more."""
FLUSHES = 2
"""Messages that JetStream flushes at a time, at most: a parcel waits for those before it."""
TIMEOUT_S = 10.0
"""How long JetStream's acknowledgement is waited for, at most."""
_SHARE = 0.9
"""Of the client's time, after which it is told that nobody knows: not told, it could not tell."""
_SLICE = 64
"""Outcomes read before requests have their turn: about half a millisecond."""
_PAUSE_S = 0.001
"""And how long that is. A mere turn of the event loop would not do: gRPC's own thread must get the interpreter, too,
and waits for it for 5 ms where nobody sleeps."""

_log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """The outcomes of one call."""

    size: int
    """How many."""
    outcomes: Iterable[Outcome | str]
    """Each, or what is wrong with it; read in slices."""


class Offices(Protocol):
    """What a recorder needs of its router."""

    postbox: Postbox
    gate: Gate

    def find_desk(self, name: str) -> Desk:
        """Returns the desk of endpoint *name*; empty: the only one there is."""

    def check_admission(self) -> None:
        """Raises where nothing can be taken now."""


class Recorder:
    """Takes the outcomes of one tenant. Belongs to one event loop.

    Args:
        router: whose.
    """

    def __init__(self, router: Offices) -> None:
        self.in_flight = 0
        self._router = router
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._flushing = asyncio.Semaphore(FLUSHES)
        self._refusals = Throttle()

    @contextmanager
    def place(self, size_bytes: int) -> Iterator[None]:
        """Takes a place for a call, from before it is read until it is answered.

        Args:
            size_bytes: of the call on the wire.

        Raises:
            OverloadedError: there is none.
        """
        if self.in_flight >= CALLS or (self.in_flight and self._bytes + size_bytes > CALLS_BYTES):
            error = OverloadedError(
                f"this router takes {self.in_flight} calls of feedback with {self._bytes} bytes now, of at most "
                f"{CALLS} and {CALLS_BYTES}: retry after {ROOM_RETRY_MS} ms, with the same feedback ids",
                {"limit": CALLS, "actual": self.in_flight, "retry_after_ms": ROOM_RETRY_MS},
            )
            self._note_refusal(None, error)
            raise error
        self.in_flight += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self.in_flight -= 1
            self._bytes -= size_bytes

    async def record(
        self, endpoint: str, sent: Sent, *, size_bytes: int, remaining_s: float | None = None
    ) -> RecordReply:
        """Keeps outcomes, for which there is a `place`; returns when JetStream has them.

        Args:
            endpoint: which; empty: the only one there is.
            sent: the outcomes; read when it is this call's turn.
            size_bytes: of the call on the wire.
            remaining_s: seconds to the client's deadline; None: it has none.

        Raises:
            RendezvousError: nothing was kept, but for UnavailableError, which does not know.

        Cancellation: what was published stays.
        """
        desk: Desk | None = None
        try:
            desk = self._router.find_desk(endpoint)
            self._router.check_admission()
            wait_s = TIMEOUT_S if remaining_s is None else min(TIMEOUT_S, remaining_s * _SHARE)
            return await self._record(desk, sent, size_bytes, time.monotonic() + wait_s)
        except RendezvousError as error:
            self._note_refusal(desk, error)
            raise

    def note_unread(self, error: RendezvousError) -> None:
        """Notes a call that did not get as far as its outcomes."""
        self._note_refusal(None, error)

    async def _record(self, desk: Desk, sent: Sent, size_bytes: int, give_up_at: float) -> RecordReply:
        endpoint = desk.endpoint
        now = time.monotonic()
        # As a request without rows: rates of rows are for what models work on.
        self._router.gate.check(endpoint, 0, size_bytes, now)
        self._router.gate.take(endpoint, 0, size_bytes, now)
        async with self._turn:
            if time.monotonic() >= give_up_at:
                raise UnavailableError(f"endpoint {endpoint.name}: the router had no time for the feedback: retry")
            checker = OutcomeChecker(endpoint)
            kept = await _check(checker, sent)
        for batch in pack(endpoint, kept, router=self._router.postbox.router, now_us=checker.now_us):
            async with self._flushing:
                await self._send(endpoint, batch, give_up_at)
        desk.tally.feedback.update(_kinds_of(kept))
        return RecordReply(endpoint=endpoint.name, feedback_ids=[each.outcome.feedback_id for each in kept])

    async def _send(self, endpoint: Endpoint, batch: FeedbackBatch, give_up_at: float) -> None:
        left_s = max(0.001, give_up_at - time.monotonic())
        acknowledged = self._router.postbox.send(
            feedback_subject(endpoint.name),
            batch.SerializeToString(),
            batch.batch_id,
            within_s=min(left_s, duplicate_window_s(endpoint.spec)),
        )
        try:
            await asyncio.wait_for(acknowledged, left_s)
        except (PostboxError, TimeoutError) as error:
            why = str(error) or "JetStream did not acknowledge in time"
            raise UnavailableError(
                f"endpoint {endpoint.name}: {why}; the feedback may have been kept all the same, wholly or in part: "
                "retry with the same feedback ids"
            ) from error

    def _note_refusal(self, desk: Desk | None, error: RendezvousError) -> None:
        name = desk.endpoint.name if desk is not None else ""
        if desk is not None:
            desk.tally.feedback_refused[error.code.name] += 1
        held = self._refusals.admit(time.monotonic())
        if held is not None:
            fields: dict[str, object] = {"endpoint": name, "error_code": error.code.name}
            _log.info("feedback refused: %s", error.message, extra=fields | ({"held_back": held} if held else {}))


async def _check(checker: OutcomeChecker, sent: Sent) -> list[Kept]:
    """Returns the outcomes as they are to be kept.

    Raises:
        InvalidRequestError, TooLargeError: there are none, too many, or wrong ones.
    """
    check_count(sent.size)
    kept: list[Kept] = []
    wrong: list[Wrong] = []
    for index, outcome in enumerate(sent.outcomes):
        if index and not index % _SLICE:
            await asyncio.sleep(_PAUSE_S)
        if isinstance(outcome, str):
            wrong.append((index, outcome))
            continue
        if not outcome.feedback_id:
            outcome.feedback_id = new_id()
        digest = digest_of(outcome)
        if reason := checker.complete(outcome):
            wrong.append((index, reason))
        else:
            kept.append(Kept(outcome, outcome.ByteSize(), digest))
    if wrong:
        raise refusal_of(wrong, sent.size)
    return kept


def _kinds_of(kept: list[Kept]) -> dict[str, int]:
    counts = Counter(each.outcome.kind for each in kept)
    return {OutcomeKind.Name(kind).removeprefix("OUTCOME_KIND_").lower(): count for kind, count in counts.items()}

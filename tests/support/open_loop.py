"""Requests at a fixed rate, whatever becomes of them: each is sent at its time and followed to its end."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.v1 import ScoreReply
from rendezvous_sdk.calls import Attempts
from rendezvous_sdk.options import ClientOptions

from tests.support.caller import Caller


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one request."""

    request_id: str
    """Its id."""
    number: int
    """Its place in the schedule."""
    due_s: float
    """When it was to be sent, seconds after the beginning."""
    took_s: float = 0.0
    """From when it was to be sent to its end, seconds."""
    attempts: int = 0
    """How often it was sent."""
    errors: list[str] = field(default_factory=list)
    """What the attempts before the last ended in."""
    reply: ScoreReply | None = None
    """Its answer, if all is well."""
    failure: RendezvousError | None = None
    """What the client was told in the end, if not an answer."""


class OpenLoop:
    """A client that keeps a schedule and retries as the SDK's clients do, with the same request id.

    Args:
        address: where to ask.
        rate: requests a second.
        timeout_s: the client's deadline, retries included.
        key: shown with each request; empty: none.
    """

    def __init__(self, address: str, *, rate: float, timeout_s: float, key: str = "") -> None:
        self.outcomes: list[Outcome] = []
        self.rate = rate
        self._address = address
        self._key = key
        self._options = ClientOptions(timeout_s=timeout_s)
        self._stop = asyncio.Event()
        self._began = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """Sends nothing more; what is under way is followed to its end."""
        self._stop.set()

    async def run(self) -> None:
        """Sends until `stop` is called."""
        async with Caller(self._address, self._key) as caller, asyncio.TaskGroup() as under_way:
            self._began = time.monotonic()
            while not self._stop.is_set():
                number = len(self.outcomes)
                due_s = number / self.rate
                await asyncio.sleep(max(0.0, due_s - self.now_s))
                outcome = Outcome(request_id=f"open-{number}", number=number, due_s=due_s)
                self.outcomes.append(outcome)
                under_way.create_task(self._ask(caller, outcome))

    async def _ask(self, caller: Caller, outcome: Outcome) -> None:
        attempts = Attempts(self._options, None)
        table = {"a": [float(outcome.number)], "b": [1], "tag": ["x"]}
        while outcome.reply is None and outcome.failure is None:
            outcome.attempts += 1
            try:
                outcome.reply = await caller.score(table, request_id=outcome.request_id, timeout_s=attempts.left_s())
            except RendezvousError as error:
                try:
                    pause_s = attempts.pause_after(error)
                except RendezvousError as final:
                    outcome.failure = final
                else:
                    outcome.errors.append(f"{type(error).__name__}: {error.message}")
                    await asyncio.sleep(pause_s)
        outcome.took_s = self.now_s - outcome.due_s

    def latest_s(self, since_s: float = 0.0, until_s: float = float("inf")) -> float:
        """Returns how long the slowest request took that was to be sent between two moments."""
        took = [outcome.took_s for outcome in self.outcomes if since_s <= outcome.due_s < until_s]
        return max(took, default=0.0)

    def rules(self, since_s: float = 0.0, until_s: float = float("inf")) -> Counter[str]:
        """Returns how many answers each rule gave to requests that were to be sent between two moments."""
        struck = [outcome for outcome in self.outcomes if since_s <= outcome.due_s < until_s]
        return Counter(outcome.reply.decision.rule for outcome in struck if outcome.reply is not None)

"""Processes killed at random moments under load, by a plan that a seed gives."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rendezvous_proto.errors import ExpiredError, RendezvousError
from rendezvous_proto.frames import FrameView

from tests.support.caller import Caller

LONGEST_DOWN_S = 0.3
"""A killed process is started again within this time."""
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of a plan."""

    after: int
    """Requests that are answered before it."""
    victim: str
    """Name of the process."""
    down_s: float
    """Time until it is started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A process that may be killed."""

    kill: Callable[[], object]
    """Ends it with SIGKILL."""
    start: Callable[[], object]
    """Starts it anew and returns when it is ready."""


def draw_plan(seed: int, requests: int, kills: Mapping[str, int]) -> list[Kill]:
    """Returns the kills of a seed in their order: so many of each victim, anywhere in a load of *requests*."""
    rng = random.Random(seed)
    plan = [
        Kill(rng.randrange(requests // 50, requests), victim, rng.uniform(0, LONGEST_DOWN_S))
        for victim, count in kills.items()
        for _ in range(count)
    ]
    return sorted(plan, key=lambda kill: kill.after)


async def kill_by_plan(plan: list[Kill], victims: Mapping[str, Victim], load: "StubbornLoad") -> None:
    """Kills as planned; several may be down at one time. Returns when all are up again."""
    locks = {name: asyncio.Lock() for name in victims}

    async def strike(kill: Kill) -> None:
        async with locks[kill.victim]:
            await asyncio.to_thread(victims[kill.victim].kill)
            await asyncio.sleep(kill.down_s)
            await asyncio.to_thread(victims[kill.victim].start)

    async with asyncio.TaskGroup() as strikes:
        for kill in plan:
            await load.answered_count(kill.after)
            strikes.create_task(strike(kill))


@dataclass
class StubbornLoad:
    """Clients that send each request, always with the same id, until it is answered or refused for good.

    Request `n` is `<name>-<n>` and has one row, whose column `a` is `n`.
    """

    address: str
    """The front door."""
    name: str
    """Beginning of the request ids."""
    requests: int
    """How many."""
    clients: int = 32
    """How many are sent at one time."""
    answers: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Model and first output of what was answered, by request id."""
    refused: dict[str, str] = field(default_factory=dict)
    """Error of what was refused for good, by request id."""
    retries: Counter[str] = field(default_factory=Counter)
    """Errors after which a request was sent again."""
    _next: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        """Sends everything."""
        async with Caller(self.address) as caller:
            await asyncio.gather(*[self._ask(caller) for _ in range(self.clients)])

    async def answered_count(self, count: int) -> None:
        """Waits until *count* requests are answered or refused for good."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.answers) + len(self.refused) >= count)

    async def _ask(self, caller: Caller) -> None:
        while self._next < self.requests:
            number, self._next = self._next, self._next + 1
            await self._ask_until_told(caller, number)
            async with self._changed:
                self._changed.notify_all()

    async def _ask_until_told(self, caller: Caller, number: int) -> None:
        request_id = f"{self.name}-{number}"
        table = {"a": [float(number)], "b": [1], "tag": ["x"]}
        while True:
            try:
                reply = await caller.score(table, request_id=request_id, context={"subject": f"s{number % 50}"})
            except RendezvousError as error:
                if not error.retryable and not isinstance(
                    error, ExpiredError
                ):  # the latter: this client's own patience
                    self.refused[request_id] = f"{type(error).__name__}: {error.message}"
                    return
                self.retries[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
            else:
                self.answers[request_id] = (reply.model, float(FrameView(reply.outputs)["total"][0]))
                return

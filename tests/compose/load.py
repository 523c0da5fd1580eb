"""Requests at a fixed rate by the Python SDK's client, while containers come and go."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rendezvous_sdk import Answer, AsyncClient, ClientOptions

from examples.credit.applicants import split_applicants


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What became of the requests."""

    sent: int = 0
    """How many were sent."""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """By request id; a second one for an id would be a fault."""
    failures: list[str] = field(default_factory=list)
    """What clients were told instead of an answer."""
    took_s: dict[str, float] = field(default_factory=dict)
    """From sending to the answer, retries included, by request id."""

    @property
    def slowest_s(self) -> float:
        """How long the slowest took."""
        return max(self.took_s.values(), default=0.0)

    def models(self) -> Counter[str]:
        """Returns how often each model answered; "" is the policy's `otherwise`."""
        return Counter(answer.model for answers in self.answers.values() for answer in answers)

    def check(self) -> None:
        """Asserts that each request was answered, exactly once."""
        assert not self.failures, f"{len(self.failures)} of {self.sent} failed: {self.failures[:3]}"
        assert len(self.answers) == self.sent
        assert all(len(answers) == 1 for answers in self.answers.values())


class Load:
    """A context manager: sends in a thread of its own from beginning to end, then follows each request to its end.

    Args:
        address: where to ask.
        rate: requests a second.
        timeout_s: the clients' deadline, retries with the same request id included.
    """

    def __init__(self, address: str, *, rate: float = 50.0, timeout_s: float = 30.0) -> None:
        self.outcomes = Outcomes()
        self._address = address
        self._rate = rate
        self._timeout_s = timeout_s
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self._prefix = f"load-{time.time_ns()}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()

    def answered(self) -> int:
        """Returns how many have been answered up to now."""
        return len(self.outcomes.answers)

    async def _run(self) -> None:
        _, held_out = split_applicants()
        began = time.monotonic()
        async with (
            AsyncClient(self._address, "credit", options=ClientOptions(timeout_s=self._timeout_s)) as client,
            asyncio.TaskGroup() as under_way,
        ):
            while not self._ends.is_set():
                number = self.outcomes.sent
                await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                self.outcomes.sent += 1
                row = held_out.table.iloc[[number % len(held_out.table)]]
                under_way.create_task(self._ask(client, f"{self._prefix}-{number}", row))

    async def _ask(self, client: AsyncClient, request_id: str, row: Any) -> None:
        began = time.monotonic()
        try:
            answer = await client.score(row, request_id=request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall name it
            self.outcomes.failures.append(f"{request_id}: {type(error).__name__}: {error}")
            return
        self.outcomes.answers.setdefault(request_id, []).append(answer)
        self.outcomes.took_s[request_id] = time.monotonic() - began

"""The demo: `python -m examples.credit.demo`. Trains, starts everything, scores, hangs a model, explains.

Ends with status 0 if every answer was on time and right, and leaves nothing running.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from nats.aio.client import Client as Nats
from rendezvous_proto.postbox import MODELS_BUCKET
from rendezvous_router.project import load_spec
from rendezvous_sdk import Answer, AsyncClient, Client
from rendezvous_sdk.nats_connection import connect
from rich.console import Console
from rich.table import Table

from examples.credit import scorecard
from examples.credit.afterwards import AfterwardsError, show_afterwards
from examples.credit.applicants import Applicants, split_applicants
from examples.credit.boosted import Boosted
from examples.credit.elsewhere import TrainingError, describe_left_out, models_elsewhere, train_elsewhere
from examples.credit.forest import Forest
from examples.credit.history import History
from examples.credit.logit import Logit
from examples.credit.stack import ENDPOINT, HERE, Stack, StackError
from examples.credit.standing import Record, Standing, read_record, sum_up
from examples.credit.train import train

CHAMPION = "boosted"
IN_FLIGHT = 8
"""Requests that are waiting for their answers at one time."""
GRACE_MS = 5.0
"""What the way back to the client may take beyond the deadline."""
_HANG_AFTER = 100
_RECOVERY_ROUND = 32
_RECOVERY_S = 15.0
_RECORD_S = 15.0

console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=110)


class DemoError(RuntimeError):
    """Something that the demo shows did not hold; the message says what."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer, as the client saw it."""

    place: int
    """Which of the held-out applicants."""
    answer: Answer
    after_ms: float
    """From the call to the answer, by the client's clock."""


class Show:
    """What the demo tells, step by step, on a stack that is ready.

    Args:
        stack: the running project.
        pids: process id of each model.
    """

    def __init__(self, stack: Stack, pids: Mapping[str, int]) -> None:
        self.stack = stack
        self.pids = pids
        self.held_out = split_applicants()[1]
        self.deadline_ms = load_spec(HERE / "credit.yaml").policy.deadline_s * 1000.0
        self._expected = {**score_locally(self.held_out), **score_at_doors(self.held_out, stack.doors)}

    async def run(self) -> None:
        """Tells it all.

        Raises:
            DemoError: an answer was late or wrong, or the record is not complete.
        """
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel_task())
        async with AsyncClient(self.stack.address, ENDPOINT) as client:
            await self._warm_up(client)
            defaulted = await self._compare(client)
            hung = await self._hang(client)
            await self._recover(client)
        self._explain(hung)
        console.rule("[bold]5. Later it turns out who paid back")
        await asyncio.to_thread(show_afterwards, self.stack, defaulted, console)

    async def _warm_up(self, client: AsyncClient) -> None:
        """Lets each process do once what it does first: import, connect, allocate."""
        await self._score(client, range(4 * IN_FLIGHT))

    async def _compare(self, client: AsyncClient) -> dict[str, bool]:
        """Returns who defaulted, by request id."""
        count = len(self.held_out.table)
        console.rule(f"[bold]1. {count} applicants, each scored by every model, answered by one")
        given = await self._score(client, range(count))
        self._check(given)
        defaulted = {each.answer.request_id: self.held_out.defaulted[each.place] for each in given}
        nats = await connect(self.stack.nats_url, name="demo", timeout_s=5.0)
        try:
            record = await self._read_complete(nats, frozenset(defaulted))
            languages = await read_languages(nats)
        finally:
            await nats.close()
        print_standings(sum_up(record, self.stack.models, CHAMPION, defaulted), languages)
        console.print(
            "All of it is from the record: the streams that keep each request, every model's score and the decision.\n"
            f"[bold]won[/bold]: gave the answer; [bold]late[/bold]: scored after the deadline of {self.deadline_ms:g} "
            "ms; [bold]AUC[/bold]: on loans whose outcome is known.\n"
        )
        return {request_id: bool(each) for request_id, each in defaulted.items()}

    async def _hang(self, client: AsyncClient) -> list[Given]:
        count = len(self.held_out.table)
        console.rule(f"[bold]2. The champion hangs: stopped (SIGSTOP) after {_HANG_AFTER} of {count} requests")
        pid = self.pids[CHAMPION]

        def hang(answered: int) -> None:
            if answered == _HANG_AFTER:
                os.kill(pid, signal.SIGSTOP)

        given = await self._score(client, range(count), on_answer=hang)
        self._check(given)
        print_answers(given)
        slowest = max(each.after_ms for each in given)
        console.print(
            f"{len(given)} requests, {len(given)} answers. The latest came after [bold]{slowest:.0f} ms[/bold], "
            f"the deadline is {self.deadline_ms:g} ms.\n"
        )
        return given[_HANG_AFTER + IN_FLIGHT :]

    async def _recover(self, client: AsyncClient) -> None:
        console.rule("[bold]3. The champion goes on (SIGCONT)")
        os.kill(self.pids[CHAMPION], signal.SIGCONT)
        started = time.monotonic()
        while time.monotonic() < started + _RECOVERY_S:
            given = await self._score(client, range(_RECOVERY_ROUND))
            self._check(given)
            won = sum(each.answer.model == CHAMPION for each in given)
            if won == len(given):
                break
        else:
            raise DemoError(f"the champion did not win again within {_RECOVERY_S:g} s of going on")
        console.print(
            f"{time.monotonic() - started:.1f} s later {won} of {len(given)} answers are its own again. "
            "Nobody was told anything.\n"
        )

    def _explain(self, given: Sequence[Given]) -> None:
        request_id = given[len(given) // 2].answer.request_id
        console.rule("[bold]4. Why was this the answer?")
        console.print(f"$ rendezvous explain {request_id}")
        command = [self.stack.script("rendezvous"), "explain", request_id, "--nats", self.stack.nats_url]
        width = {**os.environ, "COLUMNS": str(console.width)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False, env=width)
        if done.returncode:
            raise DemoError(f"`rendezvous explain` failed: {(done.stderr or done.stdout).strip()}")
        console.print(done.stdout.rstrip() + "\n", markup=False)

    async def _score(
        self, client: AsyncClient, places: Sequence[int], *, on_answer: Callable[[int], None] | None = None
    ) -> list[Given]:
        """Sends one request for each applicant, a few at a time; returns the answers in the order they came."""
        waiting = iter(places)
        given: list[Given] = []

        async def send() -> None:
            for place in waiting:
                row = self.held_out.table.iloc[[place]].to_dict("list")
                sent = time.perf_counter()
                answer = await client.score(row, timeout=5.0)
                given.append(Given(place, answer, (time.perf_counter() - sent) * 1000.0))
                if on_answer is not None:
                    on_answer(len(given))

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        return given

    def _check(self, given: Sequence[Given]) -> None:
        """Raises DemoError if an answer was late, or is not what its model gives for that applicant."""
        late = [each for each in given if each.after_ms > self.deadline_ms + GRACE_MS]
        if late:
            slowest = max(each.after_ms for each in late)
            raise DemoError(
                f"{len(late)} of {len(given)} answers were late, the latest after {slowest:.0f} ms; the deadline is "
                f"{self.deadline_ms:g} ms. Is this machine busy with something else?"
            )
        for each in given:
            self._check_answer(each)

    def _check_answer(self, given: Given) -> None:
        reply = given.answer
        if not reply.model:
            return
        actual = (float(reply.view["default_probability"][0]), str(reply.view["label"][0]))
        expected = [by_place[given.place] for by_place in self._expected[reply.model]]
        if not any(abs(actual[0] - each[0]) <= 1e-9 and actual[1] == each[1] for each in expected):
            raise DemoError(
                f"request {reply.request_id}: {reply.model} was said to answer {actual}, but it gives "
                f"{' or '.join(map(str, expected))}"
            )

    async def _read_complete(self, nats: Nats, request_ids: frozenset[str]) -> Record:
        """Reads the record until it holds every model's score of every request: slow models may still be at it."""
        end = time.monotonic() + _RECORD_S
        while True:
            record = await read_record(nats, ENDPOINT, request_ids)
            counts = {model: len(record.scores[model]) for model in self.stack.models}
            if len(record.decisions) == len(request_ids) and set(counts.values()) == {len(request_ids)}:
                return record
            if time.monotonic() > end:
                raise DemoError(
                    f"the record is not complete after {_RECORD_S:g} s: {len(record.decisions)} decisions and "
                    f"scores {counts} of {len(request_ids)} requests"
                )


Expected = list[list[tuple[float, str]]]
"""What a model may give for each applicant; for the scorecard with and without what the enricher adds."""


def score_locally(applicants: Applicants) -> dict[str, Expected]:
    """Returns what each model gives for each applicant, computed in this process."""
    expected = {}
    columns = applicants.table.to_dict("list")
    for name, kind in (("boosted", Boosted), ("logit", Logit), ("forest", Forest)):
        model = kind()
        model.setup()
        expected[name] = [model.score(columns)]
    enricher = History()
    enricher.setup()
    expected["scorecard"] = [scorecard.score(columns | enricher.score(columns)), scorecard.score(columns)]
    return {
        name: [list(zip(map(float, each["default_probability"]), each["label"], strict=True)) for each in answers]
        for name, answers in expected.items()
    }


def score_at_doors(applicants: Applicants, doors: Mapping[str, str]) -> dict[str, Expected]:
    """Returns what the models in other languages give for each applicant when they are asked directly, over gRPC."""
    expected = {}
    for name in models_elsewhere():
        with Client(doors[name]) as client:
            answer = client.score(applicants.table)
        expected[name] = [list(zip(map(float, answer["default_probability"]), map(str, answer["label"]), strict=True))]
    return expected


async def read_languages(nats: Nats) -> dict[str, str]:
    """Returns the programming language of each registered model."""
    bucket = await nats.jetstream().key_value(MODELS_BUCKET)
    found = [json.loads((await bucket.get(key)).value or b"{}") for key in await bucket.keys()]
    return {info["name"]: info.get("language", "") for info in found}


def print_standings(standings: Sequence[Standing], languages: Mapping[str, str]) -> None:
    """Prints the table of the models."""
    table = Table()
    for heading in ("model", "language", "answered", "won", "late", "p50 ms", "p99 ms", "AUC", "agrees with champion"):
        table.add_column(heading, justify="left" if heading in {"model", "language"} else "right")
    for each in standings:
        table.add_row(
            each.model,
            languages.get(each.model, "?"),
            str(each.answered),
            str(each.won),
            str(each.late),
            f"{each.p50_ms:.1f}",
            f"{each.p99_ms:.1f}",
            f"{each.auc:.3f}",
            f"{each.agreement:.0%}",
        )
    console.print(table)


def print_answers(given: Sequence[Given]) -> None:
    """Prints who answered, by which rule of the policy, and how late at most."""
    table = Table()
    for heading in ("answered by", "rule", "answers", "median ms", "latest ms"):
        table.add_column(heading, justify="left" if heading in {"answered by", "rule"} else "right")
    groups = Counter((each.answer.model, _rule(each)) for each in given)
    for (model, rule), count in groups.most_common():
        times = sorted(each.after_ms for each in given if (each.answer.model, _rule(each)) == (model, rule))
        who = model or "nobody: otherwise"
        table.add_row(who, rule, str(count), f"{times[len(times) // 2]:.0f}", f"{times[-1]:.0f}")
    console.print(table)


def _rule(given: Given) -> str:
    decision = given.answer.decision
    return decision.rule if decision is not None else ""


def _run() -> None:
    started = time.monotonic()
    console.print("Training three models on 700 applicants; the canary is a scorecard of hand-written rules.")
    train()
    train_elsewhere(split_applicants()[0])
    for line in describe_left_out():
        console.print(line, style="yellow", markup=False)
    with Stack() as stack:
        console.print("Starting nats-server, router, archive and four models by `rendezvous up`.\n")
        asyncio.run(Show(stack, stack.wait_until_ready()).run())
    console.print(f"\nEverything is stopped again. {time.monotonic() - started:.0f} s.")


def _cancel_task() -> Callable[[], object]:
    """Returns what ends the running task in an orderly way: an exception in the midst of the loop would not."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancel


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run()
    except (AfterwardsError, DemoError, StackError, TrainingError) as error:
        console.print(f"\nThe demo failed: {error}", style="red", markup=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        with suppress(OSError):
            console.print("\nInterrupted; everything is stopped.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

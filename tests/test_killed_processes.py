"""Processes killed under load: replicas, the router, nats-server."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nats
from rendezvous_proto.errors import RendezvousError, UnavailableError
from rendezvous_router.record import read_parcels
from rendezvous_sdk import AsyncClient

from tests.support.archiving import rows_of, verify
from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack, eventually

ALONE: dict[str, Any] = {
    **ENDPOINT,
    "models": {"steady": {"role": "champion"}},
    "policy": {"deadline": "3s", "steps": [{"take": "best"}], "otherwise": "error"},
}
"""One model, and no way round it."""


class Load:
    """Clients that ask until they are told to stop; each request has an id of its own and is sent once."""

    def __init__(self, stack: Stack, clients: int = 8) -> None:
        self.answered: dict[str, str] = {}
        self.refused: Counter[str] = Counter()
        self.refused_after_s: list[float] = []
        self.messages: set[str] = set()
        self.latest_s = 0.0
        self._stack = stack
        self.clients = clients
        self._stop = asyncio.Event()
        self._count = 0

    async def run(self) -> None:
        """Asks until `stop`."""
        async with Caller(self._stack.address) as caller:
            await asyncio.gather(*[self._ask(caller) for _ in range(self.clients)])

    def stop(self) -> None:
        """Lets the clients end after their present request."""
        self._stop.set()

    async def answers(self, count: int) -> None:
        """Waits until *count* more requests are answered."""
        target = len(self.answered) + count

        async def enough() -> bool:
            return len(self.answered) >= target

        await eventually(enough, f"{count} more answers; refused: {self.refused}")

    async def _ask(self, caller: Caller) -> None:
        while not self._stop.is_set():
            self._count += 1
            request_id = f"load-{self._count}"
            sent_at = time.monotonic()
            try:
                reply = await caller.score({"a": [float(self._count)], "b": [1], "tag": ["x"]}, request_id=request_id)
                self.answered[request_id] = reply.model
            except RendezvousError as error:
                self.refused[type(error).__name__] += 1
                self.messages.add(f"{type(error).__name__}: {error.message} {error.attributes}")
                self.refused_after_s.append(time.monotonic() - sent_at)
                await asyncio.sleep(0.02)  # a refused client does not hammer
            self.latest_s = max(self.latest_s, time.monotonic() - sent_at)


async def test_a_killed_replica_costs_no_answer_of_the_only_model(stack: Stack) -> None:
    """One of two replicas of the only model is killed under load: its parcels go to the other, all within 3 s."""
    await stack.apply(ALONE)
    stack.start_router()
    arguments = ("--ack-wait", "500ms")
    victim = stack.start_model("tests.support.models:steady", *arguments)
    stack.start_model("tests.support.models:steady", *arguments)
    load = Load(stack, clients=16)
    running = asyncio.create_task(load.run())
    await load.answers(200)
    victim.signal(signal.SIGKILL)
    await load.answers(400)
    load.stop()
    await running
    assert not load.refused
    assert set(load.answered.values()) == {"steady"}
    assert load.latest_s < 3.0


async def test_a_killed_router_is_back_and_no_score_of_its_former_life_is_taken(stack: Stack) -> None:
    """Clients see UNAVAILABLE while the router is gone, then answers; old scores have another return address."""
    await stack.apply(ALONE)
    router = stack.start_router()
    stack.start_model("tests.support.models:steady")
    load = Load(stack)
    running = asyncio.create_task(load.run())
    await load.answers(100)
    router.kill()

    async def refused() -> bool:
        return load.refused["UnavailableError"] > 5

    await eventually(refused, "clients see UNAVAILABLE")
    again = stack.start_router()
    await load.answers(100)
    load.stop()
    await running
    assert set(load.refused) == {"UnavailableError"}
    assert router.ready_line.split()[2] != again.ready_line.split()[2], "each life has its own return address"
    counts = await stack.model_counts("steady", lambda counts: counts["scored"] > 0)
    assert counts["stray"] == 0
    assert counts["invalid"] == 0


async def test_a_killed_nats_server_loses_nothing_that_was_answered(stack: Stack, tmp_path: Path) -> None:
    """While nats-server is gone the router refuses at once; then it recovers, and all that was answered is archived."""
    archive = tmp_path / "archive"
    await stack.apply(ALONE)
    stack.start_router()
    stack.start_model("tests.support.models:steady")
    stack.start_archive(archive)
    load = Load(stack)
    running = asyncio.create_task(load.run())
    for _ in range(2):
        await load.answers(100)
        stack.server.kill()
        before = load.refused["UnavailableError"]

        async def refused(before: int = before) -> bool:
            return load.refused["UnavailableError"] > before + 20

        await eventually(refused, "clients see UNAVAILABLE at once")
        stack.server.start()
    await load.answers(100)
    load.stop()
    await running
    # What was kept just before the kill may lose its score with the server, and ends at its deadline.
    assert set(load.refused) <= {"UnavailableError", "NoAnswerError"}
    assert load.refused["NoAnswerError"] <= 2 * load.clients
    assert sorted(load.refused_after_s)[len(load.refused_after_s) // 2] < 0.1, "refused at once, not at the deadline"

    client = await nats.connect(stack.server.url)
    kept = {item.request_id async for _, parcel in read_parcels(client, "sum") for item in parcel.items}
    await client.close()

    async def complete() -> bool:
        return verify(archive, "sum").requests == len(kept)

    await eventually(complete, "the archive has all that the stream has")
    archived = Counter(archived_ids(archive))
    missing = [request_id for request_id in load.answered if archived[request_id] != 1]
    assert not missing


def archived_ids(archive: Path) -> list[str]:
    """Returns the request ids of all archived parcels, with repetitions."""
    return [row["request_id"] for row in rows_of(archive, "inputs", "sum")]


async def test_sigterm_answers_what_was_accepted_and_refuses_the_rest(stack: Stack) -> None:
    """On SIGTERM the router answers its accepted requests, refuses new ones, and exits with 0."""
    await stack.apply(ALONE)
    router = stack.start_router()
    stack.start_model("tests.support.models:steady")
    load = Load(stack, clients=16)
    running = asyncio.create_task(load.run())
    await load.answers(100)
    accepted_before = len(load.answered)
    exit_code = await asyncio.to_thread(router.stop)
    load.stop()
    await running
    assert exit_code == 0
    assert len(load.answered) >= accepted_before
    assert set(load.refused) == {"UnavailableError"}, load.messages


async def test_two_workers_share_the_port_and_a_dead_one_is_replaced(stack: Stack) -> None:
    """`--workers 2`: both answer on one port; when one is killed, another takes its place."""
    await stack.apply(ALONE)
    stack.start_router("--workers", "2")
    stack.start_model("tests.support.models:steady")
    clients = [AsyncClient(stack.address, endpoint="sum") for _ in range(6)]
    try:
        table = {"a": [1.0], "b": [1], "tag": [""]}
        await asyncio.gather(*[client.score(table) for client in clients for _ in range(5)])

        async def both_alive() -> bool:
            return len(await stack.router_pids()) == 2

        await eventually(both_alive, "two routers report")
        victim = min(await stack.router_pids())
        os.kill(victim, signal.SIGKILL)

        async def replaced() -> bool:
            pids = await stack.router_pids()
            return victim in pids and len(pids) == 3  # the dead one's status fades after its TTL

        await eventually(replaced, "a third router reports")
        await asyncio.gather(*[client.score(table, timeout=5) for client in clients])
    finally:
        await asyncio.gather(*[client.close() for client in clients])


def test_unavailable_is_retryable() -> None:
    """What clients see while something is down may be retried with the same request id."""
    assert UnavailableError("").retryable


async def test_sigterm_without_a_nats_server_ends_the_router(stack: Stack) -> None:
    """A router whose postbox is gone, with decisions still to be written, ends within its drain time."""
    await stack.apply(ALONE)
    router = stack.start_router("--drain-s", "3")
    stack.start_model("tests.support.models:steady")
    load = Load(stack, clients=16)
    running = asyncio.create_task(load.run())
    await load.answers(100)
    stack.server.kill()
    exit_code = await asyncio.to_thread(router.stop)
    load.stop()
    await running
    assert exit_code == 0

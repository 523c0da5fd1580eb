"""A killed router: every answer that a client has is on record, once, when the next router has started."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import nats
import pytest
from rendezvous_router.record import read_decisions

from tests.support.stack import Stack, eventually
from tests.test_killed_processes import ALONE, Load


async def _decided(stack: Stack) -> Counter[str]:
    client = await nats.connect(stack.server.url)
    try:
        records = read_decisions(client, "sum")
        return Counter([record.decision.request_id async for record in records])
    finally:
        await client.close()


@pytest.mark.parametrize(("seed", "workers"), [(1, 1), (2, 1)])
async def test_no_answer_is_without_its_decision(stack: Stack, tmp_path: Path, seed: int, workers: int) -> None:
    """A router with a journal is killed again and again under load; nothing is lost and nothing doubled."""
    chance = random.Random(seed)
    journal: tuple[Any, ...] = ("--journal", str(tmp_path / "journal"), "--workers", str(workers))
    await stack.apply(ALONE)
    router = stack.start_router(*journal)
    stack.start_model("tests.support.models:steady")
    load = Load(stack)
    running = asyncio.create_task(load.run())
    for _ in range(4):
        await load.answers(chance.randint(20, 200))
        router.kill()
        router = stack.start_router(*journal)
    await load.answers(20)
    load.stop()
    await running
    decided: Counter[str] = Counter()

    async def complete() -> bool:
        decided.clear()
        decided.update(await _decided(stack))
        return load.answered.keys() <= decided.keys()

    await eventually(complete, "every answer's decision is on record")
    assert {request: times for request, times in decided.items() if times > 1} == {}
    left = [path.name for path in (tmp_path / "journal").rglob("*.journal")]
    assert len(left) == 1, "only the living router's journal is there"

"""Clients that all wait for their answers keep every replica of a slow model busy."""

import asyncio
import time
from typing import Any

import pytest
from rendezvous_sdk import AsyncClient

from tests.support.stack import ENDPOINT, Stack

CLIENTS = 60
WINDOW_S = 4.0
SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"sleepy": {"role": "champion"}},
    "policy": {"deadline": "20s", "steps": [{"take": "best"}], "otherwise": "error"},
}
MODEL = ("tests.cluster.sleepy_model:sleepy", "--credit", "1")


async def answers_per_s(stack: Stack) -> float:
    """Returns the rate at which clients are answered that ask again as soon as they are."""
    until = time.monotonic() + WINDOW_S

    async def ask(client: AsyncClient) -> int:
        answered = 0
        while time.monotonic() < until:
            await client.score({"a": [1.5], "b": [2], "tag": ["x"]}, timeout=20)
            answered += 1
        return answered

    started = time.monotonic()
    async with AsyncClient(stack.address, endpoint="sum") as client:
        counts = await asyncio.gather(*[ask(client) for _ in range(CLIENTS)])
    return sum(counts) / (time.monotonic() - started)


@pytest.mark.timeout(120)
async def test_requests_that_wait_are_shared_among_replicas(stack: Stack) -> None:
    """Of a model that takes 20 ms a row, three replicas answer at least twice as many requests as one."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model(*MODEL)
    await answers_per_s(stack)  # the router learns what a row costs
    alone = await answers_per_s(stack)
    for _ in range(2):
        stack.start_model(*MODEL)
    await answers_per_s(stack)
    together = await answers_per_s(stack)
    print(f"{alone:.0f} requests/s by 1 replica, {together:.0f} by 3")
    assert together > 2.0 * alone

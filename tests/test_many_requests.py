"""The main job, at some volume."""

import asyncio

import numpy as np
from rendezvous_sdk import AsyncClient

from tests.support.stack import ENDPOINT, Stack

REQUESTS = 2000
IN_FLIGHT = 32


async def test_each_of_many_requests_is_answered_once_with_its_own_rows(stack: Stack) -> None:
    """2,000 requests at 32 in flight: each answered once, rows in the order sent, by the champion or in its stead."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    for name in ("first", "second", "third"):
        stack.start_model(f"tests.support.models:{name}")
    answers: dict[str, list[float]] = {}
    deciders: dict[str, int] = {}
    numbers = iter(range(REQUESTS))

    async def ask(client: AsyncClient) -> None:
        for number in numbers:
            rows = number % 7 + 1
            table = {"a": np.arange(rows) + number / 8, "b": np.arange(rows) * 1000, "tag": [f"é{number}"] * rows}
            answer = await client.score(table, request_id=f"request-{number}")
            assert answer.request_id not in answers
            answers[answer.request_id] = list(answer["total"])
            expected = [index + number / 8 + index * 1000 for index in range(rows)]
            assert list(answer["total"]) == expected
            assert answer.decision is not None
            assert list(answer["label"]) == [answer.model] * rows
            expected_rule = "steps[0].best" if answer.model == "first" else "steps[1].first"
            assert answer.decision.rule == expected_rule
            deciders[answer.model] = deciders.get(answer.model, 0) + 1

    async with AsyncClient(stack.address, endpoint="sum") as client:
        await asyncio.gather(*[ask(client) for _ in range(IN_FLIGHT)])
    assert len(answers) == REQUESTS
    assert deciders["first"] > REQUESTS * 0.9
    assert stack.router is not None
    assert stack.router.stop() == 0

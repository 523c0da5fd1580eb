"""A champion that misbehaves: every request is answered on time by others, and the fault is counted against it."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from rendezvous_sdk import AsyncClient

from tests.support.stack import ENDPOINT, Stack

REQUESTS = 60
IN_FLIGHT = 6
DEADLINE_S = 2.0
TOLERANCE_S = 0.005

Counts = dict[str, Any]

ON_THE_WIRE: dict[str, Callable[[Counts], bool]] = {
    "nan": lambda counts: counts["invalid"] >= REQUESTS,
    "rows": lambda counts: counts["invalid"] >= REQUESTS,
    "columns": lambda counts: counts["invalid"] >= REQUESTS,
    "types": lambda counts: counts["invalid"] >= REQUESTS,
    "torn": lambda counts: counts["invalid"] >= REQUESTS,
    "other_id": lambda counts: counts["invalid"] >= REQUESTS,
    "other_parcel": lambda counts: counts["stray"] > 0,
    "other_model": lambda counts: counts["stray"] > 0,
    "garbage": lambda counts: counts["stray"] > 0,
    "flood": lambda counts: counts["stray"] > 0,
}


async def ask_all(stack: Stack, *, between: Callable[[int], None] = lambda _: None) -> list[str]:
    """Sends all requests and returns who answered; each answer is right and was given by its deadline."""
    numbers = iter(range(REQUESTS))
    answered_by: list[str] = []

    async def ask(client: AsyncClient) -> None:
        for number in numbers:
            between(number)
            sent_at = time.monotonic()
            table = {"a": [number + 0.25], "b": [number], "tag": ["x"]}
            answer = await client.score(table, timeout=DEADLINE_S + 1, request_id=f"r-{number}")
            took_s = time.monotonic() - sent_at
            timing = answer.reply.timing
            assert timing.finished_unix_us - timing.received_unix_us <= (DEADLINE_S + TOLERANCE_S) * 1e6
            assert took_s <= DEADLINE_S + 0.25, "the client saw it much later than it was given"
            assert answer.request_id == f"r-{number}"
            if answer.model != "first":
                assert list(answer["total"]) == [2 * number + 0.25]
                assert list(answer["label"]) == [answer.model]
            answered_by.append(answer.model)

    async with AsyncClient(stack.address, endpoint="sum") as client:
        await asyncio.gather(*[ask(client) for _ in range(IN_FLIGHT)])
    assert len(answered_by) == REQUESTS
    return answered_by


@pytest.mark.parametrize("fault", sorted(ON_THE_WIRE))
async def test_a_lying_champion_costs_no_answer_and_is_charged(stack: Stack, fault: str) -> None:
    """Whatever the champion sends, the challenger's score is served and the fault is counted against the champion."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    stack.start_faulty(fault)
    stack.start_model("tests.support.models:second")
    answered_by = await ask_all(stack)
    if fault == "flood":  # its first score of each parcel is valid
        assert set(answered_by) <= {"first", "second"}
    else:
        assert set(answered_by) == {"second"}
    await stack.model_counts("first", ON_THE_WIRE[fault])


async def test_answers_to_two_deliveries_may_come_in_any_order(stack: Stack) -> None:
    """A parcel that was delivered twice is answered twice, the second delivery first: that is no fault."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    stack.start_faulty("backwards")
    answered_by = await ask_all(stack)
    assert set(answered_by) == {"first"}
    counts = await stack.model_counts("first", lambda counts: counts["scored"] >= REQUESTS)
    assert counts["stray"] == 0


async def test_a_hung_champion_costs_no_answer(stack: Stack) -> None:
    """A champion stopped in mid-flow (SIGSTOP) is waited for as the policy says, and then done without."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    champion = stack.start_model("tests.support.models:first")
    stack.start_model("tests.support.models:second")

    def hang(number: int) -> None:
        if number == REQUESTS // 2:
            champion.signal(signal.SIGSTOP)

    answered_by = await ask_all(stack, between=hang)
    assert "first" in answered_by[: REQUESTS // 2]
    assert answered_by[-1] == "second"
    champion.signal(signal.SIGCONT)
    counts = await stack.model_counts(
        "first", lambda counts: counts["scored"] + counts["late"] + counts["expired"] >= REQUESTS
    )
    assert counts["won"] < REQUESTS
    assert counts["stray"] == 0, "a redelivered parcel is no fault"


@pytest.mark.parametrize(
    ("target", "is_charged"),
    [
        ("raising", lambda counts: counts["failed"] == REQUESTS),
        ("slow", lambda counts: counts["scored"] > 0 and counts["won"] == 0),
        ("crashing", None),
    ],
)
async def test_a_failing_champion_costs_no_answer(
    stack: Stack, target: str, is_charged: Callable[[Counts], bool] | None
) -> None:
    """A champion that raises, is too slow for its step, or dies at each request leaves the answer to the others."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    champion = stack.start_model(f"tests.support.models:{target}", name="first")
    stack.start_model("tests.support.models:second")
    answered_by = await ask_all(stack)
    assert set(answered_by) == {"second"}
    if is_charged is None:
        assert champion.popen.wait(10) == 3
    else:
        await stack.model_counts("first", is_charged)


async def test_with_no_model_at_all_the_declared_answer_comes_by_the_deadline(stack: Stack) -> None:
    """When the only models hang, `otherwise` is answered by the deadline."""
    await stack.apply({**ENDPOINT, "policy": {**ENDPOINT["policy"], "deadline": "400ms", "steps": [{"take": "first"}]}})
    stack.start_router()
    stack.start_faulty("hung")
    async with AsyncClient(stack.address, endpoint="sum") as client:
        answers = await asyncio.gather(
            *[client.score({"a": [1.0], "b": [1], "tag": [""]}, timeout=3) for _ in range(IN_FLIGHT)]
        )
    for answer in answers:
        assert answer.decision is not None
        assert (answer.decision.rule, list(answer["label"])) == ("otherwise", ["refer"])
        assert answer.decision.decided_after_us <= 405_000


async def test_a_client_with_a_shorter_deadline_is_answered_within_it(stack: Stack) -> None:
    """The client's own deadline wins over the policy's: it gets `otherwise` in time rather than a timeout."""
    await stack.apply({**ENDPOINT, "policy": {**ENDPOINT["policy"], "steps": [{"take": "first"}]}})
    stack.start_router()
    stack.start_faulty("hung")
    async with AsyncClient(stack.address, endpoint="sum") as client:
        await client.describe()
        answer = await client.score({"a": [1.0], "b": [1], "tag": [""]}, timeout=0.3)
    assert answer.decision is not None
    assert answer.decision.rule == "otherwise"
    assert answer.decision.decided_after_us < 300_000

"""Replicas of a model come and go under load."""

import asyncio
from typing import Any

import pytest
from rendezvous_router.record import read_scores
from rendezvous_sdk.nats_connection import connect
from rendezvous_sdk.scoring import unix_us

from tests.support.open_loop import OpenLoop
from tests.support.stack import ENDPOINT, Stack

TOO_MUCH = 110.0
"""Requests a second: more than twice what one replica can score."""
LITTLE = 25.0
"""What one replica can score with ease."""
WINDOW_S = 5.0
SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"sleepy": {"role": "champion"}},
    "policy": {
        "deadline": "1s",
        "steps": [{"take": "best"}],
        "otherwise": {"total": -1.0, "label": "refer"},
    },
    "postbox": {"replicas": 3},
}
"""One model; what it does not manage in a second is referred."""
MODEL = ("tests.cluster.sleepy_model:sleepy", "--credit", "1")


async def scored_rates(url: str, since_us: list[int]) -> list[float]:
    """Returns how many requests a second the model scored, in time or late, in the windows that begin at *since_us*."""
    client = await connect(url, name="test", timeout_s=5)
    try:
        scored = [
            (stored_us, sum(not item.HasField("error") for item in score.items))
            async for stored_us, score in read_scores(client, "sum")
        ]
    finally:
        await client.close()
    return [
        sum(count for stored_us, count in scored if since <= stored_us < since + WINDOW_S * 1e6) / WINDOW_S
        for since in since_us
    ]


@pytest.mark.timeout(180)
async def test_replicas_raise_the_throughput(cluster_stack: Stack) -> None:
    """Under more load than one replica can bear, three score at least twice as many requests, and all in time."""
    await cluster_stack.apply(SPEC)
    cluster_stack.start_router()
    cluster_stack.start_model(*MODEL)
    load = OpenLoop(cluster_stack.address, rate=TOO_MUCH, timeout_s=10.0)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(3.0)
    since_us = [unix_us()]
    await asyncio.sleep(WINDOW_S)
    for _ in range(2):
        await asyncio.to_thread(cluster_stack.start_model, *MODEL)
    await asyncio.sleep(3.0)
    since_us.append(unix_us())
    from_s = load.now_s
    await asyncio.sleep(WINDOW_S)
    load.stop()
    await running
    alone, together = await scored_rates(cluster_stack.server.url, since_us)
    print(f"{alone:.0f} requests/s of {TOO_MUCH:.0f} scored by 1 replica, {together:.0f} by 3")
    assert all(outcome.reply is not None for outcome in load.outcomes)
    assert together > 2.0 * alone > 0.0
    assert set(load.rules(from_s)) == {"steps[0].best"}


@pytest.mark.timeout(180)
async def test_replicas_that_are_told_to_end_take_nothing_with_them(cluster_stack: Stack) -> None:
    """Two of three replicas end on SIGTERM under load: every request is scored, in time, without a second attempt."""
    await cluster_stack.apply(SPEC)
    cluster_stack.start_router()
    replicas = [cluster_stack.start_model(*MODEL) for _ in range(3)]
    load = OpenLoop(cluster_stack.address, rate=LITTLE, timeout_s=10.0)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(2.0)
    codes = []
    for replica in replicas[:2]:
        codes.append(await asyncio.to_thread(replica.stop))
        await asyncio.sleep(1.0)
    await asyncio.sleep(2.0)
    load.stop()
    await running
    assert codes == [0, 0]
    assert load.rules() == {"steps[0].best": len(load.outcomes)}
    assert [outcome.attempts for outcome in load.outcomes] == [1] * len(load.outcomes)

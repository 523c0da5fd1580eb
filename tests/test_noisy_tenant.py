"""One flood beside a quiet neighbour: what the neighbour notices of it, in figures."""

import asyncio
import json
import signal
import statistics
from typing import Any

from tests.support.open_loop import OpenLoop
from tests.support.processes import Process, python
from tests.support.stack import ENDPOINT, Stack, eventually

LIMIT = 50
"""Requests a second that the noisy one may send."""
FLOOD = 10 * LIMIT
"""Requests a second that it does send."""
QUIET = 40
"""Requests a second of the quiet one: about 3 % of what a router answers on two cores, everything flushed (README)."""
BLOCK_S, BLOCKS, EDGE_S = 4.0, 10, 0.25
"""The flood goes on and off in blocks, so that alone and beside are measured under the same conditions."""
ONE: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "5s", "steps": [{"take": "best"}], "otherwise": "error"},
}


def percentile(values: list[float], percent: int) -> float:
    """Returns a percentile, in milliseconds."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] * 1e3


async def test_a_flood_leaves_the_quiet_neighbour_in_peace(stack: Stack) -> None:
    """One floods at ten times its limit; the other, at 5 % load, keeps its p99 within twice of its p99 alone."""
    await stack.apply(ONE)
    await stack.apply({**ONE, "endpoint": "noisy", "limits": {"requests_per_s": LIMIT}})
    stack.start_router()
    stack.start_model("tests.support.models:first")
    stack.start_model("tests.support.models:first", endpoint="noisy")
    notes = stack.folder / "flood.json"
    command = python("-m", "tests.support.flood", stack.address, "noisy", str(FLOOD), str(notes))
    flood = Process(command, log=stack.folder / "flood.log", ready="ready")
    stack.processes.append(flood)
    flood.wait_ready()
    quiet = OpenLoop(stack.address, rate=QUIET, timeout_s=10)
    asking = asyncio.create_task(quiet.run())

    async def is_warm() -> bool:
        return sum(outcome.reply is not None for outcome in quiet.outcomes) >= QUIET

    await eventually(is_warm, "the quiet one is answered")
    blocks: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(BLOCKS):
        is_flooded = number % 2 == 1
        flood.signal(signal.SIGUSR1 if is_flooded else signal.SIGUSR2)
        began_s = quiet.now_s
        await asyncio.sleep(BLOCK_S)
        blocks[is_flooded].append((began_s + EDGE_S, quiet.now_s))
    quiet.stop()
    await asking
    assert flood.stop() == 0
    ended = json.loads(notes.read_text())

    took = {
        is_flooded: [
            outcome.took_s for outcome in quiet.outcomes for begin, end in spans if begin <= outcome.due_s < end
        ]
        for is_flooded, spans in blocks.items()
    }
    for is_flooded, name in ((False, "alone"), (True, "beside the flood")):
        figures = ", ".join(f"p{percent} {percentile(took[is_flooded], percent):.1f} ms" for percent in (50, 95, 99))
        print(f"quiet {name}: {len(took[is_flooded])} requests, {figures}")
    print(f"flood: {ended}")
    assert not [outcome for outcome in quiet.outcomes if outcome.failure is not None or outcome.errors]
    assert set(ended) == {"OK", "RESOURCE_EXHAUSTED"}
    flooded_s = BLOCK_S * BLOCKS / 2
    assert sum(ended.values()) >= 0.5 * FLOOD * flooded_s
    assert ended["OK"] <= LIMIT * (BLOCK_S * BLOCKS + 1)
    assert percentile(took[True], 99) <= 2 * percentile(took[False], 99)

"""One tenant floods beside a quiet one: what the quiet one notices of it, in figures."""

import asyncio
import json
import signal
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from rendezvous_proto.errors import RendezvousError
from rendezvous_router.limits import TenantLimits
from rendezvous_sdk.tasks import end_tasks

from tests.support.caller import Caller
from tests.support.open_loop import OpenLoop
from tests.support.processes import Process, python
from tests.support.stack import ENDPOINT, eventually
from tests.support.tenants import TenantHouse

LIMIT = 25
"""Requests a second that the noisy tenant may send."""
FLOOD = 10 * LIMIT
"""Requests a second that it does send."""
QUIET = 65
"""Requests a second of the quiet one: 5 % of what a router answers on two cores, everything flushed (README)."""
BLOCK_S, BLOCKS, EDGE_S = 4.0, 8, 0.25
"""The flood goes on and off in blocks, so that alone and beside are measured under the same conditions."""
ROUNDS = 3
"""Rounds of blocks at most: a machine that is busy with something else needs more of them to tell."""
SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "5s", "steps": [{"take": "best"}], "otherwise": "error"},
}


class Spans:
    """When the flood was off, and when it was on: from and to, seconds of the quiet one's clock."""

    def __init__(self, quiet: OpenLoop) -> None:
        self._quiet = quiet
        self._blocks: dict[bool, list[tuple[float, float]]] = {False: [], True: []}

    async def measure(self, flood: Process) -> None:
        """Lets the flood go on and off for one round."""
        for number in range(BLOCKS):
            is_flooded = number % 2 == 1
            flood.signal(signal.SIGUSR1 if is_flooded else signal.SIGUSR2)
            began_s = self._quiet.now_s
            await asyncio.sleep(BLOCK_S)
            self._blocks[is_flooded].append((began_s + EDGE_S, self._quiet.now_s))
        flood.signal(signal.SIGUSR2)

    def percentile_ms(self, percent: int, *, is_flooded: bool) -> float:
        """Returns a percentile of what the quiet one's requests took, milliseconds."""
        took = [
            outcome.took_s
            for outcome in self._quiet.outcomes
            if outcome.took_s and any(begin <= outcome.due_s < end for begin, end in self._blocks[is_flooded])
        ]
        return statistics.quantiles(took, n=100, method="inclusive")[percent - 1] * 1e3

    def describe(self) -> str:
        """Returns the figures for people."""
        lines = []
        for is_flooded, name in ((False, "alone"), (True, "beside the flood")):
            figures = (f"p{each} {self.percentile_ms(each, is_flooded=is_flooded):.1f} ms" for each in (50, 95, 99))
            lines.append(f"quiet tenant {name}: {', '.join(figures)}")
        return "; ".join(lines)

    @property
    def is_in_peace(self) -> bool:
        """Whether the quiet one's p99 beside the flood is within twice of its p99 alone."""
        return self.percentile_ms(99, is_flooded=True) <= 2 * self.percentile_ms(99, is_flooded=False)


async def test_a_flood_leaves_the_quiet_tenant_in_peace(tmp_path: Path) -> None:
    """One floods at ten times its limit; the other, at 5 % load, keeps its p99 within twice of its p99 alone."""
    house = TenantHouse(tmp_path, "noisy", "quiet")
    try:
        await _measure(house)
    finally:
        house.stop()


async def _measure(house: TenantHouse) -> None:
    house.limit("noisy", TenantLimits(requests_per_s=LIMIT))
    for tenant in ("noisy", "quiet"):
        await house.apply(tenant, SPEC)
    house.start_router()
    keys = {tenant: house.add_key(tenant, "score") for tenant in ("noisy", "quiet")}
    for tenant in ("noisy", "quiet"):
        house.start_model(house.add_key(tenant, "model:sum/first"), "tests.support.models:first")
    notes = house.folder / "flood.json"
    command = python("-m", "tests.support.flood", house.stack.address, "sum", str(FLOOD), str(notes))
    flood = Process([*command, keys["noisy"].text], log=house.folder / "flood.log", ready="ready")
    house.stack.processes.append(flood)
    flood.wait_ready()
    quiet = OpenLoop(house.stack.address, rate=QUIET, timeout_s=10, key=keys["quiet"].text)
    asking = asyncio.create_task(quiet.run())

    async def is_warm() -> bool:
        return sum(outcome.reply is not None for outcome in quiet.outcomes) >= QUIET

    await eventually(is_warm, "the quiet tenant is answered")
    spans, rounds = Spans(quiet), 0
    while not rounds or (not spans.is_in_peace and rounds < ROUNDS):
        await spans.measure(flood)
        rounds += 1
        print(spans.describe())
    quiet.stop()
    await asking
    assert flood.stop() == 0
    ended = json.loads(notes.read_text())
    print(f"flood: {ended}")
    assert not [outcome for outcome in quiet.outcomes if outcome.failure is not None or outcome.errors]
    assert set(ended) == {"OK", "RESOURCE_EXHAUSTED"}
    assert sum(ended.values()) >= 0.5 * FLOOD * rounds * BLOCK_S * BLOCKS / 2
    assert ended["OK"] <= LIMIT * (rounds * BLOCK_S * BLOCKS + 1)
    assert spans.is_in_peace, spans.describe()


async def test_room_is_left_for_the_tenant_that_asks_for_little(tmp_path: Path) -> None:
    """One tenant without any limit fills the router as far as it may; the other's requests are all let in."""
    house = TenantHouse(tmp_path, "noisy", "quiet")
    try:
        policy = {"deadline": "400ms", "steps": [{"take": "best"}], "otherwise": {"total": 0.0, "label": ""}}
        await house.apply("noisy", {**SPEC, "policy": policy})  # no model serves it: requests stay until the deadline
        await house.apply("quiet", SPEC)
        house.start_router("--max-in-flight", "16")
        noisy, quiet = house.add_key("noisy", "score"), house.add_key("quiet", "score")
        house.start_model(house.add_key("quiet", "model:sum/first"), "tests.support.models:first")
        ended: Counter[str] = Counter()
        async with Caller(house.stack.address, noisy.text) as many, Caller(house.stack.address, quiet.text) as one:
            flood = [asyncio.create_task(_keep_asking(many, ended)) for _ in range(64)]
            await eventually(lambda: _has(ended, "OverloadedError"), "the flood meets its share")
            for number in range(40):
                reply = await one.score({"a": [float(number)], "b": [1], "tag": ["x"]}, timeout_s=8)
                assert (reply.model, reply.outputs.rows) == ("first", 1)
            await end_tasks(*flood)
        assert set(ended) == {"answered", "OverloadedError"}
    finally:
        house.stop()


async def _keep_asking(caller: Caller, ended: Counter[str]) -> None:
    while True:
        try:
            await caller.score({"a": [1.0], "b": [1], "tag": ["x"]}, timeout_s=8)
            ended["answered"] += 1
        except RendezvousError as error:
            ended[type(error).__name__] += 1
            await asyncio.sleep(0.02)


async def _has(ended: Counter[str], what: str) -> bool:
    return bool(ended[what])

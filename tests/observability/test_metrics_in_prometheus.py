"""A router scraped by a real Prometheus: every panel has data, and the numbers are those of what happened."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rendezvous_proto.errors import RendezvousError, UnavailableError
from rendezvous_proto.v1 import Diagnostics

from tests.observability.expressions import fill_in, panels
from tests.observability.servers import PrometheusServer
from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack, eventually

SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {
        "first": {"role": "champion"},
        "failing": {"role": "challenger"},
        "late": {"role": "challenger"},
        "ghost": {"role": "challenger"},
    },
    "policy": {
        "deadline": "400ms",
        "steps": [{"until": "300ms", "take": "best", "of": ["first"]}],
        "otherwise": {"total": -1.0, "label": "refer"},
    },
}
TABLE = {"a": [1.0], "b": [2], "tag": ["x"]}
ROUND = 20


async def ask_a_round(caller: Caller) -> Counter[str]:
    """Asks *ROUND* requests that the champion answers, one that falls back, one that is refused; returns the labels."""
    labels: Counter[str] = Counter()
    for _ in range(ROUND):
        labels[(await caller.score(TABLE)).outputs.columns[1].strings[0]] += 1
    forced = await caller.score(TABLE, diagnostics=Diagnostics(force_model="late"))
    labels[forced.outputs.columns[1].strings[0]] += 1
    with pytest.raises(RendezvousError):
        await caller.score({"a": [1.0]})
    return labels


@pytest.mark.timeout(180)
async def test_every_panel_shows_what_happened(stack: Stack, prometheus: Path, tmp_path: Path) -> None:
    """Models that fail, are late, are not there; archive, nats-server gone: each panel has data, counts are exact."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_archive(tmp_path / "archive")
    stack.start_model("tests.support.models:first")
    stack.start_model("tests.support.models:raising", name="failing")
    stack.start_model("tests.support.models:slow", name="late")
    server = PrometheusServer(prometheus, tmp_path, {"router": [stack.page.removeprefix("http://")]})
    stack.processes.append(server.process)
    async with Caller(stack.address) as caller:
        for number in (1, 2):  # a rate needs two scrapes, between which something happened
            assert await ask_a_round(caller) == {"first": ROUND, "refer": 1}
            answered = f'rendezvous_requests_total{{rendezvous_outcome="answered"}} == {number * (ROUND + 1)}'
            await until(server, answered)
    counts = {
        'rendezvous_decisions_total{rendezvous_rule="steps[0].best",rendezvous_model="first"}': 2 * ROUND,
        'rendezvous_decisions_total{rendezvous_rule="otherwise",rendezvous_model=""}': 2,
        'rendezvous_requests_total{rendezvous_outcome="refused",error_type="SIGNATURE_MISMATCH"}': 2,
        'rendezvous_scores_total{rendezvous_model="failing",error_type="MODEL_FAILED"}': 2 * (ROUND + 1),
        'rendezvous_scores_total{rendezvous_model="first",error_type=""}': 2 * (ROUND + 1),
        'rendezvous_model_replicas{rendezvous_model="first"}': 1,
        'rendezvous_model_replicas{rendezvous_model="ghost"}': 0,
        "rendezvous_postbox_connected": 1,
        "rendezvous_deadline_used_ratio_count": 2 * (ROUND + 1),
        'rendezvous_deadline_used_ratio_bucket{le="0.9"}': 2 * ROUND,
    }
    for selector, expected in counts.items():
        await until(server, f"sum({selector}) == {expected}")
    await until(server, 'rendezvous_scores_late_total{rendezvous_model="late"} > 0')
    for where, _, exprs in panels():
        for expr in exprs:
            if "otelcol_" not in expr:  # there is no collector here
                await until(server, fill_in(expr, endpoint="sum", interval="10s"), where)
    await until(server, 'ALERTS{alertname="RendezvousModelWithoutReplicas",rendezvous_model="ghost"}')
    assert not server.query('ALERTS{rendezvous_model="first"}')
    stack.server.stop()
    await until(server, 'ALERTS{alertname="RendezvousPostboxDisconnected"}')
    async with Caller(stack.address) as caller:
        with pytest.raises(UnavailableError):
            await caller.score(TABLE)
    await until(server, 'sum(rendezvous_requests_total{error_type="UNAVAILABLE"}) == 1')
    assert {(rule["name"], rule.get("lastError")) for rule in server.rules() if rule["health"] != "ok"} == set()


async def until(server: PrometheusServer, expr: str, where: str = "") -> None:
    """Waits until an expression gives something."""

    async def gives() -> bool:
        return bool(await asyncio.to_thread(server.query, expr))

    await eventually(gives, f"{where} {expr}")

"""Enrichers that break the rules, against real processes: what it costs the requests of others, and the record."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

from rendezvous_proto.errors import NoAnswerError

from tests.support.stack import Stack, eventually
from tests.test_backtest_record import backtest, start_archiver
from tests.test_enrichers import (
    HISTORY,
    RATING,
    ask,
    command,
    in_force,
    is_enriched,
    running,
    spec_with,
    start_enricher,
)

SLOW: dict[str, Any] = {"outputs": [{"name": "slow", "type": "INT64"}], "budget": "1500ms", "otherwise": {"slow": 0}}


async def test_stage_ends_when_only_budgets_are_over(stack: Stack) -> None:
    """A silent enricher with a short budget costs that budget, though another that has answered may take longer."""
    spec = spec_with(history={**HISTORY, "budget": "1500ms"}, silent={**SLOW, "budget": "100ms"})
    async with running(stack, spec) as client:
        start_enricher(stack, "history")
        await eventually(lambda: is_enriched(client), "the enricher answers")
        began = time.monotonic()
        answer = await ask(client, (1.0, "x"))
        took_s = time.monotonic() - began
        assert answer["label"][0] == "first: loans=10 slow=0 tag=x worst=None"
        assert 0.09 <= took_s < 0.8, took_s


async def test_model_that_reads_raw_parcels_decides_nothing(stack: Stack) -> None:
    """A model that was started as an enricher scores rows that are not complete: its scores are nobody's."""
    spec = spec_with(history=HISTORY)
    async with running(stack, spec) as client:
        start_enricher(stack, "first", name="first")
        answer = await ask(client, (1.0, "x"))
        assert answer["label"][0].partition(": ")[2] == "loans=-1 tag=x worst=None", answer["label"]
        await stack.model_counts("first", lambda counts: counts["stray"] > 0)


async def test_enricher_that_says_another_stage_is_not_heard(stack: Stack) -> None:
    """What an enricher of the second stage made of the first stage's rows is no answer to the second; it is told."""
    rating = {**RATING, "inputs": ["tag"]}
    async with running(stack, spec_with(history={**HISTORY, "budget": "100ms"}, rating=rating)) as client:
        start_enricher(stack, "dawdling", name="rating")
        answer = await ask(client, (1.0, "x"))
        assert answer["label"][0] == "first: loans=-1 rating=unrated tag=x worst=None"
        await stack.model_counts("rating", lambda counts: counts["stray"] > 0 and counts["defaulted"] > 0)


async def test_request_that_an_enricher_ended_is_told_as_such(stack: Stack, tmp_path: Path) -> None:
    """Nobody's rows are shown as its own, no model as late; the backtest takes it as it was, and says so."""
    spec = spec_with(history={**HISTORY, "otherwise": "error"})
    async with running(stack, spec_with(history=HISTORY)) as client:
        start_enricher(stack, "picky")
        await eventually(lambda: is_enriched(client), "the enricher answers")
        await in_force(stack, await stack.apply(spec))
        tags = ["bad", *["x"] * 30] * 2
        asked = [ask(client, (float(n), tag), request_id=f"r-{n}", timeout=1.5) for n, tag in enumerate(tags)]
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert [n for n, answer in enumerate(got) if isinstance(answer, NoAnswerError)] == [0, 31]
        await eventually(lambda: is_told(stack, "r-31"), "its decision is written")
        for n in (0, 31):
            _, text = await command(stack, "explain", f"r-{n}", "--json")
            told = json.loads(text)
            assert told["inputs"] == []
            assert [each["status"] for each in told["enrichers"]] == ["ended"]
            assert {each["status"] for each in told["models"]} <= {"silent"}
        _, text = await command(stack, "explain", "r-40", "--json")
        assert [row["a"] for row in json.loads(text)["inputs"]] == [40.0]

    archive = start_archiver(stack, tmp_path / "archive")
    (tmp_path / "sum.json").write_text(json.dumps(spec))

    async def is_archived() -> bool:
        with contextlib.suppress(AssertionError):
            report = await asyncio.to_thread(backtest, tmp_path / "archive", str(tmp_path / "sum.json"))
            return bool(report["requests"] >= len(tags) and report["ended_by_enrichers"] == 2)
        return False

    await eventually(is_archived, "the record is in the archive, and the backtest says what it takes as given")
    archive.kill()


async def is_told(stack: Stack, request_id: str) -> bool:
    """Returns whether `explain` knows a request."""
    status, _ = await command(stack, "explain", request_id, "--json")
    return status == 0

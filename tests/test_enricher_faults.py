"""Enrichers that break the rules, against real processes: what it costs the requests of others, and the record."""

import time
from typing import Any

from tests.support.stack import Stack, eventually
from tests.test_enrichers import HISTORY, RATING, ask, is_enriched, running, spec_with, start_enricher

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

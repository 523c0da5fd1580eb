"""Java's and R's clients record the same outcomes at a real router."""

import asyncio
import os
import subprocess
from pathlib import Path

import nats
import pytest

from tests.support.feedback import outcomes_of
from tests.support.languages import require_language
from tests.support.stack import ENDPOINT, Stack
from toolchains.languages import R_LIBRARY
from toolchains.programs import PROBE_JAR

PROGRAMS = Path(__file__).parent / "feedback"
COMMANDS = {
    "java": ["java", "-cp", str(PROBE_JAR), str(PROGRAMS / "RecordOutcomes.java")],
    "r": ["Rscript", str(PROGRAMS / "record_outcomes.R")],
}


@pytest.mark.parametrize("language", list(COMMANDS))
async def test_outcomes_of_other_languages(stack: Stack, language: str) -> None:
    """What is recorded twice is kept once, as it was meant; a wrong one is told what is wrong with it."""
    require_language(language)
    await stack.apply(ENDPOINT)
    stack.start_router()
    library = os.environ.get("R_LIBS", str(R_LIBRARY))
    done = await asyncio.to_thread(
        subprocess.run,
        [*COMMANDS[language], stack.address],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "R_LIBS": library},
    )
    assert done.returncode == 0, done.stderr
    assert "did you mean 'label'?" in done.stdout
    client = await nats.connect(stack.server.url)
    try:
        kept = await outcomes_of(client)
    finally:
        await client.close()
    assert len(kept) == 3
    truth, verdict, reward = kept
    assert (truth.request_id, truth.row, truth.output, truth.number) == ("r-1", 0, "total", 1.0)
    assert (truth.observed_unix_us, truth.source) == (1_777_593_600_000_000, "collections")
    assert truth.HasField("row")
    assert (verdict.key.name, verdict.key.value, verdict.text) == ("customer_id", "C-17", "too strict")
    assert not verdict.HasField("row")
    assert (reward.feedback_id, reward.number) == (f"mine-{language}", -0.5)

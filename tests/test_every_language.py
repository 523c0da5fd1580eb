"""The same promises for every SDK: nobody downstream can tell which language answered."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import nats
import numpy as np
import pytest
from rendezvous_router.record import read_decisions
from rendezvous_sdk import AsyncClient

from examples.credit.applicants import load_applicants
from examples.credit.features import CATEGORIES, NUMBERS
from tests.support.languages import LOGITS, require_language
from tests.support.stack import Stack
from toolchains.programs import PROBES

SDKS = ["python", "java", "r"]

REQUESTS = 5000
IN_FLIGHT = 48
ECHO: dict[str, Any] = {
    "endpoint": "echo",
    "inputs": [{"name": "x", "type": "FP64"}],
    "outputs": [{"name": "y", "type": "FP64"}],
    "models": {"echo": {"role": "champion"}},
    "policy": {"deadline": "3s", "steps": [{"take": "best"}], "otherwise": "error"},
}


@pytest.mark.parametrize("language", SDKS)
async def test_a_killed_replica_costs_no_answer(stack: Stack, language: str) -> None:
    """5,000 requests, one of two replicas killed in the middle: each answered by the model within 3 s, none twice."""
    require_language(language)
    await stack.apply(ECHO)
    stack.start_router()
    trivial = {"RENDEZVOUS_PROBE": "trivial"}
    victim, _ = (stack.start_program(PROBES[language], name="echo", endpoint="echo", env=trivial) for _ in range(2))
    answered: Counter[str] = Counter()
    numbers = iter(range(REQUESTS))

    async def ask(client: AsyncClient) -> None:
        for number in numbers:
            answer = await client.score({"x": [float(number)]}, request_id=f"request-{number}")
            assert answer.model == "echo"
            assert list(answer["y"]) == [float(number)]
            answered[answer.request_id] += 1
            if sum(answered.values()) == REQUESTS // 2:
                victim.signal(signal.SIGKILL)

    async with AsyncClient(stack.address, endpoint="echo") as client:
        await asyncio.gather(*[ask(client) for _ in range(IN_FLIGHT)])
    assert victim.popen.wait(5) == -signal.SIGKILL
    assert len(answered) == REQUESTS
    assert set(answered.values()) == {1}
    assert await count_decisions(stack, "echo") == dict.fromkeys(answered, 1)


async def count_decisions(stack: Stack, endpoint: str) -> Counter[str]:
    """Returns how many decisions the record holds for each request."""
    assert stack.router is not None
    stack.router.stop()  # writes what is not yet written
    client = await nats.connect(stack.server.url)
    try:
        return Counter([kept.decision.request_id async for kept in read_decisions(client, endpoint)])
    finally:
        await client.close()


LOGIT: dict[str, Any] = {
    "endpoint": "credit",
    "inputs": [{"name": name, "type": "INT64", "missing": True} for name in NUMBERS]
    + [{"name": name, "type": "STRING", "missing": True} for name in CATEGORIES],
    "outputs": [{"name": "default_probability", "type": "FP64"}],
    "models": {language: {"role": "challenger"} for language in SDKS},
    "policy": {"deadline": "5s", "steps": [{"take": "best", "of": SDKS}], "otherwise": "error"},
}


async def test_one_model_gives_the_same_answers_in_every_language(stack: Stack, tmp_path: Path) -> None:
    """1,000 applicants, some values missing, one set of coefficients: the answers are equal to 1e-12."""
    for language in SDKS:
        require_language(language)
    random = np.random.default_rng(7)
    applicants = load_applicants().table.astype(object)
    columns = [*NUMBERS, *CATEGORIES]
    table = {name: applicants[name].where(random.random(len(applicants)) > 0.05, None).tolist() for name in columns}
    assert len(applicants) == 1000
    coefficients = tmp_path / "coefficients.tsv"
    coefficients.write_text("".join("\t".join(map(str, row)) + "\n" for row in make_coefficients(random)))
    await stack.apply(LOGIT)
    stack.start_router()
    for language in SDKS:
        stack.start_program(
            LOGITS[language], name=language, endpoint="credit", env={"LOGIT_COEFFICIENTS": str(coefficients)}
        )
    given: dict[str, np.ndarray[Any, Any]] = {}
    async with AsyncClient(stack.address, endpoint="credit") as client:
        for language in SDKS:
            answer = await client.score(table, force_model=language)
            assert answer.model == language
            given[language] = np.asarray(answer["default_probability"])
    assert 0.1 < given["python"].mean() < 0.9
    assert given["python"].std() > 0.05
    for language in SDKS[1:]:
        np.testing.assert_allclose(given[language], given["python"], rtol=0, atol=1e-12, err_msg=language)


def make_coefficients(random: np.random.Generator) -> list[tuple[object, ...]]:
    """Returns an intercept, a coefficient and a mean for each number, and a coefficient for each label."""
    rows: list[tuple[object, ...]] = [("intercept", -0.7)]
    rows += [("number", name, random.normal() / 1000, random.uniform(1, 50)) for name in NUMBERS]
    rows += [("category", name, label, random.normal() / 2) for name, labels in CATEGORIES.items() for label in labels]
    return rows

"""`rendezvous test`: a sound candidate passes every check; one that is broken in one way fails the check for it."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml
from rendezvous_proto.v1 import Signature
from rendezvous_router.model_test import ArchivePlace, Cases, CasesError, read_cases
from rendezvous_router.model_test.cases import HardValues, RowsSource
from rendezvous_router.model_test.rows import read_rows

from tests.support.processes import script
from tests.support.stack import ADDRESS, Stack
from tests.support.synthetic_archives import ArchivePlan, write_archive

ENDPOINT: dict[str, Any] = {
    "endpoint": "risks",
    "inputs": [{"name": "amount", "type": "FP64"}, {"name": "name", "type": "STRING"}],
    "outputs": [{"name": "risk", "type": "FP64"}, {"name": "label", "type": "STRING"}],
    "models": {"sound": {"role": "champion"}},
    "policy": {"deadline": "2s"},
}

CASES: dict[str, Any] = {
    "endpoint": "risks",
    "rows": [{"amount": float(amount), "name": name} for amount in (10, 35, 60, 80) for name in ("ann", "bartholomew")],
    "call_limit": "4s",
    "golden": [
        {"name": "small", "inputs": {"amount": 10.0, "name": "ann"}, "outputs": {"label": "low"}},
        {
            "name": "two rows",
            "inputs": [{"amount": 0.0, "name": ""}, {"amount": 0.0, "name": "x"}],
            "outputs": [{"risk": 0.5}, {"risk": 0.50025}],
            "tolerance": 1e-4,
        },
    ],
    "invariances": {"rows": 8},
    "monotonic": {"amount": "increasing"},
    "missing": {"columns": {"name": "answer"}},
    "extremes": {},
    "latency": {"rate": "40/s", "p99": "1s", "seconds": 1},
    "memory": {"grows_at_most": "20MiB", "requests": 800},
}
ALL = {
    "golden.small", "golden.two rows", "invariance.neighbours", "invariance.order", "invariance.repeats",
    "monotonic.amount", "missing.amount", "missing.name", "extremes.amount", "extremes.name", "latency", "memory",
}  # fmt: skip


def command_of(model: str) -> str:
    """The command line of a candidate; checks are waited for by its own program, so it needs no endpoint."""
    serve = f"{script('rendezvous-model')} serve tests.support.broken:{model}"
    return f"{serve} --endpoint risks --name {model}"


def run_test(folder: Path, cases: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `rendezvous test` with these cases."""
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump(cases))
    command = [script("rendezvous"), "test", "--cases", str(path), "--start-limit", "90s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def results_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What was printed with --json, by check."""
    assert done.stdout, done.stderr
    return {result["id"]: result for result in json.loads(done.stdout)["results"]}


@pytest.mark.timeout(240)
def test_a_sound_candidate_passes_every_check(tmp_path: Path) -> None:
    """All checks are done and pass, the status is 0, and the JUnit file says the same."""
    junit = tmp_path / "junit.xml"
    arguments = ("--model", "sound:2", "--run", command_of("sound"), "--json", "--junit", str(junit))
    done = run_test(tmp_path, CASES, *arguments)
    results = results_of(done)
    assert set(results) == ALL
    assert {name: each for name, each in results.items() if each["status"] != "passed"} == {}
    assert done.returncode == 0
    suites = JUnitXml.fromfile(str(junit))
    assert (suites.tests, suites.failures) == (len(ALL), 0)


AT_ONCE = 3
BROKEN: list[tuple[str, set[str], str]] = [
    ("leaning", {"invariance.neighbours"}, "beside|among"),
    ("counting", {"invariance.neighbours", "invariance.order", "invariance.repeats"}, "asked again|order"),
    ("turning", {"monotonic.amount"}, "as amount goes from 60.0 to 80.0, risk goes from"),
    ("crashing", {"extremes.amount", "extremes.name"}, "the process ended with status 3"),
    ("slow", {"latency"}, "p99 is to be at most 30 ms"),
    ("leaking", {"memory"}, "KiB a request"),
]


@pytest.mark.timeout(300)
async def test_a_broken_candidate_fails_the_check_for_it(tmp_path: Path) -> None:
    """The check that is about the fault fails, no other does, and it tells what it saw; the status is 1."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def test_one(model: str, expected: set[str], says: str) -> None:
        folder = tmp_path / model
        folder.mkdir()
        only = [word for group in sorted({each.partition(".")[0] for each in expected}) for word in ("--only", group)]
        arguments = ("--model", f"{model}:1", "--run", command_of(model), "--json", *only)
        async with turns:
            done = await asyncio.to_thread(run_test, folder, cases_for(model), *arguments)
        failed = {name: each["detail"] for name, each in results_of(done).items() if each["status"] == "failed"}
        assert set(failed) == expected, failed
        assert any(re.search(says, detail) for detail in failed.values()), failed
        assert done.returncode == 1

    async with asyncio.TaskGroup() as group:
        for each in BROKEN:
            group.create_task(test_one(*each))


def cases_for(model: str) -> dict[str, Any]:
    """The cases; where speed is the fault, with a limit below what the candidate takes."""
    return CASES | ({"latency": {"rate": "10/s", "p99": "30ms", "seconds": 1}} if model == "slow" else {})


WRONG = [
    (
        {"golden": [{"inputs": {"a": 1}, "outputs": {"p": 1}, "tolerence": 1}]},
        "golden[0]: Object contains unknown field",
    ),
    ({"rows": [{"a": 1}], "latency": {"rate": "fast", "p99": "1ms"}}, "latency.rate"),
    ({"rows": [{"a": 1}], "monotonic": {"a": "upward"}}, "monotonic"),
    ({"rows": [{"a": 1}], "monotonic": {"a": {"direction": "increasing", "steps": [2, 1]}}}, "monotonic.a.steps"),
    ({"invariances": {}}, "rows: missing"),
    ({"golden": [{"inputs": {"a": 1}}]}, "golden[0]: give either outputs or refused"),
    ({"golden": [{"inputs": [{"a": 1}, {"a": 2}], "outputs": {"p": 1}}]}, "golden[0]: 2 rows of inputs, 1 of outputs"),
    ({"rows": {"from": "csv"}, "missing": {}}, "rows.path"),
    ({"rows": {"from": "tape", "path": "x"}, "missing": {}}, "rows.from"),
    ({}, "it asks for nothing"),
]


@pytest.mark.parametrize(("cases", "says"), WRONG)
def test_wrong_cases_are_refused_with_their_path(tmp_path: Path, cases: dict[str, Any], says: str) -> None:
    """What is wrong, and where in the file, is one message; the status is 2, and nothing is started."""
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump(cases))
    with pytest.raises(CasesError, match=re.escape(says)):
        read_cases(path)


@pytest.mark.timeout(200)
async def test_a_candidate_that_runs_is_found_by_name_or_address(stack: Stack, tmp_path: Path) -> None:
    """Without its program memory is not measured, and the rest is; nobody at an address is one message, status 1."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    model = stack.start_model("tests.support.broken:sound", endpoint="risks")
    found = ADDRESS.search(model.ready_line)
    assert found is not None, model.ready_line
    only = ("--only", "golden", "--only", "memory", "--json")
    for told in (("--address", found[1]), ("--model", "sound", "--nats", stack.server.url)):
        done = await asyncio.to_thread(run_test, tmp_path, CASES, *told, *only)
        statuses = {name: each["status"] for name, each in results_of(done).items()}
        assert statuses == {"golden.small": "passed", "golden.two rows": "passed", "memory": "not applicable"}
        assert done.returncode == 0
    model.kill()
    gone = await asyncio.to_thread(run_test, tmp_path, CASES, "--address", found[1])
    assert (gone.returncode, "is the server running" in gone.stderr) == (1, True), gone.stderr
    usage = await asyncio.to_thread(run_test, tmp_path, CASES)
    assert (usage.returncode, "name the candidate" in usage.stderr) == (2, True), usage.stderr


def test_rows_come_from_the_archive_and_from_a_table(tmp_path: Path) -> None:
    """The last requests of the record, and the last rows of a CSV file, have the values and types that they had."""
    write_archive(tmp_path / "archive", ArchivePlan(requests=30))
    place = ArchivePlace(str(tmp_path / "archive"), "default")
    cases = Cases(endpoint="credit", rows=RowsSource(kind="archive", last=5), missing=HardValues())
    rows = read_rows(cases, tmp_path, Signature(), place)
    assert len(rows.rows) == 5
    assert set(rows.types) == set(rows.rows[0])
    assert rows.frame(rows.rows).rows == 5
    (tmp_path / "rows.csv").write_text("amount,name,who\n1.5,ann,x\n2.5,bo,y\n")
    source = RowsSource(kind="csv", path="rows.csv", last=1, leave_out=["who"])
    rows = read_rows(Cases(rows=source, missing=HardValues()), tmp_path, Signature(), place)
    assert rows.rows == ({"amount": 2.5, "name": "bo"},)
    assert rows.types == {"amount": "FP64", "name": "STRING"}

"""The record of a real installation, decided anew by the policies of the day, gives every decision again to the bit."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from rendezvous.backtest import same_values
from rendezvous_proto.errors import RendezvousError
from rendezvous_router.backtest import Policies, Record
from rendezvous_sdk import AsyncClient
from rendezvous_sdk.archive import open_archive

from tests.support.processes import Process, script
from tests.support.stack import Stack, eventually

ENDPOINT: dict[str, Any] = {
    "endpoint": "moods",
    "inputs": [{"name": "a", "type": "FP64"}, {"name": "b", "type": "INT64"}],
    "outputs": [
        {"name": "risk", "type": "FP32"},
        {"name": "points", "type": "INT64"},
        {"name": "label", "type": "STRING"},
    ],
    "models": {
        "boosted": {"role": "champion", "weight": 1.5},
        "logit": {"role": "challenger"},
        "tree": {"role": "challenger", "weight": 0.7},
        "scorecard": {"role": "canary"},
    },
}
OTHERWISE = {"risk": 0.1, "points": -1, "label": "refer"}
OF = ["boosted", "logit", "tree"]
POLICIES: list[dict[str, Any]] = [
    {
        "deadline": "300ms",
        "steps": [
            {"until": "9ms", "take": "best", "of": ["boosted"]},
            {"until": "40ms", "take": "majority", "on": "label", "of": OF, "quorum": 2},
            {"until": "200ms", "take": "first"},
        ],
        "otherwise": OTHERWISE,
    },
    {
        "deadline": "60ms",
        "steps": [
            {"until": "12ms", "take": "median", "of": OF, "quorum": 3},
            {"take": "mean", "on": ["risk", "points"]},
        ],
        "otherwise": "error",
    },
    {
        "deadline": "80ms",
        "steps": [
            {"until": "15ms", "take": "split", "shares": {"boosted": 0.5, "tree": 0.3, "logit": 0.2}, "by": "customer"},
            {"until": "50ms", "take": "weighted", "on": "label", "of": OF, "quorum": 3},
        ],
        "otherwise": OTHERWISE,
    },
    {"deadline": "25ms", "steps": [{"take": "best", "of": ["tree", "boosted"]}], "otherwise": OTHERWISE},
]
REQUESTS = 90
DECIDED = "SELECT decided_after_us FROM decisions ORDER BY stream_sequence, batch_index"


async def ask(client: AsyncClient, number: int) -> bool:
    """Sends one request and returns whether it was answered; rows, deadline, context and force go by the number."""
    rows = 1 + number % 3
    table = {"a": [0.01 * (number + row) for row in range(rows)], "b": [number + row for row in range(rows)]}
    try:
        await client.score(
            table,
            request_id=f"m-{number}",
            timeout=0.013 if number % 7 == 3 else 2.0,
            context={"customer": str(number % 20)} if number % 4 else {},
            force_model="tree" if number % 17 == 5 else None,
        )
    except RendezvousError:
        return False
    return True


async def load(stack: Stack, first: int) -> None:
    """Sends the requests of one phase, a few at a time."""
    numbers = iter(range(first, first + REQUESTS))

    async def work(client: AsyncClient) -> None:
        for number in numbers:
            await ask(client, number)

    async with AsyncClient(stack.address, endpoint="moods") as client:
        await asyncio.gather(*[work(client) for _ in range(6)])


def start_archiver(stack: Stack, root: Path) -> Process:
    """Starts the archive's process."""
    command = [script("rendezvous"), "archive", "--nats", stack.server.url, "--archive", str(root)]
    process = Process(command, log=stack.folder / "archive.log", ready="ready")
    stack.processes.append(process)
    process.wait_ready()
    return process


async def archived(root: Path, least: int) -> None:
    """Waits until the archive has at least so many decisions, and no more come for a while."""
    counts: list[tuple[int, int]] = []

    async def is_still() -> bool:
        try:
            with open_archive(root, endpoint="moods") as archive:
                query = "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM scores)"
                counts.append(archive.sql(query).fetchall()[0])
        except RendezvousError:
            return False
        await asyncio.sleep(0.3)
        return counts[-1][0] >= least and len(counts) > 3 and len(set(counts[-4:])) == 1

    await eventually(is_still, "the archive has everything", within_s=40)


async def make_record(stack: Stack, root: Path) -> None:
    """Runs the load under each policy in turn; a model is killed in the middle of the third."""
    await stack.apply(ENDPOINT | {"policy": POLICIES[0]})
    stack.start_router()
    start_archiver(stack, root)
    for model in ("boosted", "logit", "scorecard"):
        stack.start_model(f"tests.support.moody:{model}", endpoint="moods")
    tree = stack.start_model("tests.support.moody:tree", endpoint="moods")
    for phase, policy in enumerate(POLICIES):
        if phase:
            await stack.apply(ENDPOINT | {"policy": policy})
        loading = asyncio.create_task(load(stack, phase * REQUESTS))
        if phase == 2:
            await asyncio.sleep(0.2)
            tree.popen.send_signal(signal.SIGKILL)
        await loading
    await archived(root, len(POLICIES) * REQUESTS * 3 // 4)


async def test_recorded_policies_reproduce_every_recorded_decision(stack: Stack, tmp_path: Path) -> None:
    """Rule, models, values to the bit and time to the microsecond come out of the record, under every revision."""
    root = tmp_path / "archive"
    await make_record(stack, root)
    rules, errors, replayed = set(), 0, 0
    with open_archive(root, endpoint="moods") as archive:
        policies = Policies(archive, None, margin_s=0.005)
        record = Record(archive, policies.outputs, {})
        kept = [us for (us,) in archive.sql(DECIDED).fetchall()]
        repeats = len(kept) - len({found for (found,) in archive.sql("SELECT request_id FROM decisions").fetchall()})
        revisions = set()
        for found in record.read(policies, with_repeats=True):
            trial = policies.trial(found.spec)
            assert trial is not None, policies.misfits
            was, verdict = found.request.decided, trial.decide(found.request)
            assert (verdict.rule, verdict.models) == (was.rule, was.models), found.request
            assert round(verdict.decided_after_ns / 1e9 * 1e6) == kept[replayed]
            assert verdict.decided_after_ns == was.decided_after_ns
            if was.columns is not None:
                assert verdict.columns is not None
                for name in ("risk", "points", "label"):
                    assert same_values(verdict.columns.column(name), was.columns.column(name)), found.request
            assert not verdict.is_changed
            rules.add(was.rule)
            errors += was.error == "NO_ANSWER"
            replayed += 1
            revisions.add(found.spec.revision)
    assert (record.without_scores, record.repeats, record.rounded) == (0, 0, 0)
    assert replayed == len(kept) == record.requests
    assert len(revisions) == len(POLICIES)
    # Which rules come into play goes by the machine's load; these do on any.
    assert "forced" in rules
    assert rules & {"canary", "otherwise", "none"}
    assert len(rules) >= 6, rules
    check_command(root, tmp_path, replayed - repeats)


def check_command(root: Path, folder: Path, requests: int) -> None:
    """The command says that the policies of the day change nothing, and what another policy changes."""
    recorded = backtest(root)
    assert (recorded["requests"], recorded["changed_answers"], recorded["changed_decisions"]) == (requests, 0, 0)
    assert recorded["recorded"] == recorded["tried"]
    other = folder / "other.yaml"
    document = {"policy": {"deadline": "200ms", "steps": [{"take": "best", "of": ["logit"]}], "otherwise": OTHERWISE}}
    other.write_text(json.dumps(document))
    tried = backtest(root, str(other))
    assert tried["requests"] == requests
    assert tried["changed_answers"] > requests / 10
    assert tried["tried"]["models"]["logit"] > requests / 3  # how many it could answer goes by the machine's load
    assert sum(change["requests"] for change in tried["changes"]) == tried["changed_answers"]
    assert {sample["to"]["rule"] for sample in tried["samples"]} <= {"steps[0].best", "forced", "canary", "otherwise"}


def backtest(root: Path, *arguments: str) -> dict[str, Any]:
    """Runs `rendezvous backtest` and returns what it printed."""
    command = [script("rendezvous"), "backtest", *arguments, "--archive", str(root), "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    return document

"""`rendezvous replay`: scores into the archive, resumed, killed, refused; the command itself, and real processes."""

import asyncio
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidOutputError, ModelFailedError
from rendezvous_router.archive.store import ArchiveStore
from rendezvous_router.archive.verify import verify_endpoint
from rendezvous_router.cli import app
from rendezvous_router.own_session import are_sessions_weighed, is_weighed_with_others
from rendezvous_router.replay.errors import CandidateGoneError
from rendezvous_router.replay.history import History
from rendezvous_router.replay.options import ReplayLimits
from rendezvous_router.replay.replay import Replay
from rendezvous_router.replay.rows import ReplayedModel
from rendezvous_sdk.archive.layout import replay_source
from rendezvous_sdk.archive.manifest import read_current
from typer.testing import CliRunner

from tests.support.replayed import START_US, STEP_US, Recorded, total_of

ARGUMENTS = ["replay", "--endpoint", "sum", "--json", "--eager"]
ROOT = Path(__file__).parents[2]


def command(folder: Path, *arguments: str) -> list[str]:
    """The arguments of a replay over an archive, in a process of its own."""
    return [sys.executable, "-m", "rendezvous_router.cli", *ARGUMENTS, "--archive", str(folder), *arguments]


def replayed(folder: Path, *arguments: str, status: int = 0) -> Any:
    """Runs a replay in this process and returns its summary, or its message where it fails."""
    done = CliRunner().invoke(app, [*ARGUMENTS, "--archive", str(folder), *arguments])
    assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
    return json.loads(done.stdout) if status == 0 else " ".join(done.stderr.split())


def written(recorded: Recorded, run: str) -> pa.Table:
    """All rows of a run that belong to the archive, in order."""
    entries = read_current(recorded.root, "default", "sum", [replay_source(run)])
    for one, other in pairwise(entries):
        assert other.generation != one.generation or other.first == one.last + 1
    tables = [pq.read_table(recorded.folder / file.path, partitioning=None) for each in entries for file in each.files]
    return pa.concat_tables(tables, promote_options="default")


def expected(recorded: Recorded) -> list[tuple[str, int, float]]:
    """What `doubled` gives: request, row, total."""
    return [(name, row, total) for name, frame in recorded.frames.items() for row, total in enumerate(total_of(frame))]


def told(table: pa.Table) -> list[tuple[str, int, float]]:
    """The same of written rows."""
    return [(each["request_id"], each["row"], each["total"]) for each in table.to_pylist()]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """An archive of 24 parcels, and a live score that tells the outputs."""
    made = Recorded(tmp_path / "archive")
    made.write(12)
    made.write(12)
    made.write_scores()
    return made


@pytest.fixture
def served() -> Iterator[str]:
    """A model that serves `Score`, and nothing else; its address."""
    serve = "from rendezvous_sdk import serve; from tests.support.replayed import picky; "
    serve += "serve(picky, endpoint='sum', version='2', postbox=False)"
    process = subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout as output:
        yield output.readline().rpartition(" ")[2].strip()
        process.terminate()
        process.wait()


def test_history_is_scored_in_this_process(recorded: Recorded) -> None:
    """Without NATS: every row once, with what tells it from live scores; then there is nothing left."""
    load = ("--model", "doubled:2.0", "--load", "tests.support.replayed:doubled")
    summary = replayed(recorded.folder, *load)
    assert (summary["run"], summary["rows"], summary["failed"], summary["resumed"]) == ("doubled-2-0", 120, 0, False)
    table = written(recorded, "doubled-2-0")
    assert told(table) == expected(recorded)
    row = table.to_pylist()[0]
    assert {name: row[name] for name in ("model", "version", "origin", "run", "label", "parcel_id", "error_code")} == {
        "model": "doubled",
        "version": "2.0",
        "origin": "replay",
        "run": "doubled-2-0",
        "label": "doubled",
        "parcel_id": "parcel-1",
        "error_code": None,
    }
    assert (row["parcel_sequence"], row["late"], row["after_us"], row["started_at"].tzname()) == (1, None, None, "UTC")
    assert verify_endpoint(recorded.root, "default", "sum").is_complete
    assert "--resume goes on with it" in replayed(recorded.folder, *load, status=1)
    assert replayed(recorded.folder, *load, "--resume")["rows"] == 0
    recorded.write(2)
    resumed = replayed(recorded.folder, *load, "--resume", "--since", "1s")
    assert (resumed["rows"], resumed["resumed"]) == (10, True)
    assert told(written(recorded, "doubled-2-0")) == expected(recorded)


def test_a_run_that_begins_later_is_complete(recorded: Recorded) -> None:
    """What lies before `--since` is told as not read; a stream made anew and one that lost its end are followed."""
    recorded.lose_end(20)
    recorded.write(3)
    recorded.next_stream()
    recorded.write(8)
    load = ("--model", "doubled:2", "--load", "tests.support.replayed:doubled")
    assert replayed(recorded.folder, *load, "--since", moment(6))["rows"] == 5 * (19 + 3 + 3)
    report = verify_endpoint(recorded.root, "default", "sum")
    assert report.is_complete, report
    (first, *_) = read_current(recorded.root, "default", "sum", [replay_source("doubled-2")])
    assert (first.first, first.deleted) == (1, ((1, 5),))
    assert [each for each in told(written(recorded, "doubled-2")) if each not in expected(recorded)] == []


def moment(sequence: int) -> str:
    """When a message of the archive was stored, as `--since` takes it."""
    return dt.datetime.fromtimestamp((START_US + sequence * STEP_US) / 1e6, dt.UTC).isoformat()


def test_rows_that_are_refused_fail_alone(recorded: Recorded, served: str) -> None:
    """Over gRPC: a request that the candidate fails on is recorded as failed, its neighbours in the call are scored."""
    summary = replayed(recorded.folder, "--model", "picky:2", "--address", served, "--run-id", "mine", "--rows", "40")
    table = written(recorded, "mine").to_pylist()
    failed = {each["request_id"] for each in table if each["error_code"]}
    assert failed == {name for name in recorded.frames if int(name[1:]) % 5 == 0}
    assert Counter(each["error_code"] for each in table) == {None: summary["scored"], "MODEL_FAILED": summary["failed"]}
    assert {each["total"] for each in table if each["error_code"]} == {None}
    assert {each["replica"] for each in table} == {served}
    assert "multiple of five" in summary["first_error"]
    assert [(each["request_id"], each["row"]) for each in table] == [each[:2] for each in expected(recorded)]


def test_a_program_is_started_and_ended(recorded: Recorded) -> None:
    """`--run` serves the program with a NATS of its own, scores with it, and leaves no process behind."""
    target = f"{sys.executable} -m tests.support.replayed_program"
    summary = replayed(recorded.folder, "--model", "doubled:3", "--run", target)
    assert summary["scored"] == 120
    assert told(written(recorded, "doubled-3")) == expected(recorded)
    assert not _processes("tests.support.replayed_program")


def _processes(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if text.encode() in line and str(sys.executable).encode() in line:
                found.append(int(folder.name))
    return found


@pytest.mark.timeout(600)  # it steps back, and a busy machine leaves it little
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """SIGKILL again and again, at whichever moment: in the end every row is there exactly once."""
    recorded = Recorded(tmp_path / "archive")
    for _ in range(30):
        recorded.write(1)
    recorded.next_stream()
    for _ in range(10):
        recorded.write(1)
    chances = random.Random(seed)
    target = ("--model", "leisurely:1", "--load", "tests.support.replayed:leisurely", "--resume")
    arguments = command(recorded.folder, *target, "--rows", "4", "--file-rows", "5")
    arguments.remove("--eager")
    ended_early = 0
    for _ in range(4):
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before, wanted = _entries(recorded), chances.randrange(1, 5)
        while process.poll() is None and _entries(recorded) < before + wanted:
            time.sleep(0.005)
        time.sleep(chances.random() / 20)
        process.kill()
        ended_early += process.wait() == -signal.SIGKILL
    done = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert ended_early >= 2
    assert verify_endpoint(recorded.root, "default", "sum").is_complete
    assert json.loads(done.stdout)["resumed"]
    assert told(written(recorded, "leisurely-1")) == expected(recorded)


def _entries(recorded: Recorded) -> int:
    folder = recorded.folder / "tenant=default/endpoint=sum/_manifest" / replay_source("leisurely-1")
    return len(list(folder.glob("*.json")))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--model", "greedy:1", "--load", "tests.support.replayed:greedy"), 1, "column income (FP64) is missing"),
        (("--model", "greedy:1", "--load", "tests.support.replayed:greedy"), 1, "column a is FP64, expected FP32"),
        (("--model", "meagre:1", "--load", "tests.support.replayed:meagre"), 1, "column label is missing"),
        (("--model", "a:1", "--load", "tests.support.replayed:nothing"), 1, "has no 'nothing'"),
        (("--model", "a:1", "--address", "127.0.0.1:1", "--timeout", "300ms"), 1, "did not answer for 0.3 s"),
        (("--model", "a:1", "--run", "no-such-program"), 1, "no-such-program"),
        (("--model", "a:1", "--run", "true"), 1, "ended with status 0"),
        (("--model", "a:1", "--load", "x:y", "--since", "2030-01-01"), 1, "has no inputs of endpoint sum in that time"),
        (("--model", "a:1"), 2, "one of --address, --run and --load; nothing is given"),
        (("--model", "a:1", "--run", "x", "--load", "y"), 2, "--run and --load are given"),
        (("--model", "a", "--load", "y"), 2, "give the version, too"),
        (("--model", "a:1", "--load", "y", "--rate", "fast"), 2, "write rows a time"),
        (("--model", "a:1", "--load", "y", "--run-id", "../x"), 2, "is not allowed"),
        (("--model", "a:1", "--address", "oip+http://h:1/m"), 2, "a replay asks the service Score"),
        (("--model", "a:1", "--address", "h:1", "--trust-pickle"), 2, "are for --load"),
    ],
)
def test_what_does_not_fit_is_told(recorded: Recorded, arguments: tuple[str, ...], status: int, message: str) -> None:
    """One message says what is wrong and what to do; nothing is written."""
    assert message in replayed(recorded.folder, *arguments, status=status)
    assert not list(recorded.folder.rglob("replay-*.parquet"))


def test_a_candidate_that_says_it_is_another_is_refused(recorded: Recorded, served: str) -> None:
    """Scores are not kept under the wrong name; a run is of one model."""
    message = replayed(recorded.folder, "--model", "picky:3", "--address", served, status=1)
    assert "says that it is picky:2, not picky:3" in message
    load = ("--load", "tests.support.replayed:doubled", "--run-id", "one", "--resume")
    replayed(recorded.folder, "--model", "doubled:1", *load)
    assert "is of doubled:1, not of doubled:2" in replayed(recorded.folder, "--model", "doubled:2", *load, status=1)


class Scripted:
    """A candidate in this process that answers what it is told to."""

    def __init__(self, *, answers: int, outputs: v1.Frame | None = None) -> None:
        self.left = answers
        self.outputs = outputs
        self.at_once = self.most_at_once = 0

    async def describe(self) -> v1.ModelInfo:
        """Says nothing of itself."""
        return v1.ModelInfo()

    async def score(self, frame: v1.Frame) -> v1.Frame:
        """Gives `a` as total, until it is gone."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.002)
        self.at_once -= 1
        if not self.left:
            raise CandidateGoneError("gone")
        self.left -= 1
        if self.outputs is not None:
            return self.outputs
        if frame.rows == 13:
            raise ModelFailedError("thirteen")
        column = next(each for each in frame.columns if each.name == "a")
        return v1.Frame(rows=frame.rows, columns=[v1.Column(name="total", type=column.type, values=column.values)])

    async def close(self) -> None:
        """Does nothing."""


def replay_of(recorded: Recorded, store: ArchiveStore, candidate: Scripted, **limits: Any) -> Replay:
    """A replay with its parts at hand."""
    return Replay(
        History(recorded.root, "default", "sum"),
        store,
        candidate,
        model=ReplayedModel(name="scripted", version="1", run="scripted", replica="here"),
        outputs=[],
        repeats={},
        limits=ReplayLimits(**limits),
    )


async def test_what_was_done_before_the_candidate_went_is_kept(tmp_path: Path) -> None:
    """A candidate that goes away is no failure of its rows: what was done is written, the rest is scored later."""
    recorded = Recorded(tmp_path)
    for _ in range(6):
        recorded.write(2)
    with ArchiveStore(recorded.root, "default", "sum", replay_source("scripted")) as store:
        replay = replay_of(recorded, store, Scripted(answers=7), piece_rows=5)
        with pytest.raises(CandidateGoneError):
            await replay.run()
        assert 0 < replay.totals.written < 60
        assert replay.totals.failed == 0
    with ArchiveStore(recorded.root, "default", "sum", replay_source("scripted")) as store:
        totals = await replay_of(recorded, store, Scripted(answers=1000), piece_rows=5).run()
        assert totals.written == 60 - replay.totals.written
    assert [each[:2] for each in told(written(recorded, "scripted"))] == [each[:2] for each in expected(recorded)]


async def test_calls_are_bounded_and_paced(tmp_path: Path) -> None:
    """No more calls at one time than allowed, and no more rows a second."""
    recorded = Recorded(tmp_path)
    recorded.write(12)
    candidate = Scripted(answers=1000)
    started = time.monotonic()
    with ArchiveStore(recorded.root, "default", "sum", replay_source("scripted")) as store:
        await replay_of(recorded, store, candidate, piece_rows=5, concurrency=3, rate=100.0).run()
    assert candidate.most_at_once <= 3
    assert time.monotonic() - started > 0.3


async def test_outputs_that_contradict_themselves_are_the_candidates_failure(tmp_path: Path) -> None:
    """Too few rows, or a frame that is not sound, is recorded as INVALID_OUTPUT, request by request."""
    recorded = Recorded(tmp_path)
    recorded.write(1)
    candidate = Scripted(answers=100, outputs=v1.Frame(rows=2))
    with ArchiveStore(recorded.root, "default", "sum", replay_source("scripted")) as store:
        totals = await replay_of(recorded, store, candidate).run()
    assert totals.errors == {InvalidOutputError.code.name: 5}
    assert set(written(recorded, "scripted")["error_code"].to_pylist()) == {"INVALID_OUTPUT"}


def test_a_replay_steps_back_with_what_it_starts() -> None:
    """Its threads, and the programs that it starts, give way to every other process."""
    ask = "import os; print(os.sched_getscheduler(0), os.nice(0))"
    code = (
        "import os, subprocess, sys, threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "from rendezvous_router.background import step_back\n"
        "step_back()\n"
        "print(*{os.sched_getscheduler(int(each)) for each in os.listdir('/proc/self/task')}, flush=True)\n"
        f"subprocess.run([sys.executable, '-c', {ask!r}], check=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(os.SCHED_IDLE), str(os.SCHED_IDLE), "19"]


def test_all_of_a_replay_is_the_least_of_its_machine(recorded: Recorded) -> None:
    """Process, candidate and its NATS are idle tasks of a session whose share is the least; its starter is not."""
    target = f"{sys.executable} -m tests.support.replayed_program"
    arguments = command(recorded.folder, "--model", "doubled:3", "--run", target, "--rate", "1/s", "--rows", "1")
    arguments.remove("--eager")
    is_weighed = are_sessions_weighed()
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            while not any(_runs("tests.support.replayed_program", each) for each in _started(process)):
                assert process.poll() is None
                time.sleep(0.02)
            mine = [each for each in _started(process) if not _runs("rendezvous_router.lifeline", each)]
            policies = {os.sched_getscheduler(each.pid) for each in mine}
            shares = {Path(f"/proc/{each.pid}/autogroup").read_text().split()[-1] for each in mine if is_weighed}
        finally:
            process.terminate()
    assert len(mine) >= 2 + is_weighed_with_others()
    assert policies == {os.SCHED_IDLE}
    assert shares == ({"19"} if is_weighed else set())


def _started(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _runs(module: str, process: psutil.Process) -> bool:
    return process.cmdline()[1:3] == ["-m", module]

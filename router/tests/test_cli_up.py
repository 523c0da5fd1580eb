"""`rendezvous up` as a process: a whole project runs, is asked, survives kills, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SPEC = """
endpoint: credit
inputs: [{name: amount, type: FP64}]
outputs: [{name: risk, type: FP64}, {name: label, type: STRING}]
models: {plain: {role: champion}, card: {role: canary}}
policy: {deadline: 5s, steps: [{take: best, of: [plain]}]}
"""
SCORERS = """
def plain(table):
    return {"risk": [float(each) / 10 for each in table["amount"]], "label": ["bad"] * len(table["amount"])}

def card(table):
    return {"risk": [1.0] * len(table["amount"]), "label": ["refer"] * len(table["amount"])}
"""
PROJECT = """
endpoints: [credit.yaml]
models:
  plain: {run: rendezvous-model serve scorers:plain --endpoint credit --name plain}
  card: {run: rendezvous-model serve scorers:card --endpoint credit --name card}
ports: {grpc: 0, nats: 0}
durability: relaxed
"""
ROWS = "amount,outcome\n1,0\n2,1\n3,0\n"
TIMEOUT_S = 90
REQUEST_TIMEOUT_S = 5
"""How long a request to JetStream waits."""


def _until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {TIMEOUT_S} s: {what}")


class Up:
    """A running project, and commands in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._out = (folder / "up.json").open("wb")
        self._err = (folder / "up.err").open("wb")
        self.process = subprocess.Popen(self._command("up", "--json"), cwd=folder, stdout=self._out, stderr=self._err)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "rendezvous_router.cli", *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command; it finds the addresses by itself."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
        return subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def json(self, *arguments: str) -> Any:
        """Runs a command that must succeed; returns the JSON that it printed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ready(self) -> dict[str, Any]:
        """Waits until the project is up; returns what it said."""

        def said() -> str:
            assert self.process.poll() is None, (self.folder / "up.err").read_text()
            return (self.folder / "up.json").read_text()

        document: dict[str, Any] = json.loads(_until(said, "the project is up"))
        return document

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals the process; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(TIMEOUT_S)
        self._out.close()
        self._err.close()
        return status


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """A project of two models that is starting."""
    for name, text in {
        "credit.yaml": SPEC,
        "scorers.py": SCORERS,
        "rendezvous.yaml": PROJECT,
        "rows.csv": ROWS,
    }.items():
        (tmp_path / name).write_text(text)
    project = Up(tmp_path)
    yield project
    project.stop()


@pytest.mark.timeout(300)
def test_project_runs_is_asked_and_ends(up: Up) -> None:
    """From up to stop: scored, explained, listed, archived completely, a killed model restarted, nothing left."""
    ready = up.ready()
    assert [(model["name"], model["ready"]) for model in ready["models"]] == [("plain", True), ("card", True)]
    records = up.json("score", "credit", "rows.csv")
    assert [(row["risk"], row["label"], row["model"]) for row in records] == [
        (0.1, "bad", "plain"),
        (0.2, "bad", "plain"),
        (0.3, "bad", "plain"),
    ]
    request_id = records[1]["request_id"]
    _until(lambda: up.run("explain", request_id).returncode == 0, "the decision is kept")
    explained = up.json("explain", request_id)
    assert (explained["inputs"], explained["outputs"]) == ([{"amount": 2.0}], [{"risk": 0.2, "label": "bad"}])
    chosen = {answer["model"]: (answer["is_chosen"], answer["outputs"][0]["risk"]) for answer in explained["models"]}
    assert chosen == {"plain": (True, 0.2), "card": (False, 1.0)}
    _until(lambda: up.json("archive", "verify")[0]["requests"] == 3, "the archive has every request")
    assert up.json("archive", "verify")[0]["is_complete"] is True
    (plain,) = [process for process in ready["processes"] if process["name"] == "model-plain"]
    psutil.Process(plain["pid"]).kill()
    _until(lambda: "model-plain died (status -9)" in (up.folder / "up.err").read_text(), "the death is told")
    _until(lambda: len(up.json("models")[0]["replicas"]) >= 1, "the model is back")
    assert up.json("score", "credit", "rows.csv", "--batch", "3")[0]["model"] == "plain"
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert up.stop(signal.SIGINT) == 0
    assert [process for process in family if process.is_running()] == []
    assert not (up.folder / ".rendezvous" / "state.json").exists()


@pytest.mark.timeout(300)
def test_apply_is_in_force_when_it_returns(up: Up) -> None:
    """With a router running, apply waits until the router has the revision."""
    up.ready()
    (up.folder / "credit.yaml").write_text(SPEC.replace("of: [plain]", "of: [card, plain]"))
    (applied,) = up.json("apply", "credit.yaml")
    assert applied["state"] == "in force"
    assert {record["model"] for record in up.json("score", "credit", "rows.csv")} == {"card"}


@pytest.mark.timeout(300)
def test_a_nats_server_that_is_slow_to_answer_is_asked_again(up: Up) -> None:
    """While the router comes up nats-server answers nothing for longer than a request waits: the project comes up."""
    _until(lambda: "router\n" in (up.folder / "up.err").read_text(), "the router is started")
    (server,) = [each for each in psutil.Process(up.process.pid).children() if "nats" in each.name()]
    server.suspend()
    time.sleep(REQUEST_TIMEOUT_S + 2)
    server.resume()
    assert all(model["ready"] for model in up.ready()["models"])


@pytest.mark.timeout(300)
def test_killed_project_leaves_nothing_running(up: Up) -> None:
    """SIGKILL of `rendezvous up` ends every process that it had started."""
    up.ready()
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert len(family) >= 6
    up.stop(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_second_project_in_the_same_folder_is_refused(up: Up) -> None:
    """The same project cannot run twice at once."""
    _until(lambda: "nats-server" in (up.folder / "up.err").read_text(), "the first one is starting")
    second = up.run("up")
    assert (second.returncode, "is running already: stop it first" in second.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rendezvous.yaml": "modles: {}"}, "modles: unknown key, did you mean 'models'?"),
        ({"credit.yaml": "endpoint: credit"}, "credit.yaml: inputs: missing"),
        ({"rendezvous.yaml": "models: {a: {run: no-such-program}}"}, "program 'no-such-program' is neither"),
    ],
)
def test_project_that_cannot_run_is_refused_before_anything_starts(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    """A fault in a file is told with the file and the path, and nothing was started."""
    for name, text in {"credit.yaml": SPEC, "rendezvous.yaml": PROJECT, **change}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "rendezvous_router.cli", "up"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / ".rendezvous" / "logs").exists()

"""`rendezvous up` with certificates and tenants, as its commands make it: from the first tenant to a removed one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_router.tenants.tenancy import Tenancy

from tests.support.processes import Process, python

SPEC = """
endpoint: credit
inputs: [{name: amount, type: FP64}]
outputs: [{name: risk, type: FP64}]
models: {plain: {role: champion}}
policy: {deadline: 5s, steps: [{take: best, of: [plain]}]}
"""
SCORER = """
def plain(table):
    return {"risk": [float(each) / 10 for each in table["amount"]]}
"""
PROJECT = """
endpoints: [credit.yaml]
models:
  plain: {run: rendezvous-model serve scorer:plain --endpoint credit --name plain}
certs: .rendezvous/certs
ports: {grpc: 0, rest: 0, nats: 0, metrics: 0}
durability: relaxed
"""
FILES = {"credit.yaml": SPEC, "scorer.py": SCORER, "rendezvous.yaml": PROJECT, "rows.csv": "amount\n1\n2\n"}
WITHIN_S = 40.0


class Folder:
    """A project's folder, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
        for name, text in FILES.items():
            (folder / name).write_text(text)

    def run(self, *arguments: str, key: str = "") -> "subprocess.CompletedProcess[str]":
        """Runs a command."""
        command = python("-m", "rendezvous_router.cli", *arguments)
        environment = {**self.environment, **({"RENDEZVOUS_KEY": key} if key else {})}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def say(self, *arguments: str, key: str = "") -> str:
        """Runs a command that must succeed; returns what it printed."""
        done = self.run(*arguments, key=key)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def up(self) -> Process:
        """Starts the project, and waits until it is up."""
        command = python("-m", "rendezvous_router.cli", "up")
        cleared = {name: "" for name in os.environ if name.startswith("RENDEZVOUS_")}
        made = Process(command, log=self.folder / "up.err", ready="ready", env=cleared, cwd=self.folder)
        with _ended_on_failure(made):
            made.wait_ready()
        return made

    def scores(self, key: str = "") -> str:
        """Returns the risks that a key is told, or the error."""
        done = self.run("score", "credit", "rows.csv", "--json", key=key)
        return str([row["risk"] for row in json.loads(done.stdout)]) if done.returncode == 0 else done.stderr

    def log(self, name: str) -> str:
        """Returns a log of the project."""
        return (self.folder / ".rendezvous" / "logs" / f"{name}.log").read_text()


class _ended_on_failure(suppress):  # noqa: N801 # reads as what it does
    """Stops a process where the block fails, and lets the failure through."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def __exit__(self, kind: Any, *details: object) -> bool:
        if kind is not None:
            self._process.stop()
        return False


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    """A project with certificates, nothing started."""
    made = Folder(tmp_path)
    made.say("certs")
    return made


@pytest.fixture
def running(project: Folder) -> Iterator[Folder]:
    """The project with its own tenant and shop, running."""
    project.say("tenant", "add", "default")
    project.say("tenant", "add", "shop")
    process = project.up()
    yield project
    process.signal(signal.SIGTERM)
    assert process.stop() == 0


def until(project: Folder, is_so: Any, what: str) -> None:
    """Waits until *is_so*; fails the test with what `up` said when it is not so in time."""
    give_up = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < give_up, (
            f"not within {WITHIN_S:g} s: {what}\n{(project.folder / 'up.err').read_text()}"
        )
        time.sleep(0.1)


def archives(project: Folder) -> set[str]:
    """Returns the tenants whose archive runs, as the processes of this machine tell."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
            if "rendezvous_router.cli" in words and "--tenant" in words:
                told = (entry / "environ").read_bytes().decode()
                if f"RENDEZVOUS_ARCHIVE={project.folder}/" in told:
                    found.add(words[words.index("--tenant") + 1])
    return found


@pytest.mark.timeout(240)
def test_a_project_with_tenants_and_certificates(running: Folder) -> None:
    """Its model serves, scores need a key and end with its revocation, tenants come and go with their archives."""
    (model,) = json.loads(running.say("models", "--json"))
    assert (model["endpoint"], model["model"], len(model["replicas"])) == ("credit", "plain", 1)
    assert "valid key is needed" in running.scores()

    key = running.say("key", "add", "--tenant", "default", "--scope", "score")
    until(running, lambda: running.scores(key) == "[0.1, 0.2]", "the key opens the endpoint")
    foreign = running.say("key", "add", "--tenant", "shop", "--scope", "score")
    until(running, lambda: "credit" in running.scores(foreign) and "key" not in running.scores(foreign), "it is known")
    assert "[0.1" not in running.scores(foreign)
    running.say("key", "revoke", key.split("_")[1])
    until(running, lambda: "valid key is needed" in running.scores(key), "the revoked key is refused")

    assert archives(running) == {"default", "shop"}
    running.say("tenant", "add", "late")
    until(running, lambda: archives(running) == {"default", "shop", "late"}, "the new tenant has an archive")
    until(running, lambda: "archive" in running.log("archive-late"), "its archive works")
    running.say("tenant", "remove", "late", "--yes")
    until(running, lambda: archives(running) == {"default", "shop"}, "the archive of the removed tenant has ended")


@pytest.mark.timeout(120)
def test_a_register_that_is_lost_while_it_runs(running: Folder) -> None:
    """It is told once, keys go on being asked for, and the next start is refused until it is back."""
    register = running.folder / ".rendezvous" / "tenants" / "register.json"
    kept = register.read_bytes()
    register.unlink()
    until(running, lambda: _times_told(running) == 1, "the loss is told")
    assert "valid key is needed" in running.scores()
    time.sleep(1.0)  # five looks at the register
    assert _times_told(running) == 1
    with pytest.raises(InvalidRequestError, match=r"register\.json is missing"):
        Tenancy.of(register.parent, "default")
    register.write_bytes(kept)


def _times_told(running: Folder) -> int:
    return (running.folder / "up.err").read_text().count("is gone: restore it from a backup")


@pytest.mark.parametrize(
    ("certs", "tenants", "lacks"),
    [(True, False, "without keys"), (False, True, "without TLS"), (False, False, "without keys and TLS")],
)
def test_another_address_needs_keys_and_certificates(project: Folder, certs: bool, tenants: bool, lacks: str) -> None:
    """A project that others could reach is refused before anything starts, with what is lacking."""
    text = PROJECT if certs else PROJECT.replace("certs: .rendezvous/certs\n", "")
    (project.folder / "rendezvous.yaml").write_text(f"{text}host: 0.0.0.0\n")
    if tenants:
        project.say("tenant", "add", "default")
    done = project.run("up")
    assert done.returncode == 1
    assert f"listening on 0.0.0.0 {lacks} is refused" in " ".join(done.stderr.split())
    assert not (project.folder / ".rendezvous" / "logs").exists()

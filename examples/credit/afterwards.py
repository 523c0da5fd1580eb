"""What the demo does with the record once outcomes are known: load them, compare two models, try another policy."""

import csv
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from rendezvous_sdk.archive import open_archive
from rich.console import Console

from examples.credit.stack import ENDPOINT, Stack

VOTE = {"deadline": "500ms", "steps": [{"take": "majority", "on": "label", "quorum": 2}], "otherwise": "error"}
"""Another policy: no champion, the trained models vote."""
_ARCHIVED_S = 20.0


class AfterwardsError(RuntimeError):
    """A command failed, or the archive did not take something up; the message says what."""


def show_afterwards(stack: Stack, defaulted: Mapping[str, bool], console: Console) -> None:
    """Loads the outcomes of *defaulted* (by request id), compares models, backtests a policy, verifies the archive.

    Raises:
        AfterwardsError: as there.
    """
    outcomes, policy = stack.folder / "outcomes.csv", stack.folder / "vote.yaml"
    _write_outcomes(outcomes, defaulted)
    policy.write_text(yaml.safe_dump({"policy": VOTE}))
    archive = ["--archive", stack.archive, "--endpoint", ENDPOINT]
    _show(stack, console, "feedback", "load", outcomes.name, "--endpoint", ENDPOINT, "--address", stack.address)
    _await_archive(stack, len(defaulted))
    _show(stack, console, "compare", "boosted", "scorecard", "--worst", "0", hidden=archive)
    _show(stack, console, "backtest", policy.name, "--samples", "0", hidden=archive)
    where = ["--archive", stack.archive, "--nats", stack.nats_url]
    _show(stack, console, "archive", "verify", hidden=where)


def _write_outcomes(path: Path, defaulted: Mapping[str, bool]) -> None:
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["request_id", "value"])
        lines.writerows((request_id, "bad" if is_bad else "good") for request_id, is_bad in defaulted.items())


def _await_archive(stack: Stack, outcomes: int) -> None:
    """Waits until the archive has the outcomes: it writes every two seconds."""
    end = time.monotonic() + _ARCHIVED_S
    while time.monotonic() < end:
        with open_archive(stack.archive, endpoint=ENDPOINT) as archive:
            ((kept,),) = archive.sql("SELECT count(*) FROM feedback").fetchall()
        if kept >= outcomes:
            return
        time.sleep(0.2)
    raise AfterwardsError(f"the archive does not have the {outcomes} outcomes after {_ARCHIVED_S:g} s")


def _show(stack: Stack, console: Console, *arguments: str, hidden: list[str] | None = None) -> None:
    """Runs a command and prints it, without the options that say where the demo's own project is, and its output."""
    shown = [each for each in arguments if each not in ("--address", stack.address)]
    console.print(f"$ rendezvous {' '.join(shown)}", markup=False)
    command = [stack.script("rendezvous"), *arguments, *(hidden or [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
        env={**os.environ, "COLUMNS": str(console.width)},
        cwd=stack.folder,
    )
    if done.returncode:
        raise AfterwardsError(f"`rendezvous {' '.join(shown)}` failed: {(done.stderr or done.stdout).strip()}")
    console.print(done.stdout.rstrip() + "\n", markup=False)

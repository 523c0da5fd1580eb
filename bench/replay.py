"""`python -m bench.replay`: what a replay at full speed costs the live answers beside it, and how fast it is.

One system with three models and the archive's process, under a load of a fixed rate far below its top, with and without
a replay in alternating rounds; in each pair the p99 of the answers is compared, and the median pair counts. The replay
scores a made-up history of the same endpoint, again and again until the round is over: nothing slows it but the
machine. The candidate is a program of its own, started by the replay, as a team would.
"""

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rendezvous_proto import v1
from rendezvous_proto.ids import new_id
from rendezvous_router.archive.messages import Declared, decode
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.archive.tables import inputs_tables
from rendezvous_sdk.archive.layout import DEFAULT_TENANT, DURABLE, ArchiveRoot, Generation, replay_source
from rendezvous_sdk.archive.manifest import list_ranges
from rich.console import Console

from bench.cells import Cell
from bench.load import Outcome
from bench.machine import describe_machine
from bench.measure import make_load, measure, neighbours_apart
from bench.payloads import make_frame
from bench.processes import ROOT, python_module, script
from bench.report import RESULTS, write_report
from bench.systems import ENDPOINT, LINEAR, System, Workshop, make_spec, open_workshop, rendezvous

_STEADY = Cell("rv3-replay", "unary", 64, 1)
_STEADY_SHARE = 0.3
_STREAM = Generation(1_700_000_000_000_000)
_PARCEL_ROWS = 400
_BATCH_PARCELS = 250
_SECOND_US = 1_000_000
_START_LIMIT_S = 120.0
_LOOK_S = 0.05


class ReplayFigures(msgspec.Struct, kw_only=True):
    """What was measured."""

    date: str
    """When it began, UTC, ISO 8601."""
    machine: dict[str, str]
    seconds_per_round: float
    history_rows: int
    """Rows of the history, 20 FP64 columns each."""
    top: Outcome
    """The front door's top, without a replay."""
    without: list[Outcome]
    """Rounds at the fixed rate without a replay."""
    beside: list[Outcome]
    """The same beside one; pairs of rounds stand at the same places."""
    alone_rows_per_s: float
    """Rows that a replay scored a second with no load beside it."""

    @property
    def p99_ratio(self) -> float:
        """Median over the pairs of rounds: p99 beside a replay for each millisecond without one."""
        pairs = zip(self.without, self.beside, strict=True)
        return statistics.median(beside.p99_ms / without.p99_ms for without, beside in pairs)

    @property
    def noise(self) -> float:
        """How far apart the p99 of neighbouring rounds without it are, as a ratio."""
        return neighbours_apart([each.p99_ms for each in self.without])


def make_history(folder: Path, rows: int) -> None:
    """Writes inputs of the measured endpoint, one row a request, in parcels of 400."""
    declared = Declared()
    declared.learn(make_spec("linear", ["m1"]))
    frame = make_frame("linear", _PARCEL_ROWS)
    with ArchiveStore(ArchiveRoot.parse(folder), DEFAULT_TENANT, ENDPOINT, DURABLE) as store:
        parcels = -(-rows // _PARCEL_ROWS)
        for first in range(1, parcels + 1, _BATCH_PARCELS):
            last = min(parcels, first + _BATCH_PARCELS - 1)
            taken = [
                decode(f"rv.{ENDPOINT}.input", _parcel(frame), number, _STREAM.created_unix_us + number * _SECOND_US)
                for number in range(first, last + 1)
            ]
            store.write_batch(
                Batch(
                    generation=_STREAM,
                    first=first,
                    last=last,
                    last_stored_unix_us=_STREAM.created_unix_us + last * _SECOND_US,
                    messages=len(taken),
                    tables=[("inputs", table) for table in inputs_tables("inputs", taken, declared)],
                )
            )


def _parcel(frame: v1.Frame) -> bytes:
    items = [v1.ParcelItem(request_id=new_id(), rows=1, budget_us=_SECOND_US) for _ in range(frame.rows)]
    return v1.Parcel(
        parcel_id=new_id(), endpoint=ENDPOINT, router="bench", items=items, inputs=frame
    ).SerializeToString()


def measure_replay(workshop: Workshop, *, measure_s: float, rounds: int, history_rows: int) -> ReplayFigures:
    """Measures everything, on one system that runs all the while.

    Raises:
        ChildError, LoadError, CalledProcessError: something did not start, or failed.
    """
    history = workshop.folder / "history"
    make_history(history, history_rows)
    started = datetime.now(UTC)
    with rendezvous(workshop, "linear", 1, models=3) as system:
        top = measure(system, make_load(system, _STEADY, warm_up_s=min(2.0, measure_s), measure_s=measure_s)).outcome
        alone = json.loads(subprocess.run(_command(history, "alone"), check=True, capture_output=True, cwd=ROOT).stdout)
        without, beside = [], []
        for number in range(rounds):
            for is_replayed in (number % 2 == 0, number % 2 == 1):  # neither always comes first
                if is_replayed:
                    with _replaying(history, f"round-{number}"):
                        beside.append(_run_round(system, top.per_s, measure_s))
                else:
                    without.append(_run_round(system, top.per_s, measure_s))
    return ReplayFigures(
        date=started.isoformat(timespec="seconds"),
        machine=dict(describe_machine()),
        seconds_per_round=measure_s,
        history_rows=history_rows,
        top=top,
        without=without,
        beside=beside,
        alone_rows_per_s=alone["rows_per_s"],
    )


def _run_round(system: System, top_per_s: float, measure_s: float) -> Outcome:
    load = make_load(system, _STEADY, warm_up_s=1.0, measure_s=measure_s)
    return measure(system, msgspec.structs.replace(load, rate_per_s=_STEADY_SHARE * top_per_s)).outcome


@contextmanager
def _replaying(history: Path, run: str) -> Iterator[None]:
    """Replays the history, each time as another run, until the block ends; what runs then is ended."""
    is_over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    failed: list[bytes] = []

    def replay() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            with subprocess.Popen(
                _command(history, f"{run}-{number}"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                running[:] = [process]
                told = process.communicate()[1]
            if process.returncode and not is_over.is_set():
                failed.append(told)
                return

    thread = threading.Thread(target=replay)
    thread.start()
    try:
        _wait_until_written(history, f"{run}-1", thread)
        yield
    finally:
        is_over.set()
        for process in running:
            process.terminate()
        thread.join()
    if failed:
        raise RuntimeError(f"the replay failed: {failed[0].decode(errors='replace')}")


def _wait_until_written(history: Path, run: str, thread: threading.Thread) -> None:
    """Returns when a run has written scores: its start is over."""
    root = ArchiveRoot.parse(history)
    give_up = time.monotonic() + _START_LIMIT_S
    while not list_ranges(root, DEFAULT_TENANT, ENDPOINT, replay_source(run)):
        if not thread.is_alive() or time.monotonic() > give_up:
            return  # what it said is told afterwards
        time.sleep(_LOOK_S)


def _command(history: Path, run: str) -> list[str]:
    program = f"{script('rendezvous-model')} serve {LINEAR}"
    return python_module(
        "rendezvous_router.cli", "replay", "--model", "candidate:1", "--run", program, "--run-id", run,
        "--archive", str(history), "--endpoint", ENDPOINT, "--json",
    )  # fmt: skip


def show(console: Console, figures: ReplayFigures) -> None:
    """Prints figures against their target."""
    p99s = [(without.p99_ms, beside.p99_ms) for without, beside in zip(figures.without, figures.beside, strict=True)]
    console.print(f"front door's top, 3 models and a canary: {figures.top.per_s:,.0f} requests/s")
    console.print(f"replay alone, start included in no figure: {figures.alone_rows_per_s:,.0f} rows/s")
    console.print(f"live p99 without and beside a replay, ms: {', '.join(f'{a:.1f}/{b:.1f}' for a, b in p99s)}")
    console.print(
        f"p99 beside it for each ms without: {figures.p99_ratio:.2f} (target: <= 1.5; noise {figures.noise:.2f})"
    )


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.2, help="Measured time of each round.")] = 6.0,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds with and without a replay.")] = 8,
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the history.")] = 2_000_000,
    results: Annotated[Path, typer.Option(help="Folder for the JSON.")] = RESULTS,
) -> None:
    """Measures what a replay costs the live answers."""
    console = Console(width=150)
    with open_workshop() as workshop:
        figures = measure_replay(workshop, measure_s=seconds, rounds=rounds, history_rows=rows)
    show(console, figures)
    path = write_report(figures, results, f"{figures.date[:10]}-replay")
    console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    typer.run(main)

"""`python -m bench`: measures, prints ratios against the targets, writes `bench/results/<date>.json` and `.png`."""

import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.cells import SYSTEM_NAMES, Cell, open_system, plan
from bench.hung import POLICIES, REQUESTS, measure_hung
from bench.machine import describe_machine
from bench.measure import LoadError, make_load, measure
from bench.mlserver import NotInstallableError
from bench.picture import draw
from bench.processes import ChildError
from bench.record import RECORD, measure_record, show
from bench.report import RESULTS, Report, print_results, print_verdicts, to_rows, write_report
from bench.systems import Workshop, open_workshop
from bench.targets import HUNG_KEYS, Measurement, judge
from examples.credit.train import train

_QUICK_REQUESTS = 1000
_HUNG = "hung"
_RECORD_ROUNDS = 5


class Run:
    """One run of the bench: measures what it is told, and keeps going when a system fails.

    Args:
        console: where to say what is going on.
        measure_s: measured time of each cell, seconds.
    """

    def __init__(self, console: Console, measure_s: float) -> None:
        self.console = console
        self.measure_s = measure_s
        self.warm_up_s = min(2.0, measure_s / 2)
        self.results: dict[str, Measurement] = {}
        self.left_out: dict[str, str] = {}
        self.figures: dict[str, float] = {}

    def measure_cells(self, workshop: Workshop, cells: list[Cell]) -> None:
        """Measures cells; each system is started once for all its loads that stand side by side."""
        for (name, rows), group in groupby(cells, key=lambda cell: (cell.system, cell.rows)):
            try:
                with open_system(name, workshop, rows) as system:
                    for cell in group:
                        load = make_load(system, cell, warm_up_s=self.warm_up_s, measure_s=self.measure_s)
                        self._keep(cell.key, measure(system, load))
            except (NotInstallableError, ChildError, LoadError) as error:
                self._leave_out(f"{name}, {rows} rows", str(error))

    def measure_hung_models(self, workshop: Workshop, requests: int) -> None:
        """Counts late answers with a hung champion, under each policy."""
        for what in POLICIES:
            try:
                self._keep(HUNG_KEYS[what], measure_hung(workshop, what, requests=requests))
            except (ChildError, LoadError) as error:
                self._leave_out(HUNG_KEYS[what], str(error))

    def measure_the_record(self, workshop: Workshop, rounds: int) -> None:
        """Measures what the archive costs and can; `python -m bench.record` alone keeps the figures in a file."""
        try:
            figures = measure_record(workshop, measure_s=self.measure_s, rounds=rounds)
        except (ChildError, LoadError, TimeoutError) as error:
            self._leave_out(RECORD, str(error))
        else:
            show(self.console, figures)
            self.figures.update(figures.summary())

    def _keep(self, key: str, measurement: Measurement) -> None:
        self.results[key] = measurement
        outcome = measurement.outcome
        late = f", late {outcome.late}, of these decided late {outcome.decided_late}" if outcome.late else ""
        failed = f", failed: {outcome.errors}" if outcome.errors else ""
        self.console.print(
            f"{key:38} {outcome.per_s:9,.0f} requests/s, median {outcome.p50_ms:7.2f} ms, "
            f"p99 {outcome.p99_ms:7.2f} ms{late}{failed}"
        )

    def _leave_out(self, what: str, reason: str) -> None:
        self.left_out[what] = reason
        self.console.print(f"[yellow]left out:[/yellow] {what}: {reason}", highlight=False)


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Few cells, one second each, to see that all works.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Only systems whose names contain this: {', '.join(SYSTEM_NAMES)}, {_HUNG}, {RECORD}."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.2, help="Measured time of each cell.")] = 4.0,
    results: Annotated[Path, typer.Option(help="Folder for JSON and picture.")] = RESULTS,
) -> None:
    """Measures this system beside its alternatives, in one run on one machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = _make_console()
    started = datetime.now(UTC)
    measure_s = min(seconds, 1.0) if quick else seconds
    run = Run(console, measure_s)
    train()
    with open_workshop() as workshop:
        run.measure_cells(workshop, plan(quick=quick, only=only or ()))
        if not only or any(text in _HUNG or _HUNG in text for text in only):
            run.measure_hung_models(workshop, _QUICK_REQUESTS if quick else REQUESTS)
        if not only or any(text in RECORD or RECORD in text for text in only):
            run.measure_the_record(workshop, 1 if quick else _RECORD_ROUNDS)
    verdicts = judge(run.results)
    report = Report(
        date=started.isoformat(timespec="seconds"),
        machine=describe_machine(),
        seconds_per_cell=measure_s,
        results=run.results,
        targets=to_rows(verdicts),
        left_out=run.left_out,
        figures=run.figures,
    )
    print_results(console, run.results)
    print_verdicts(console, verdicts)
    for path in _write(report, results, f"{started:%Y-%m-%d}{'-quick' if quick else ''}"):
        console.print(f"written: {path}", highlight=False)


def _make_console() -> Console:
    """A console wide enough for the tables where the output is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=150)


def _write(report: Report, folder: Path, name: str) -> Iterator[Path]:
    yield write_report(report, folder, name)
    picture = folder / f"{name}.png"
    draw(report, picture)
    yield picture


if __name__ == "__main__":
    typer.run(main)

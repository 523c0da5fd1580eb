"""Prints the results as tables, and writes and reads them as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.targets import Measurement, Results, Target, Verdict

RESULTS = Path(__file__).parent / "results"
"""Folder of the reports that are kept."""


class Report(msgspec.Struct, kw_only=True):
    """One run of the bench, as it is kept."""

    date: str
    """When it began, UTC, ISO 8601."""
    machine: Mapping[str, str]
    seconds_per_cell: float
    """Measured time of each cell, after a warm-up."""
    results: Mapping[str, Measurement]
    """By the key of the cell: system/mode/clients/rows."""
    targets: Sequence[Mapping[str, str | float | bool | None]] = ()
    left_out: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Systems that were not measured, with the reason."""
    figures: Mapping[str, float] = msgspec.field(default_factory=dict)
    """What the archive costs and can (`bench.record`)."""


def write_report(report: msgspec.Struct, folder: Path, name: str) -> Path:
    """Writes a report of this or another bench as indented JSON; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def read_report(path: Path) -> Report:
    """Reads a report of the bench as a whole that `write_report` wrote.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.json.decode(path.read_bytes(), type=Report)


def to_rows(verdicts: Sequence[Verdict]) -> list[dict[str, str | float | bool | None]]:
    """Returns verdicts as they are kept in the report."""
    return [
        {
            "what": verdict.target.what,
            "target": f"{verdict.target.sign} {verdict.target.limit:g}{verdict.target.unit}",
            "actual": verdict.actual,
            "met": verdict.is_met,
        }
        for verdict in verdicts
    ]


def print_results(console: Console, results: Results) -> None:
    """Prints a line for each cell."""
    table = Table(title="Measured, one system at a time, load generator on the same machine")
    for heading in (
        "system",
        "mode",
        "clients",
        "rows",
        "requests/s",
        "rows/s",
        "p50 ms",
        "p99 ms",
        "ms CPU",
        "failed",
    ):
        table.add_column(heading, justify="left" if heading in {"system", "mode"} else "right")
    for key, measurement in results.items():
        table.add_row(*_cells(key, measurement))
    console.print(table)


def _cells(key: str, measurement: Measurement) -> list[str]:
    system, mode, clients, rows = key.split("/")
    outcome = measurement.outcome
    return [
        system,
        mode,
        clients.removesuffix("c"),
        rows.removesuffix("r"),
        f"{outcome.per_s:,.0f}",
        f"{outcome.rows_per_s:,.0f}",
        f"{outcome.p50_ms:.2f}",
        f"{outcome.p99_ms:.2f}",
        f"{measurement.total_cpu_per_request_s * 1000:.2f}",
        str(sum(outcome.errors.values())),
    ]


def print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Prints the measured ratios against the targets."""
    missing = [verdict.target.what for verdict in verdicts if verdict.actual is None]
    if missing:
        console.print(f"not measured in this run: {'; '.join(missing)}", highlight=False)
    if len(missing) == len(verdicts):
        return
    table = Table(title="Targets (ratios within this run)")
    for heading in ("what", "target", "actual", ""):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for verdict in verdicts:
        if verdict.actual is not None:
            table.add_row(*_judged(verdict.target, verdict.actual, is_met=bool(verdict.is_met)))
    console.print(table)


def _judged(target: Target, actual: float, *, is_met: bool) -> list[str]:
    shown = f"{actual:,.0f}" if actual >= 1000 else f"{actual:.3g}"
    mark = "[green]met[/green]" if is_met else "[red]missed[/red]"
    return [target.what, f"{target.sign} {target.limit:,g}{target.unit}", f"{shown}{target.unit}", mark]

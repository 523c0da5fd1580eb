"""Draws throughput and median latency against the number of clients."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.cells import ALL_CLIENTS, Cell
from bench.report import Report

_LINES = {
    "echo-linear": ("bare echo (no models, nothing kept)", "0.5", "--"),
    "rv3-linear-relaxed": ("3 models + canary + decoy, relaxed", "tab:blue", "-"),
    "rv3-linear-flushed": ("3 models + canary + decoy, flushed", "tab:red", "-"),
}


def draw(report: Report, path: Path) -> None:
    """Writes a PNG: requests/s and median latency at 1 to 256 clients, unary and streaming."""
    mpl.use("Agg")
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), sharex=True, layout="constrained")
    for column, mode in enumerate(("unary", "stream")):
        _draw_lines(axes[0][column], report, mode, "per_s")
        _draw_lines(axes[1][column], report, mode, "p50_ms")
        axes[0][column].set_title(f"{mode}, 1 row of 20 numbers")
        axes[1][column].set_xlabel("clients, each waiting for its answer")
    axes[0][0].set_ylabel("requests/s")
    axes[1][0].set_ylabel("median latency, ms")
    if axes[0][0].lines:
        axes[0][0].legend(loc="upper left", fontsize=9)
    machine = report.machine
    figure.suptitle(
        f"{machine.get('processor', '')}, {machine.get('cores', '?')} cores; {report.date[:10]}", fontsize=10
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_lines(axes: Axes, report: Report, mode: str, what: str) -> None:
    for system, (label, colour, style) in _LINES.items():
        points = [
            (clients, float(getattr(report.results[key].outcome, what)))
            for clients in ALL_CLIENTS
            if (key := Cell(system, mode, clients, 1).key) in report.results
        ]
        if points:
            axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=label)
    axes.set_xscale("log", base=4)
    axes.set_xticks(ALL_CLIENTS, [str(clients) for clients in ALL_CLIENTS])
    if what == "p50_ms":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)

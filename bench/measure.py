"""Puts a running system under one load and measures what it answers and what it costs."""

import statistics
import subprocess
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import psutil

from bench.cells import Cell
from bench.load import MEASURING, Load, Outcome
from bench.processes import ROOT, python_module
from bench.systems import System
from bench.targets import Measurement

_EXTRA_S = 60.0


class LoadError(RuntimeError):
    """The load generator failed; the message is the end of what it said."""


def make_load(system: System, cell: Cell, *, warm_up_s: float, measure_s: float) -> Load:
    """Returns the load of a cell on a system."""
    return Load(
        address=system.address,
        payloads=[str(path) for path in system.payloads],
        clients=cell.clients,
        mode=cell.mode,
        method=system.method,
        rows=cell.rows,
        warm_up_s=warm_up_s,
        measure_s=measure_s,
        parse=system.parse,
    )


def neighbours_apart(figures: Sequence[float]) -> float:
    """Returns the median, over neighbours of a series measured alike, of the larger one for each unit of the smaller.

    A change by that ratio or less is noise. One figure has no neighbour: 1.
    """
    if len(figures) < 2:
        return 1.0
    return statistics.median(max(pair) / min(pair) for pair in pairwise(figures))


def measure(system: System, load: Load) -> Measurement:
    """Runs a load and returns what came of it.

    Raises:
        LoadError: the load generator failed.
        ChildError: a process of the system has ended.
    """
    with subprocess.Popen(
        python_module("bench.load"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as generator:
        try:
            outcome, model_cpu_s, other_cpu_s = _follow(generator, system, load)
        except BaseException:
            generator.kill()
            raise
    for child in (*system.models.values(), *system.others):
        child.check_running()
    return Measurement(
        outcome=outcome, model_cpu_s=model_cpu_s, total_cpu_s=model_cpu_s + other_cpu_s + outcome.client_cpu_s
    )


def _follow(generator: "subprocess.Popen[bytes]", system: System, load: Load) -> tuple[Outcome, float, float]:
    """Reads the processor times when measuring begins and when it ends."""
    assert generator.stdin is not None
    assert generator.stdout is not None
    generator.stdin.write(msgspec.json.encode(load))
    generator.stdin.close()
    generator.stdin = None
    if generator.stdout.readline().decode().strip() != MEASURING:
        raise LoadError(_last_words(generator))
    before = _cpu_s(system)
    result = generator.stdout.readline()
    after = _cpu_s(system)
    if not result:
        raise LoadError(_last_words(generator))
    models, others = (later - sooner for later, sooner in zip(after, before, strict=True))
    return msgspec.json.decode(result, type=Outcome), models, others


def _last_words(generator: "subprocess.Popen[bytes]") -> str:
    _, errors = generator.communicate(timeout=_EXTRA_S)
    lines = errors.decode(errors="replace").strip().splitlines()
    return f"the load generator failed: {lines[-1] if lines else 'it said nothing'}"


def _cpu_s(system: System) -> Sequence[float]:
    models = sum(child.cpu_s() for child in system.models.values())
    others = sum(child.cpu_s() for child in system.others)
    if system.server is not None and system.server.is_running:
        others += sum(psutil.Process(system.server.pid).cpu_times()[:2])
    return models, others

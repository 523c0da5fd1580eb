"""`python -m bench.record`: what the archive costs the answers, how fast it is, and what memory it takes when behind.

- **Cost.** One system with five models and a canary, under a load of a fixed rate far below its top, with and without
  the archive in alternating rounds; in each pair the p99 of the answers is compared, and the median pair counts.
- **Rate.** The front door is driven at its top while nothing is archived. Then the archive takes what the streams have,
  alone on the machine: requests that it archives a second (with the scores of six models) against those answered.
- **Memory.** The largest resident set of the archive's process while it works through that backlog, and through the
  first half of it: what grows with the backlog would show.
"""

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import typer
from rendezvous_router.archive.verify import read_stream_states
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import list_ranges, list_sources, read_current
from rendezvous_sdk.nats_connection import connect
from rich.console import Console

from bench.cells import Cell
from bench.load import Outcome
from bench.machine import describe_machine
from bench.measure import make_load, measure, neighbours_apart
from bench.processes import Child, running
from bench.report import RESULTS, write_report
from bench.systems import ENDPOINT, System, Workshop, archive_command, open_workshop, rendezvous

RECORD = "record"
"""Its name among the systems of the bench."""

_CELL = Cell("rv5-record", "unary", 64, 1)
_STEADY_SHARE = 0.3
_TENANT = "default"
_SETTLE_S = 2.0
_SAMPLE_S = 0.05
_STEP_BACK_S = 7.0
"""For so long after it was behind the archive still takes a tenth of the processor: what is measured keeps up."""
_DRAIN_TIMEOUT_S = 300.0


class RecordFigures(msgspec.Struct, kw_only=True):
    """What was measured."""

    date: str
    """When it began, UTC, ISO 8601."""
    machine: dict[str, str]
    seconds_per_round: float
    top: Outcome
    """The front door's top, nothing archived meanwhile."""
    without: list[Outcome]
    """Rounds at the fixed rate without the archive."""
    beside: list[Outcome]
    """The same with it; pairs of rounds stand at the same places."""
    archived_requests: int
    """Requests of the backlog."""
    drain_s: float
    """Time in which they were archived."""
    peak_rss_bytes: int
    """Largest resident set meanwhile."""
    peak_rss_at_half_bytes: int
    """The same until half of it was archived."""

    @property
    def p99_ratio(self) -> float:
        """Median over the pairs of rounds: p99 with the archive for each millisecond without it."""
        pairs = zip(self.without, self.beside, strict=True)
        return statistics.median(beside.p99_ms / without.p99_ms for without, beside in pairs)

    @property
    def noise(self) -> float:
        """How far apart the p99 of neighbouring rounds without it are, as a ratio."""
        return neighbours_apart([each.p99_ms for each in self.without])

    @property
    def archived_per_s(self) -> float:
        """Requests archived a second."""
        return self.archived_requests / self.drain_s

    @property
    def rate_ratio(self) -> float:
        """The archive's rate for each request that the front door answers at its top."""
        return self.archived_per_s / self.top.per_s

    def summary(self) -> dict[str, float]:
        """Returns the figures that are compared with targets, by name."""
        return {
            "record: p99 with the archive for each ms without": self.p99_ratio,
            "record: p99 without for each ms of its neighbour (noise)": self.noise,
            "record: archived for each request answered at the top": self.rate_ratio,
            "record: requests/s archived": self.archived_per_s,
            "record: largest memory of the archive, bytes": float(self.peak_rss_bytes),
        }


def measure_record(workshop: Workshop, *, measure_s: float, rounds: int, relaxed: bool = False) -> RecordFigures:
    """Measures everything, on one system that runs all the while.

    Raises:
        ChildError, LoadError: something did not start, or failed.
        TimeoutError: the archive did not come to the end of the streams.
    """
    archive = workshop.folder / "record-archive"
    started = datetime.now(UTC)
    with rendezvous(workshop, "linear", 1, models=5, relaxed=relaxed, archived=False) as system:
        top = measure(system, make_load(system, _CELL, warm_up_s=min(2.0, measure_s), measure_s=measure_s)).outcome
        half_rss, peak_rss, drain_s, requests = _drain_backlog(workshop, system, archive)
        without, beside = [], []
        for number in range(rounds):
            for is_archived in (number % 2 == 0, number % 2 == 1):  # neither always comes first
                into = beside if is_archived else without
                into.append(_run_round(workshop, system, archive if is_archived else None, top.per_s, measure_s))
    return RecordFigures(
        date=started.isoformat(timespec="seconds"),
        machine=dict(describe_machine()),
        seconds_per_round=measure_s,
        top=top,
        without=without,
        beside=beside,
        archived_requests=requests,
        drain_s=drain_s,
        peak_rss_bytes=peak_rss,
        peak_rss_at_half_bytes=half_rss,
    )


def _run_round(workshop: Workshop, system: System, archive: Path | None, top_per_s: float, measure_s: float) -> Outcome:
    load = make_load(system, _CELL, warm_up_s=1.0, measure_s=measure_s)
    load = msgspec.structs.replace(load, rate_per_s=_STEADY_SHARE * top_per_s)
    if archive is None:
        time.sleep(_STEP_BACK_S)  # rounds of both kinds come after as long a rest
        return measure(system, load).outcome
    with _archiving(workshop, system, archive) as child:
        _wait_until_archived(system, archive, child)
        time.sleep(_STEP_BACK_S)
        return measure(system, load).outcome


def _drain_backlog(workshop: Workshop, system: System, archive: Path) -> tuple[int, int, float, int]:
    """Returns the peaks of memory (to half of the backlog, to all of it), the time, and the requests archived."""
    wanted = _settled_ends(system)
    with _archiving(workshop, system, archive) as child, _sampled_rss(child) as samples:
        started = time.perf_counter()
        _wait_until_archived(system, archive, child)
        took_s = time.perf_counter() - started
    assert wanted == _stream_ends(system), "nothing came meanwhile"
    halfway = samples[: max(1, len(samples) // 2)]
    return max(halfway), max(samples), took_s, _count_requests(archive)


@contextmanager
def _archiving(workshop: Workshop, system: System, archive: Path) -> Iterator[Child]:
    """The archive's process, from the moment that it is ready."""
    assert system.server is not None, "the system has a nats-server"
    with running(archive_command(system.server.url, archive), log=workshop.log("record-archive")) as child:
        child.wait_for_line("ready:")
        yield child


@contextmanager
def _sampled_rss(child: Child) -> Iterator[list[int]]:
    """Resident sets of a process, in bytes, taken every 50 ms."""
    process, done = psutil.Process(child.pid), threading.Event()
    samples = [process.memory_info().rss]

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(process.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _wait_until_archived(system: System, archive: Path, child: Child) -> None:
    """Returns when the archive has all that the streams had at the call."""
    wanted = _stream_ends(system)
    give_up = time.monotonic() + _DRAIN_TIMEOUT_S
    while _archived_ends(archive) != wanted:
        child.check_running()
        if time.monotonic() > give_up:
            raise TimeoutError(f"archived up to {_archived_ends(archive)}, the streams end at {wanted}")
        time.sleep(_SAMPLE_S)


def _settled_ends(system: System) -> dict[str, int]:
    """Returns where the streams end once the models are through with what was asked."""
    give_up = time.monotonic() + _DRAIN_TIMEOUT_S
    before = _stream_ends(system)
    while time.monotonic() < give_up:
        time.sleep(_SETTLE_S)
        ends = _stream_ends(system)
        if ends == before:
            return ends
        before = ends
    raise TimeoutError("the models are not through with the backlog")


def _stream_ends(system: System) -> dict[str, int]:
    assert system.server is not None, "the system has a nats-server"
    url = system.server.url

    async def ask() -> dict[str, int]:
        client = await connect(url, name="bench")
        try:
            return {source: state.last for source, state in (await read_stream_states(client, ENDPOINT)).items()}
        finally:
            await client.close()

    return asyncio.run(ask())


def _archived_ends(archive: Path) -> dict[str, int]:
    root = ArchiveRoot.parse(archive)
    return {
        source: max(each.last for each in list_ranges(root, _TENANT, ENDPOINT, source))
        for source in list_sources(root, _TENANT, ENDPOINT)
        if list_ranges(root, _TENANT, ENDPOINT, source)
    }


def _count_requests(archive: Path) -> int:
    entries = read_current(ArchiveRoot.parse(archive), _TENANT, ENDPOINT)
    return sum(file.rows for entry in entries for file in entry.files if file.kind == "inputs")


def show(console: Console, figures: RecordFigures) -> None:
    """Prints figures against their targets."""
    p99s = [(without.p99_ms, beside.p99_ms) for without, beside in zip(figures.without, figures.beside, strict=True)]
    console.print(f"front door's top, 5 models and a canary: {figures.top.per_s:,.0f} requests/s")
    console.print(f"archived: {figures.archived_per_s:,.0f} requests/s, {figures.rate_ratio:.2f} x (target: >= 2)")
    console.print(f"p99 without and with the archive, ms: {', '.join(f'{a:.1f}/{b:.1f}' for a, b in p99s)}")
    console.print(
        f"p99 with it for each ms without: {figures.p99_ratio:.2f} (target: within noise; noise {figures.noise:.2f})"
    )
    half, peak = figures.peak_rss_at_half_bytes / 1e6, figures.peak_rss_bytes / 1e6
    console.print(
        f"memory at {figures.archived_requests:,} requests behind: {half:.0f} MB by half, {peak:.0f} MB at most"
    )


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.2, help="Measured time of each round.")] = 6.0,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds with and without the archive.")] = 10,
    relaxed: Annotated[bool, typer.Option("--relaxed", help="nats-server does not flush each publish.")] = False,
    results: Annotated[Path, typer.Option(help="Folder for the JSON.")] = RESULTS,
) -> None:
    """Measures what the archive costs, and what it can."""
    console = Console(width=150)
    with open_workshop() as workshop:
        figures = measure_record(workshop, measure_s=seconds, rounds=rounds, relaxed=relaxed)
    show(console, figures)
    path = write_report(figures, results, f"{figures.date[:10]}-record")
    console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    typer.run(main)

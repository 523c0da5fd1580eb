"""`python -m bench.sdks`: what each SDK takes, at the postbox and over its gRPC door, with a model that does nothing.

Postbox: parcels are put into the stream while the model is stopped (SIGSTOP); then it goes on (SIGCONT), and the time
is taken until the last one is acknowledged. So nothing but nats-server and the model works while the clock runs.
gRPC: `h2load` (Debian: nghttp2-client) with 64 calls in flight, on the same two cores.
Median: one parcel, or one call, at a time, from this process.
"""

import asyncio
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerInfo
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import consumer_name, durable_stream, input_subject, score_subject
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.streams import ensure_streams
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.payloads import make_frame
from bench.processes import Child, ChildError, running
from bench.report import RESULTS, write_report
from toolchains.building import is_built
from toolchains.languages import LANGUAGES
from toolchains.programs import PROBES

_ENDPOINT, _MODEL, _ROUTER = "bench", "trivial", "bench"
_SPEC = {
    "endpoint": _ENDPOINT,
    "models": {_MODEL: {"role": "champion"}},
    "policy": {"deadline": "30s", "steps": [{"take": "best"}], "otherwise": "error"},
    "inputs": [{"name": "x00", "type": "FP64"}],
    "outputs": [{"name": "y", "type": "FP64"}],
}
_PARCELS = {1: 20_000, 1000: 1500}
"""Parcels of a measured backlog, by rows."""
_WARM_UP_SHARE = 0.4
_LONE = {1: 1000, 1000: 300}
"""Parcels and calls one at a time."""
_CALLS = {1: 30_000, 1000: 2500}
_BUDGET_US = 600_000_000
_BACKLOG_TIMEOUT_S = 120.0


class SdkRow(msgspec.Struct, kw_only=True):
    """What one SDK took, with parcels and requests of *rows* rows of 20 FP64 columns."""

    language: str
    rows: int
    parcels_per_s: float
    parcel_p50_ms: float
    calls_per_s: float | None
    """None: h2load is not here."""
    call_p50_ms: float


class SdkReport(msgspec.Struct, kw_only=True):
    """One run, as it is kept."""

    date: str
    machine: dict[str, str]
    results: list[SdkRow]
    left_out: dict[str, str] = msgspec.field(default_factory=dict)


class Bench:
    """One served model and a connection to its postbox.

    Args:
        client: the connection.
        child: the model's process.
        address: its gRPC door.
    """

    def __init__(self, client: Client, child: Child, address: str) -> None:
        self._client = client
        self._child = child
        self._address = address
        self._js = client.jetstream()

    async def measure(self, language: str, rows: int) -> SdkRow:
        """Measures one size of parcels."""
        await self._work_off(rows, int(_PARCELS[rows] * _WARM_UP_SHARE))
        per_s = max([await self._work_off(rows, _PARCELS[rows]) for _ in range(2)])
        return SdkRow(
            language=language,
            rows=rows,
            parcels_per_s=per_s,
            parcel_p50_ms=await self._one_at_a_time(rows),
            calls_per_s=await asyncio.to_thread(load_calls, self._address, rows),
            call_p50_ms=await asyncio.to_thread(call_one_at_a_time, self._address, rows),
        )

    async def _work_off(self, rows: int, count: int) -> float:
        """Returns parcels a second, of *count* that were waiting."""
        self._child.signal(signal.SIGSTOP)
        await self._publish(rows, count)
        await self._settle(lambda info: (info.num_pending or 0) + (info.num_ack_pending or 0) >= count)
        self._child.signal(signal.SIGCONT)
        started = time.perf_counter()
        await self._settle(lambda info: not info.num_pending and not info.num_ack_pending)
        took = time.perf_counter() - started
        await self._js.purge_stream(durable_stream(_ENDPOINT))
        return count / took

    async def _publish(self, rows: int, count: int) -> None:
        parcel, subject = make_parcel(rows), input_subject(_ENDPOINT)
        for place in range(count):
            await self._client.publish(subject, parcel)
            if place % 64 == 63:
                await self._client.flush()
        await self._client.flush()

    async def _settle(self, is_so: Callable[[ConsumerInfo], bool]) -> None:
        end = time.monotonic() + _BACKLOG_TIMEOUT_S
        while True:
            info = await self._js.consumer_info(durable_stream(_ENDPOINT), consumer_name(_MODEL, "1"))
            if is_so(info):
                return
            if time.monotonic() > end:
                raise ChildError(f"the backlog was not worked off within {_BACKLOG_TIMEOUT_S:g} s: {info}")
            await asyncio.sleep(0.01)

    async def _one_at_a_time(self, rows: int) -> float:
        """Returns the median from publishing a parcel to its score's arrival, ms."""
        scores: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._client.subscribe(score_subject(_ENDPOINT, _MODEL, _ROUTER), cb=scores.put)
        times = []
        for _ in range(_LONE[rows]):
            parcel = make_parcel(rows)
            started = time.perf_counter()
            await self._client.publish(input_subject(_ENDPOINT), parcel)
            await asyncio.wait_for(scores.get(), 10)
            times.append(time.perf_counter() - started)
        await subscription.unsubscribe()
        return statistics.median(times) * 1000


def make_parcel(rows: int) -> bytes:
    """Returns a serialized parcel of one request."""
    item = v1.ParcelItem(request_id=new_id(), rows=rows, budget_us=_BUDGET_US)
    return v1.Parcel(
        parcel_id=new_id(), endpoint=_ENDPOINT, router=_ROUTER, items=[item], inputs=make_frame("linear", rows)
    ).SerializeToString()


def make_call(rows: int) -> bytes:
    """Returns a serialized ScoreRequest."""
    return v1.ScoreRequest(endpoint=_ENDPOINT, inputs=make_frame("linear", rows)).SerializeToString()


def load_calls(address: str, rows: int) -> float | None:
    """Returns calls a second with 64 in flight; None without h2load."""
    if shutil.which("h2load") is None:
        return None
    with tempfile.NamedTemporaryFile() as body:
        call = make_call(rows)
        body.write(struct.pack(">BI", 0, len(call)) + call)
        body.flush()
        said = subprocess.run(
            [
                *("h2load", f"-n{_CALLS[rows]}", "-c4", "-m16", "-d", body.name),
                *("-H", "content-type: application/grpc", "-H", "te: trailers"),
                f"http://{address}/rendezvous.v1.Score/Score",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"finished in .*?, ([\d.]+) req/s", said)
    failed = re.search(r"(\d+) failed, (\d+) errored", said)
    if found is None or failed is None or failed.groups() != ("0", "0"):
        raise ChildError(f"h2load did not measure:\n{said}")
    return float(found[1])


def call_one_at_a_time(address: str, rows: int) -> float:
    """Returns the median of one call at a time, ms."""
    call = make_call(rows)
    times = []
    with grpc.insecure_channel(address) as channel:
        score: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rendezvous.v1.Score/Score")
        for _ in range(_LONE[rows]):
            started = time.perf_counter()
            score(call, timeout=10)
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


@contextmanager
def served(language: str, server: NatsServer, folder: Path) -> Iterator[Child]:
    """The trivial model of *language*, while the block runs."""
    program = PROBES[language]
    told = {
        "RENDEZVOUS_ENDPOINT": _ENDPOINT,
        "RENDEZVOUS_MODEL": _MODEL,
        "RENDEZVOUS_NATS": server.url,
        "RENDEZVOUS_ACK_WAIT": "60s",
        "RENDEZVOUS_PROBE": "trivial",
        "RENDEZVOUS_LOG_LEVEL": "ERROR",
    }
    with running(program.command, log=folder / f"{language}.log", environment={**program.env, **told}) as child:
        yield child


async def measure_language(language: str, folder: Path) -> list[SdkRow]:
    """Measures one SDK against a nats-server of its own."""
    server = NatsServer(store=folder / language, relaxed=True)
    server.start()
    client: Client | None = None
    try:
        client = await nats.connect(server.url, pending_size=64 * 1024 * 1024)
        await ensure_streams(client, parse_spec(_SPEC))
        with served(language, server, folder) as child:
            line = await asyncio.to_thread(child.wait_for_line, "ready")
            bench = Bench(client, child, line.rpartition("grpc ")[2].strip())
            return [await bench.measure(language, rows) for rows in _PARCELS]
    finally:
        if client is not None:
            await client.close()
        server.stop()


def print_rows(console: Console, rows: list[SdkRow]) -> None:
    """Prints a line for each SDK and size."""
    table = Table(title="A model that does nothing, 20 FP64 columns, two cores")
    for heading in ("SDK", "rows", "parcels/s", "rows/s", "median ms", "gRPC calls/s", "rows/s", "median ms"):
        table.add_column(heading, justify="left" if heading == "SDK" else "right")
    for row in rows:
        calls = row.calls_per_s
        table.add_row(
            row.language,
            str(row.rows),
            f"{row.parcels_per_s:,.0f}",
            f"{row.parcels_per_s * row.rows:,.0f}",
            f"{row.parcel_p50_ms:.2f}",
            f"{calls:,.0f}" if calls else "no h2load",
            f"{calls * row.rows:,.0f}" if calls else "",
            f"{row.call_p50_ms:.2f}",
        )
    console.print(table)


def main(arguments: list[str]) -> None:
    """Measures the SDKs named (none: all), prints, and writes `bench/results/<date>-sdks.json`."""
    console = Console(width=130) if not sys.stdout.isatty() else Console()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[SdkRow] = []
    left_out: dict[str, str] = {}
    for language in arguments or PROBES:
        if language in LANGUAGES and not is_built(LANGUAGES[language]):
            left_out[language] = "not built: make languages"
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows += asyncio.run(measure_language(language, Path(folder)))
    print_rows(console, rows)
    for language, reason in left_out.items():
        console.print(f"[yellow]left out:[/yellow] {language}: {reason}")
    if not arguments:
        started = datetime.now(UTC)
        report = SdkReport(
            date=started.isoformat(timespec="seconds"),
            machine=dict(describe_machine()),
            results=rows,
            left_out=left_out,
        )
        path = write_report(report, RESULTS, f"{started:%Y-%m-%d}-sdks")
        console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The record under kills: what JetStream has acknowledged and what clients were answered is archived, once.

20,000 requests in all. While they are sent, archiver, router, models and nats-server are killed (SIGKILL) at moments
that a seed gives, several at one time now and then, and started again. The archiver merges small files all the while.
What holds afterwards, exactly:

- every input in the stream is archived once, and every request that a client got an answer for is among them;
- every decision in the stream is archived once, and every answer that a client got is one of them: the router keeps a
  journal (`--journal`), so its death costs none;
- every score that the stream still has is archived once. The score stream is persisted asynchronously: what it lost
  with the server may be archived all the same, in an earlier generation;
- `archive verify` says so by itself, and finds a file that somebody deletes, with its range.
"""

import asyncio
import json
import os
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto import v1
from rendezvous_proto.postbox import (
    decision_subject,
    durable_stream,
    input_subject,
    score_stream,
    score_subjects,
)
from rendezvous_router.archive.verify import read_stream_states, verify_endpoint
from rendezvous_router.record import StoredMessage, read_stream
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.archiving import entries_of
from tests.support.mayhem import StubbornLoad, Victim, draw_plan, kill_by_plan
from tests.support.processes import Process, python, script
from tests.support.stack import ENDPOINT, Stack, eventually

REQUESTS = 5000
SEEDS = (1, 2, 3, 4)
KILLS = {"archiver": 8, "router": 4, "nats-server": 4, "first": 2, "second": 2, "third": 2}
_POLL_S = 0.05
MODELS = ("first", "second", "third")
SPEC: dict[str, Any] = {
    **ENDPOINT,
    "policy": {"deadline": "2s", "steps": [{"take": "first"}], "otherwise": {"total": -1.0, "label": "refer"}},
}


class Installation:
    """A stack whose processes may be killed and started again."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.archive = folder / "archive"
        self._folder = folder
        self._running: dict[str, Process] = {}
        self.starts: Counter[str] = Counter()

    def start_all(self) -> None:
        """Starts all but nats-server, which runs."""
        for name in ("router", "archiver", *MODELS):
            self.start(name)

    def victims(self, load: StubbornLoad) -> dict[str, Victim]:
        """Returns what may be killed under a load."""
        victims = {
            name: Victim(kill=partial(self._kill, name), start=partial(self.start, name))
            for name in ("router", *MODELS)
        }
        server = self.stack.server
        return {
            **victims,
            "archiver": Victim(kill=partial(self._kill, "archiver"), start=partial(self._start_archiver_under, load)),
            "nats-server": Victim(kill=server.kill, start=server.start),
        }

    def start(self, name: str) -> None:
        """Starts a process and waits until it is ready."""
        self.starts[name] += 1
        stack = self.stack
        if name == "router":
            process = stack.start_router("--journal", str(self._folder / "journal"))
        elif name == "archiver":
            process = self._start_archiver()
        else:
            process = stack.start_model(f"tests.support.models:{name}", "--ack-wait", "500ms")
        self._running[name] = process

    def stop(self, name: str) -> int:
        """Ends a process in an orderly way and returns its exit code."""
        return self._running[name].stop()

    def _start_archiver(self) -> Process:
        command = python("-m", "tests.support.archiver", str(self.archive), self.stack.server.url)
        process = Process(command, log=self._folder / f"archiver-{self.starts['archiver']}.log", ready="ready")
        self.stack.processes.append(process)
        process.wait_ready()
        return process

    def _start_archiver_under(self, load: StubbornLoad) -> None:
        """Starts the archiver; every other one lives until it has archived something, or there is nothing to archive.

        It leaves the processor to the rest, and on a slow machine none would get there.
        """
        before = self._archived()
        self.start("archiver")
        while self.starts["archiver"] % 2 and len(load.answers) < load.requests and self._archived() == before:
            time.sleep(_POLL_S)

    def _archived(self) -> int:
        """Returns how many messages are archived."""
        return sum(entry.messages for entry in entries_of(self.archive, "sum"))

    def _kill(self, name: str) -> None:
        self._running[name].kill()

    def verify(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Runs `rendezvous archive verify` and returns its exit code and what it says of the endpoint."""
        command = [script("rendezvous"), "archive", "verify", "--json", "--archive", str(self.archive), *options]
        done = subprocess.run(
            [*command, "--nats", self.stack.server.url], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stdout, done.stderr
        (report,) = json.loads(done.stdout)
        return done.returncode, report


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Connection]:
    """A connection that outlives the server's deaths."""
    connection = await connect(stack.server.url, name="test")
    yield connection
    await connection.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_accepted_and_decided_is_archived_once(
    stack: Stack, client: Connection, tmp_path: Path, seed: int
) -> None:
    """See the module's docstring."""
    installation = Installation(stack, tmp_path)
    await stack.apply(SPEC)
    await asyncio.to_thread(installation.start_all)
    load = StubbornLoad(stack.address, f"seed{seed}", REQUESTS)
    plan = draw_plan(seed, REQUESTS, KILLS)
    await asyncio.gather(load.run(), kill_by_plan(plan, installation.victims(load), load))
    assert not load.refused
    assert len(load.answers) == REQUESTS
    assert installation.starts["archiver"] == 1 + KILLS["archiver"]

    await models_are_done(client)
    assert await asyncio.to_thread(installation.stop, "router") == 0  # writes its last decisions
    await archive_has_all(client, installation.archive)
    await archive_has_merged(installation.archive)
    assert await asyncio.to_thread(installation.stop, "archiver") == 0  # or files would go while they are read
    await check_inputs(client, installation.archive, load)
    await check_decisions(client, installation.archive, load)
    await check_scores(client, installation.archive)
    await check_verify(installation)


async def models_are_done(client: Connection) -> None:
    """Waits until every model has scored everything."""

    async def idle() -> bool:
        infos = await client.jetstream().consumers_info(durable_stream("sum"))
        models = [info for info in infos if info.name.partition("__")[0] in MODELS]
        return len(models) == len(MODELS) and not any(info.num_pending or info.num_ack_pending for info in models)

    await eventually(idle, "the models have scored everything", within_s=60)


async def archive_has_all(client: Connection, archive: Path) -> None:
    """Waits until the archive has everything that the streams have."""
    root = ArchiveRoot.parse(archive)

    async def complete() -> bool:
        streams = await read_stream_states(client, "sum")
        report = await asyncio.to_thread(verify_endpoint, root, "default", "sum", streams=streams)
        return report.pending == 0 and len(report.sources) == 2

    await eventually(complete, "the archive has all that the streams have", within_s=60)


async def archive_has_merged(archive: Path) -> None:
    """Waits until small files have been merged; they are at any moment, so mostly they were long before."""

    async def merged() -> bool:
        entries = await asyncio.to_thread(entries_of, archive, "sum")
        return max(entry.batches for entry in entries) > 1

    await eventually(merged, "small files are merged", within_s=60)


async def check_inputs(client: Connection, archive: Path, load: StubbornLoad) -> None:
    """Every row of the stream's parcels is archived once, with its value; every answered request is among them."""
    expected: Counter[tuple[int, str, int]] = Counter()
    async for message in messages(client, durable_stream("sum"), input_subject("sum")):
        parcel = v1.Parcel.FromString(message.payload)
        expected.update((message.sequence, item.request_id, row) for item in parcel.items for row in range(item.rows))
    table = read_kind(archive, "inputs")
    rows = list(zip(*(table[name].to_pylist() for name in ("stream_sequence", "request_id", "row")), strict=True))
    assert Counter(rows) == expected
    assert max(expected.values()) == 1
    numbers = dict(zip(table["request_id"].to_pylist(), table["a"].to_pylist(), strict=True))
    assert load.answers.keys() <= numbers.keys()
    assert all(request_id == f"{load.name}-{number:.0f}" for request_id, number in numbers.items())


async def check_decisions(client: Connection, archive: Path, load: StubbornLoad) -> None:
    """Every decision of the stream is archived once, none was made twice, and every answer is one of them."""
    expected: Counter[tuple[int, int, str]] = Counter()
    async for message in messages(client, durable_stream("sum"), decision_subject("sum")):
        records = v1.DecisionBatch.FromString(message.payload).records
        expected.update((message.sequence, index, each.decision.request_id) for index, each in enumerate(records))
    table = read_kind(archive, "decisions")
    names = ("stream_sequence", "batch_index", "request_id")
    assert Counter(zip(*(table[name].to_pylist() for name in names), strict=True)) == expected
    per_parcel = Counter(zip(table["request_id"].to_pylist(), table["parcel_id"].to_pylist(), strict=True))
    assert [each for each, count in per_parcel.items() if count > 1] == []
    told = defaultdict(set)
    for request_id, model, total in zip(
        *(table[n].to_pylist() for n in ("request_id", "chosen", "total")), strict=True
    ):
        told[request_id].add((model or "", *(total or ())))
    lost = {request_id: answer for request_id, answer in load.answers.items() if answer not in told[request_id]}
    assert lost == {}


async def check_scores(client: Connection, archive: Path) -> None:
    """Every score that the stream has is archived once."""
    expected: Counter[tuple[int, int, str]] = Counter()
    async for message in messages(client, score_stream("sum"), score_subjects("sum")):
        items = v1.ParcelScore.FromString(message.payload).items
        expected.update((message.sequence, message.stored_unix_us, item.request_id) for item in items)
    table = read_kind(archive, "scores")
    stored = table["stored_at"].cast(pa.int64()).to_pylist()
    rows = zip(table["score_sequence"].to_pylist(), stored, table["request_id"].to_pylist(), strict=True)
    archived = Counter(rows)
    assert {each: archived[each] for each in expected} == expected
    assert max(archived.values()) == 1


async def check_verify(installation: Installation) -> None:
    """`archive verify` finds it complete, then misses the file that is taken away."""
    code, report = await asyncio.to_thread(installation.verify, "--deep")
    assert (code, report["is_complete"], report["damaged"]) == (0, True, [])
    entries = entries_of(installation.archive, "sum")
    victim = installation.archive / max(each.path for entry in entries for each in entry.files if each.kind == "inputs")
    os.rename(victim, victim.with_suffix(".away"))
    code, report = await asyncio.to_thread(installation.verify)
    assert (code, report["is_complete"]) == (1, False)
    (damage,) = report["damaged"]
    assert victim.name in damage


async def messages(client: Connection, stream: str, subject: str) -> AsyncIterator[StoredMessage]:
    """Yields what a stream has on a subject."""
    async for message in read_stream(client, stream, subject):
        yield message


def read_kind(archive: Path, kind: str) -> pa.Table:
    """Returns all rows of a kind that belong to the archive."""
    entries = entries_of(archive, "sum")
    files = [file.path for entry in entries for file in entry.files if file.kind == kind]
    return pa.concat_tables([pq.ParquetFile(archive / path).read() for path in files])

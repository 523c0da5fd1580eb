"""The decoy against a real nats-server: every input archived exactly, once, whatever is killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from nats.errors import Error as NatsError
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import (
    DECOY_CONSUMER,
    MSG_ID_HEADER,
    decision_subject,
    durable_stream,
    input_subject,
)
from rendezvous_router._archivist import FlushLimits
from rendezvous_router.archive_check import ArchiveReport, read_expected, verify_archive
from rendezvous_router.decoy import Decoy
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.nats_connection import Connection, connect

SPEC = parse_spec(
    {
        "endpoint": "credit",
        "inputs": [{"name": "amount", "type": "FP64"}],
        "outputs": [{"name": "risk", "type": "FP64"}],
        "models": {"boosted": {"role": "champion"}},
        "policy": {"deadline": "100ms", "steps": [{"take": "best"}]},
    }
)
QUICK = FlushLimits(parcels=10, seconds=0.02)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server that has the endpoint's specification and streams."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    try:
        await SpecStore(connection).put(SPEC)
        await ensure_streams(connection, SPEC)
        yield connection
    finally:
        await connection.close()


def _parcel(number: int) -> v1.Parcel:
    items = [v1.ParcelItem(request_id=f"request-{number}-{each}", rows=1) for each in range(2)]
    return v1.Parcel(parcel_id=new_id(), endpoint="credit", items=items, inputs=v1.Frame(rows=2))


async def _send(client: Connection, parcel: v1.Parcel) -> int:
    """Publishes a parcel and, as a router would, a decision after it; returns the parcel's sequence."""
    headers = {MSG_ID_HEADER: parcel.parcel_id}
    js = client.jetstream()
    ack = await js.publish(input_subject("credit"), parcel.SerializeToString(), headers=headers)
    await js.publish(decision_subject("credit"), b"")
    return ack.seq


async def _until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - files are watched from outside
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _running(client: Connection, archive: Path, limits: FlushLimits = QUICK) -> AsyncIterator[Decoy]:
    decoy = Decoy(client, archive, limits=limits)
    task = asyncio.create_task(decoy.run())
    try:
        yield decoy
    finally:
        decoy.stop()
        await task


def _archived(archive: Path) -> ArchiveReport:
    return verify_archive(archive, "credit")


async def _verify(client: Connection, archive: Path) -> ArchiveReport:
    return verify_archive(archive, "credit", expected=await read_expected(client, "credit"))


async def test_every_parcel_is_archived_exactly(client: Connection, tmp_path: Path) -> None:
    """Bytes, headers, ids, rows and sequence of each parcel are in the archive; decisions are not."""
    parcels = [_parcel(number) for number in range(25)]
    sequences = [await _send(client, parcel) for parcel in parcels]
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 25)
    rows = pq.read_table(tmp_path / "credit" / "input").sort_by("stream_sequence").to_pylist()
    assert [row["stream_sequence"] for row in rows] == sequences
    assert [row["payload"] for row in rows] == [parcel.SerializeToString() for parcel in parcels]
    assert [row["parcel_id"] for row in rows] == [parcel.parcel_id for parcel in parcels]
    assert [row["rows"] for row in rows] == [2] * 25
    assert rows[3]["request_ids"] == ["request-3-0", "request-3-1"]
    assert dict(rows[0]["headers"]) == {MSG_ID_HEADER: parcels[0].parcel_id}
    assert abs(rows[0]["stored_unix_us"] / 1e6 - time.time()) < 60


async def _archive_some(client: Connection, archive: Path, numbers: range) -> None:
    """Sends parcels and archives them as one file of their own."""
    for number in numbers:
        await _send(client, _parcel(number))
    before = _archived(archive).parcels
    async with _running(client, archive, FlushLimits(parcels=len(numbers), seconds=30)):
        await _until(lambda: _archived(archive).parcels == before + len(numbers))


async def test_files_are_named_by_their_sequences(client: Connection, tmp_path: Path) -> None:
    """A file's name tells its first and last sequence."""
    await _archive_some(client, tmp_path, range(10))
    await _archive_some(client, tmp_path, range(10, 20))
    names = {name for name in os.listdir(tmp_path / "credit" / "input") if name.endswith(".parquet")}
    assert names == {"1-19.parquet", "21-39.parquet"}


async def test_report_is_complete_and_counts(client: Connection, tmp_path: Path) -> None:
    """The check finds no gap although decisions take sequences between the inputs."""
    for number in range(12):
        await _send(client, _parcel(number))
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 12)
    report = await _verify(client, tmp_path)
    assert (report.is_complete, report.gaps, report.pending, report.duplicates) == (True, (), 0, ())
    assert (report.requests, report.rows, report.first_sequence, report.last_sequence) == (24, 24, 1, 23)


async def test_missing_file_is_a_gap_and_is_archived_again(client: Connection, tmp_path: Path) -> None:
    """Parcels whose file was lost are told as gaps; a decoy that finds its end missing archives them again."""
    await _archive_some(client, tmp_path, range(10))
    await _archive_some(client, tmp_path, range(10, 20))
    (tmp_path / "credit" / "input" / "21-39.parquet").unlink()
    info = await client.jetstream().consumer_info(durable_stream("credit"), DECOY_CONSUMER)
    assert info.ack_floor is not None
    report = await _verify(client, tmp_path)
    assert report.gaps == tuple(range(21, min(39, info.ack_floor.stream_seq) + 1, 2))
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 20)
    assert (await _verify(client, tmp_path)).is_complete


async def test_what_comes_again_is_archived_once(client: Connection, tmp_path: Path) -> None:
    """When the acknowledgements are lost, everything is delivered again and nothing is written twice."""
    for number in range(15):
        await _send(client, _parcel(number))
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 15)
    await client.jetstream().delete_consumer(durable_stream("credit"), DECOY_CONSUMER)
    async with _running(client, tmp_path):
        await _send(client, _parcel(15))
        await _until(lambda: _archived(tmp_path).parcels == 16)
    report = await _verify(client, tmp_path)
    assert (report.is_complete, report.parcels, report.duplicates) == (True, 16, ())


async def test_stream_made_anew_does_not_hide_its_parcels(client: Connection, tmp_path: Path) -> None:
    """A stream of the same name made anew uses the sequences again: the old archive is moved aside, kept."""
    await _send(client, _parcel(1))
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 1)
    await client.jetstream().delete_stream(durable_stream("credit"))
    await ensure_streams(client, SPEC)
    fresh = _parcel(2)
    await _send(client, fresh)
    async with _running(client, tmp_path):
        await _until(lambda: len(os.listdir(tmp_path / "credit")) == 3)  # the lock, input, input.<time>
        await _until(lambda: _archived(tmp_path).parcels == 1)
    assert pq.read_table(tmp_path / "credit" / "input")["parcel_id"].to_pylist() == [fresh.parcel_id]
    (aside,) = [name for name in os.listdir(tmp_path / "credit") if name.startswith("input.")]
    assert "1-1.parquet" in os.listdir(tmp_path / "credit" / aside)


async def test_bytes_that_are_no_parcel_are_archived_too(client: Connection, tmp_path: Path) -> None:
    """Whatever the models saw is archived, even what nobody could read."""
    await client.jetstream().publish(input_subject("credit"), b"\xff\xff\xff")
    async with _running(client, tmp_path):
        await _until(lambda: _archived(tmp_path).parcels == 1)
    row = pq.read_table(tmp_path / "credit" / "input").to_pylist()[0]
    assert (row["payload"], row["parcel_id"], row["request_ids"]) == (b"\xff\xff\xff", "", [])


async def test_endpoint_applied_later_is_archived(nats_server: NatsServer, tmp_path: Path) -> None:
    """A decoy that runs before its first endpoint takes it up when it appears."""
    client = await connect(nats_server.url, name="test", timeout_s=5)
    try:
        async with _running(client, tmp_path):
            await SpecStore(client).put(SPEC)
            await ensure_streams(client, SPEC)
            await _send(client, _parcel(1))
            await _until(lambda: _archived(tmp_path).parcels == 1)
    finally:
        await client.close()


class DecoyProcess:
    """`python -m rendezvous_router.decoy`, started again after each kill."""

    def __init__(self, url: str, archive: Path) -> None:
        self._command = [sys.executable, "-m", "rendezvous_router.decoy", "--nats", url, "--archive", str(archive)]
        self._log = archive.with_suffix(".log").open("ab")
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def wait(self) -> int:
        """Waits for the end that it comes to by itself; returns the exit status."""
        status = self.process.wait(30)
        self._log.close()
        return status

    def kill_and_restart(self) -> None:
        """SIGKILL, and a new process."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._log.close()
        return status


@pytest.fixture
def decoy_process(nats_server: NatsServer, tmp_path: Path) -> Iterator[DecoyProcess]:
    """A decoy in a process of its own, archiving into tmp_path/archive."""
    decoy = DecoyProcess(nats_server.url, tmp_path / "archive")
    yield decoy
    decoy.stop()


async def _publish_until(client: Connection, stop: asyncio.Event, ledger: list[str]) -> None:
    """Publishes parcels, several at a time; the ids whose publish was acknowledged go into the ledger."""
    js = client.jetstream()

    async def publish(number: int) -> None:
        parcel = _parcel(number)
        with contextlib.suppress(NatsError, TimeoutError):
            await js.publish(input_subject("credit"), parcel.SerializeToString(), timeout=1)
            ledger.append(parcel.parcel_id)

    number = 0
    while not stop.is_set():
        await asyncio.gather(*(publish(number + each) for each in range(8)))
        await asyncio.sleep(0.01)  # a steady load that leaves the decoy some of the machine
        number += 8


async def _files_more_than(folder: Path, count: int) -> None:
    await _until(lambda: sum(1 for _ in folder.glob("*.parquet")) > count)


async def test_killed_decoy_and_server_lose_and_double_nothing(
    client: Connection, nats_server: NatsServer, decoy_process: DecoyProcess, tmp_path: Path
) -> None:
    """SIGKILL of the decoy and of the server under load: every acknowledged parcel is archived once."""
    stop, ledger = asyncio.Event(), list[str]()
    load = asyncio.create_task(_publish_until(client, stop, ledger))
    folder = tmp_path / "archive" / "credit" / "input"
    for round_number in range(4):
        await _files_more_than(folder, sum(1 for _ in folder.glob("*.parquet")))
        if round_number == 2:
            nats_server.kill()
            nats_server.start()
        else:
            decoy_process.kill_and_restart()
    stop.set()
    await load
    stored = await read_expected(client, "credit")
    assert stored is not None
    await _until(lambda: _archived(tmp_path / "archive").parcels >= len(stored.sequences))
    assert decoy_process.stop() == 0
    report = await _verify(client, tmp_path / "archive")
    assert (report.is_complete, report.gaps, report.duplicates, report.unreadable) == (True, (), (), ())
    archived = pq.read_table(folder)["parcel_id"].to_pylist()
    assert set(ledger) <= set(archived), "an acknowledged parcel is missing"
    assert len(archived) == len(set(archived)), "a parcel is there twice"
    assert not list(folder.glob(".*.writing")), "no half-written file is left"


async def test_second_writer_is_refused(
    client: Connection, nats_server: NatsServer, decoy_process: DecoyProcess, tmp_path: Path
) -> None:
    """A second decoy on the same archive ends with a message that names the folder and the first one."""
    await _send(client, _parcel(1))
    await _until(lambda: _archived(tmp_path / "archive").parcels == 1)
    second = DecoyProcess(nats_server.url, tmp_path / "archive")
    assert await asyncio.to_thread(second.wait) == 1
    log = (tmp_path / "archive.log").read_text()
    assert f"is being written by another decoy (process {decoy_process.process.pid})" in log


async def test_archive_that_cannot_be_written_stops_the_decoy_without_acknowledging(
    client: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full the decoy ends with the error; the parcels stay in the postbox for later."""

    def refuse(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    async with _running(client, tmp_path):
        await _send(client, _parcel(1))
        await _until(lambda: _archived(tmp_path).parcels == 1)
    await _send(client, _parcel(2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(Decoy(client, tmp_path, limits=QUICK).run(), 30)
    assert not list((tmp_path / "credit" / "input").glob(".*.writing"))
    assert (await _verify(client, tmp_path)).pending == 1
    async with _running(client, tmp_path):
        await client.jetstream().delete_consumer(durable_stream("credit"), DECOY_CONSUMER)
        await _until(lambda: _archived(tmp_path).parcels == 2)

"""The process that archives, killed at random moments, stopped, and told by URL where to write."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.archiving import apply, credit_spec, make_parcel, rows_of, send_parcel, settled
from tests.support.processes import Process, python

COMMAND = python("-m", "rendezvous_router.cli", "archive")


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server that has the endpoint's specification and streams."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    try:
        await apply(connection, credit_spec())
        yield connection
    finally:
        await connection.close()


def start(server: NatsServer, archive: str, log: Path) -> Process:
    """Starts the process."""
    process = Process([*COMMAND, "--nats", server.url, "--archive", archive], log=log, ready="ready")
    process.wait_ready()
    return process


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1])
async def test_killed_at_random_moments(client: Connection, nats_server: NatsServer, tmp_path: Path, seed: int) -> None:
    """Each input, score and decision is in the archive, once, however often the process was killed meanwhile."""
    moments = random.Random(seed)
    archive = tmp_path / "archive"
    sent: list[str] = []
    stopping = asyncio.Event()

    async def load() -> None:
        while not stopping.is_set():
            parcel = make_parcel((1,))
            await send_parcel(client, parcel)
            sent.append(parcel.items[0].request_id)

    loading = asyncio.create_task(load())
    for number in range(4):
        process = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / f"{number}.log")
        await asyncio.sleep(moments.uniform(0.05, 2.5))
        process.kill()
    stopping.set()
    await loading
    process = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / "last.log")
    report = await settled(client, archive)
    assert await asyncio.to_thread(process.stop) == 0
    assert report.is_complete
    for kind, times in (("inputs", 1), ("decisions", 1), ("scores", 2)):
        counts = Counter(row["request_id"] for row in rows_of(archive, kind))
        assert counts == dict.fromkeys(sent, times), kind


async def test_sigterm_archives_what_was_read(client: Connection, nats_server: NatsServer, tmp_path: Path) -> None:
    """It ends at once with status 0, and leaves nothing for its next life to read again."""
    archive = tmp_path / "archive"
    process = await asyncio.to_thread(start, nats_server, archive.as_uri(), tmp_path / "archive.log")
    for _ in range(20):
        await send_parcel(client, make_parcel((1,)))
    assert await asyncio.to_thread(process.stop) == 0
    process = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / "again.log")
    report = await settled(client, archive)
    assert await asyncio.to_thread(process.stop) == 0
    assert (report.is_complete, report.requests) == (True, 20)


async def test_a_second_process_waits(client: Connection, nats_server: NatsServer, tmp_path: Path) -> None:
    """It says who writes the archive, and takes over when that one is gone."""
    archive = tmp_path / "archive"
    first = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / "first.log")
    await send_parcel(client, make_parcel((1,)))
    await settled(client, archive)
    second = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / "second.log")
    async with asyncio.timeout(20):
        while f"written by another process ({first.popen.pid})" not in second.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    first.kill()
    await send_parcel(client, make_parcel((1,)))
    report = await settled(client, archive)
    assert (report.is_complete, report.requests) == (True, 2)
    assert await asyncio.to_thread(second.stop) == 0

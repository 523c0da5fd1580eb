"""The process that archives, killed at random moments, stopped, and told by URL where to write."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.own_session import are_sessions_weighed
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.archiving import apply, credit_spec, make_parcel, rows_of, send_parcel, settled
from tests.support.processes import Process, python

IS_WEIGHED = are_sessions_weighed()
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


def command_of(server: NatsServer, archive: str, *only: str) -> list[str]:
    """Returns the process' command, for all endpoints or some."""
    endpoints = [option for each in only for option in ("--endpoint", each)]
    return [*COMMAND, "--nats", server.url, "--archive", archive, *endpoints]


def start(server: NatsServer, archive: str, log: Path, *only: str) -> Process:
    """Starts the process."""
    process = Process(command_of(server, archive, *only), log=log, ready="ready")
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


@pytest.mark.parametrize(
    ("first_only", "refused", "served"), [((), [(), ("credit",)], []), (("credit",), [(), ("credit",)], [("debit",)])]
)
async def test_a_second_process_ends(
    client: Connection,
    nats_server: NatsServer,
    tmp_path: Path,
    first_only: tuple[str, ...],
    refused: list[tuple[str, ...]],
    served: list[tuple[str, ...]],
) -> None:
    """It says who writes the archive, and ends with status 1; archivers of different endpoints do not meet."""
    archive = str(tmp_path / "archive")
    first = await asyncio.to_thread(start, nats_server, archive, tmp_path / "first.log", *first_only)
    others = [
        Process(command_of(nats_server, archive, *only), log=tmp_path / f"other-{number}.log", ready="ready")
        for number, only in enumerate(refused)
    ]
    for other in others:
        status = await asyncio.to_thread(other.popen.wait, 40)
        other.kill()
        assert status == 1
        waits, stopped = other.log.read_text().splitlines()
        assert f"being written by another process ({first.popen.pid}): it has one writer" in waits
        assert f"being written by another process ({first.popen.pid}): it has one writer" in stopped
    for only in served:
        other = await asyncio.to_thread(start, nats_server, archive, tmp_path / "served.log", *only)
        assert await asyncio.to_thread(other.stop) == 0
    await send_parcel(client, make_parcel((1,)))
    assert (await settled(client, Path(archive))).requests == 1
    assert await asyncio.to_thread(first.stop) == 0


async def test_a_process_waits_for_one_that_ends(client: Connection, nats_server: NatsServer, tmp_path: Path) -> None:
    """Where it is started anew before the former one has ended, it takes over within seconds."""
    archive = tmp_path / "archive"
    first = await asyncio.to_thread(start, nats_server, str(archive), tmp_path / "first.log")
    await send_parcel(client, make_parcel((1,)))
    await settled(client, archive)
    second = Process(command_of(nats_server, str(archive)), log=tmp_path / "second.log", ready="ready")
    async with asyncio.timeout(20):
        while "waiting" not in second.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    first.kill()
    await asyncio.to_thread(second.wait_ready)
    await send_parcel(client, make_parcel((1,)))
    report = await settled(client, archive)
    assert (report.is_complete, report.requests) == (True, 2)
    assert await asyncio.to_thread(second.stop) == 0


async def test_it_takes_more_of_the_processor_while_it_is_behind(
    client: Connection, nats_server: NatsServer, tmp_path: Path
) -> None:
    """Whoever answers comes first, but a stream does not keep for ever what is not archived."""
    log = tmp_path / "archive.log"
    process = Process(command_of(nats_server, str(tmp_path / "archive")), log=log, ready="ready", new_session=True)
    await asyncio.to_thread(process.wait_ready)
    shares = [share_of(process.popen.pid)]
    assert shares == ["10"]  # as if it were behind, until it knows
    if IS_WEIGHED:
        await follow_share(process.popen.pid, shares, 2)
        process.signal(signal.SIGSTOP)
        parcel = make_parcel((1,))
        for _ in range(34):  # twice what may be on its way to it
            await asyncio.gather(*(send_parcel(client, parcel) for _ in range(100)))
        process.signal(signal.SIGCONT)
        await follow_share(process.popen.pid, shares, 4)
        process.signal(signal.SIGTERM)
        await follow_share(process.popen.pid, shares, 5)
        await asyncio.to_thread(process.popen.wait, 20)  # a second signal would end it at once
    assert await asyncio.to_thread(process.stop) == 0
    assert shares == (["10", "19", "10", "19", "0"] if IS_WEIGHED else ["10"])


async def follow_share(pid: int, shares: list[str], count: int) -> None:
    """Notes each change of a process's share until there are so many."""
    give_up = time.monotonic() + 40
    while len(shares) < count:
        assert time.monotonic() < give_up, shares
        await asyncio.sleep(0.01)
        if (share := share_of(pid)) != shares[-1]:
            shares.append(share)


def share_of(pid: int) -> str:
    """Nice value of a process's session where sessions are weighed, else its own."""
    if IS_WEIGHED:
        return Path(f"/proc/{pid}/autogroup").read_text().split()[-1]
    return str(os.getpriority(os.PRIO_PROCESS, pid))

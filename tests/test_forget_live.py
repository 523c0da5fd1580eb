"""Forgetting beside a running installation: files, streams, and the archiver that goes on."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_router.archive.verify import read_stream_states, verify_endpoint
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import read_current
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.caller import Caller
from tests.support.processes import Process, script
from tests.support.stack import ENDPOINT, Stack, eventually

SPEC: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "2s", "steps": [{"take": "best"}], "otherwise": "error"},
}
TABLE = {"a": [1.0], "b": [1], "tag": ["x"]}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Connection]:
    """A connection to the installation's server."""
    connection = await connect(stack.server.url, name="test")
    yield connection
    await connection.close()


def start_archiver(stack: Stack, archive: Path) -> Process:
    """Starts an archiver that merges often and waits for no reader."""
    command = [script("rendezvous"), "archive", "--archive", str(archive), "--nats", stack.server.url]
    command += ["--upkeep-every", "200ms", "--grace", "0s"]
    process = Process(command, log=stack.folder / f"archiver-{len(stack.processes)}.log", ready="ready")
    stack.processes.append(process)
    process.wait_ready()
    return process


def forget(stack: Stack, archive: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Runs `rendezvous archive forget` and returns status, document and what it says to people."""
    command = [script("rendezvous"), "archive", "forget", "--json", "--archive", str(archive), *options]
    done = subprocess.run(
        [*command, "--nats", stack.server.url], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, json.loads(done.stdout), done.stderr


async def archived(client: Connection, archive: Path) -> None:
    """Waits until the archive has what the streams have."""

    async def complete() -> bool:
        streams = await read_stream_states(client, "sum")
        report = verify_endpoint(ArchiveRoot.parse(archive), "default", "sum", streams=streams)
        return report.pending == 0 and report.decided == report.requests and report.is_complete

    await eventually(complete, "everything is archived")


async def payloads(client: Connection, stream: str) -> list[bytes]:
    """Returns the messages that a stream has."""
    js = client.jetstream()
    state = (await js.stream_info(stream)).state
    found = []
    for sequence in range(1, state.last_seq + 1):
        try:
            found.append((await js.get_msg(stream, sequence)).data or b"")
        except NotFoundError:
            continue  # deleted
    return found


async def score(stack: Stack, first: int, count: int) -> None:
    """Sends requests one after the other; every fifth is Ada's."""
    async with Caller(stack.address) as caller:
        for number in range(first, first + count):
            owner = "ada" if number % 5 == 0 else "bob"
            await caller.score(TABLE, request_id=f"{owner}-{number}", context={"customer": owner})


def request_ids(archive: Path) -> set[str]:
    """Returns the request ids in all files of an archive, whether or not they belong to it."""
    for _ in range(20):
        with contextlib.suppress(FileNotFoundError):  # merged meanwhile
            tables = [pq.ParquetFile(path).read(columns=["request_id"]) for path in archive.rglob("[!.]*.parquet")]
            return {each for table in tables for each in table["request_id"].to_pylist()}
    raise AssertionError("the files keep changing")


def owners(archive: Path) -> set[str]:
    """Returns whose requests are in any of them."""
    return {each.partition("-")[0] for each in request_ids(archive)}


async def test_what_is_forgotten_leaves_files_and_streams_and_does_not_come_back(
    stack: Stack, client: Connection, tmp_path: Path
) -> None:
    """Young requests are left and told; then all goes, what others sent stays, and no restart brings it back."""
    archive = tmp_path / "archive"
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    archiver = start_archiver(stack, archive)
    await score(stack, 0, 40)
    await archived(client, archive)
    assert owners(archive) == {"ada", "bob"}

    status, told, said = await asyncio.to_thread(forget, stack, archive, "--key", "customer=ada")
    assert (status, told["requests"], told["young"]) == (1, 0, 8)
    assert "8 requests were left" in said

    status, told, _ = await asyncio.to_thread(forget, stack, archive, "--key", "customer=ada", "--settle", "0s")
    assert (status, told["requests"], told["young"], told["messages_left"]) == (0, 8, 0, 0)
    assert told["rows"] == {"decisions": 8, "inputs": 8, "scores": 8}
    assert told["messages_deleted"] == told["messages"]
    assert owners(archive) == {"bob"}
    for stream in (durable_stream("sum"), score_stream("sum")):
        left = b"".join(await payloads(client, stream))
        assert b"ada-" not in left
    assert b"bob-1" in b"".join(await payloads(client, durable_stream("sum")))

    archiver.kill()
    start_archiver(stack, archive)
    await score(stack, 100, 4)
    await archived(client, archive)
    report = verify_endpoint(ArchiveRoot.parse(archive), "default", "sum")
    assert report.is_complete
    assert report.requests == 32 + 4
    assert report.notes == {"forget": 24}
    assert "ada-5" not in request_ids(archive)
    notes = [note for entry in read_current(ArchiveRoot.parse(archive), "default", "sum") for note in entry.notes]
    assert all("ada" not in note.text for note in notes)


async def test_without_the_server_the_messages_are_deleted_by_the_next_run(
    stack: Stack, client: Connection, tmp_path: Path
) -> None:
    """`--offline` removes the rows and says what remains in the streams; a run without a subject deletes that."""
    archive = tmp_path / "archive"
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    start_archiver(stack, archive)
    await score(stack, 0, 10)
    await archived(client, archive)
    options = ("--key", "customer=ada", "--settle", "0s", "--offline")
    status, told, said = await asyncio.to_thread(forget, stack, archive, *options)
    assert (status, told["requests"], told["messages_deleted"]) == (0, 2, 0)
    assert f"{told['messages_left']} messages are still in the streams" in said
    assert b"ada-5" in b"".join(await payloads(client, durable_stream("sum")))
    status, told, _ = await asyncio.to_thread(forget, stack, archive)
    assert (status, told["messages_left"]) == (0, 0)
    assert b"ada-5" not in b"".join(await payloads(client, durable_stream("sum")))

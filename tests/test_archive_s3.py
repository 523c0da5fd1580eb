"""An archive on an object store, reached over HTTP: the same as in a folder."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyarrow.fs import FileType
from rendezvous_router.archive.compaction import CompactionOptions, compact
from rendezvous_router.archive.forget import forget, read_undeleted
from rendezvous_router.archive.retention import RetentionOptions, retain
from rendezvous_router.archive.rewriting import write_groups
from rendezvous_router.archive.store import ArchiveLockedError
from rendezvous_router.archive.subject import Subject
from rendezvous_router.archive.sweeping import keep_up
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import list_endpoints

from tests.support.archives import DAY_US, ENDPOINT, START_US, TENANT, MadeArchive, MadeRequest
from tests.support.caller import Caller
from tests.support.object_store import ENVIRONMENT, s3_server
from tests.support.processes import Process, script
from tests.support.stack import ENDPOINT as SUM
from tests.support.stack import Stack, eventually

SPEC: dict[str, Any] = {
    **SUM,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "2s", "steps": [{"take": "best"}], "otherwise": "error"},
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty archive."""
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3") / "moto.log") as url:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield url


@pytest.fixture
def made(s3: str, request: pytest.FixtureRequest) -> MadeArchive:
    """Four batches of two days, below a prefix of their own."""
    prefix, _, query = s3.partition("?")
    made = MadeArchive.at(f"{prefix}/{request.node.name}?{query}")
    for number in range(4):
        context = {"customer": str(number % 2)}
        at = START_US + number // 2 * DAY_US + number
        made.add(MadeRequest(request_id=f"r{number}", customers=[number], context=context, at_us=at))
    return made


def test_compaction_on_an_object_store(made: MadeArchive) -> None:
    """Rows and their order stay; what is replaced is gone; of two who keep it up, one is refused."""
    before = made.rows("inputs", "stream_sequence", "request_id", "customer_id")
    with keep_up(made.root, TENANT, ENDPOINT), pytest.raises(ArchiveLockedError, match="kept up by"):
        compact(made.root, TENANT, ENDPOINT)
    done = compact(made.root, TENANT, ENDPOINT, CompactionOptions(fan_in=2, grace_s=0))
    assert made.rows("inputs", "stream_sequence", "request_id", "customer_id") == before
    assert done.entries_after < done.entries_before
    assert made.files() == made.named()


def test_forgetting_and_retention_on_an_object_store(made: MadeArchive) -> None:
    """A subject's rows go, then the first day."""
    done = forget(made.root, TENANT, ENDPOINT, Subject(keys=(("customer", "1"),)))
    assert done.rows == {"decisions": 2, "inputs": 2, "scores": 2}
    assert len(read_undeleted(made.root, TENANT, ENDPOINT)) == 6
    retain(
        made.root, TENANT, [ENDPOINT], RetentionOptions(max_age_s=3600, grace_s=0), now_unix_us=START_US + DAY_US + 99
    )
    assert {row for (row,) in made.rows("inputs", "request_id")} == {"r2"}
    assert made.files() == made.named()


def test_an_upload_that_fails_leaves_no_file(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops between two row groups is not there at all."""
    monkeypatch.setattr("rendezvous_router.archive.rewriting.ROW_GROUP_ROWS", 1)

    def interrupted() -> Iterator[pa.Table]:
        yield pa.table({"stored_at": [1]})
        raise KeyboardInterrupt

    root = ArchiveRoot.parse(s3)
    with pytest.raises(KeyboardInterrupt):
        write_groups(root, "half.parquet", "inputs", interrupted())
    assert root.filesystem.get_file_info(root.at("half.parquet")).type == FileType.NotFound


async def test_the_process_and_its_commands_on_an_object_store(s3: str, stack: Stack) -> None:
    """Archived, killed, archived on, verified, merged, forgotten and verified again, credentials by the environment."""
    prefix, _, query = s3.partition("?")
    root = f"{prefix}/live?{query}"
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    archiver = start_archiver(stack, root)
    async with Caller(stack.address) as caller:
        for number in range(20):
            if number == 10:
                archiver.kill()
                archiver = start_archiver(stack, root)
            context = {"customer": str(number % 2)}
            await caller.score({"a": [1.0], "b": [1], "tag": ["x"]}, request_id=f"r{number}", context=context)
    verified: dict[str, Any] = {}

    async def complete() -> bool:
        if not await asyncio.to_thread(list_endpoints, ArchiveRoot.parse(root), "default"):
            return False  # the archive's process has not come to it yet
        verified.update((await asyncio.to_thread(run_archive_command, stack, root, "verify"))[0])
        return bool(verified["pending"] == 0 and verified["decided"] == 20)

    await eventually(complete, "everything is archived", within_s=60)
    assert verified["is_complete"]
    assert verified["rows"] == {"decisions": 20, "inputs": 20, "scores": 20}
    assert archiver.stop() == 0
    (merged,) = run_archive_command(stack, root, "compact", "--fully", "--grace", "0s", ask_server=False)
    assert merged["entries_after"] == 2
    told = run_archive_command(stack, root, "forget", "--key", "customer=1", "--settle", "0s")
    assert told["rows"] == {"decisions": 10, "inputs": 10, "scores": 10}
    assert told["messages_left"] == 0
    (after,) = run_archive_command(stack, root, "verify", "--deep")
    assert (after["is_complete"], after["rows"]["inputs"]) == (True, 10)


def start_archiver(stack: Stack, root: str) -> Process:
    """Starts the archive's process."""
    command = [script("rendezvous"), "archive", "--archive", root, "--nats", stack.server.url]
    process = Process(command, log=stack.folder / f"archiver-{len(stack.processes)}.log", ready="ready")
    stack.processes.append(process)
    process.wait_ready()
    return process


def run_archive_command(stack: Stack, root: str, *arguments: str, ask_server: bool = True) -> Any:
    """Runs `rendezvous archive ...` and returns what it says as JSON."""
    command = [script("rendezvous"), "archive", *arguments, "--json", "--archive", root]
    command += ["--nats", stack.server.url] if ask_server else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

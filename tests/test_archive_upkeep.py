"""Upkeep in the background of the archive's process, and by the command line."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_router.archive.compaction import CompactionOptions
from rendezvous_router.archive.retention import RetentionOptions
from rendezvous_router.archive.upkeep import Upkeep, UpkeepOptions, parse_size
from rendezvous_router.cli import app
from rendezvous_router.cli.archive_upkeep import upkeep_of
from typer.testing import CliRunner

from tests.support.archives import DAY_US, ENDPOINT, START_US, TENANT, MadeArchive, MadeRequest


@pytest.fixture
def made(tmp_path: Path) -> MadeArchive:
    """Eight batches, one a day."""
    made = MadeArchive.at(tmp_path / "archive")
    for number in range(8):
        context = {"customer": str(number % 2)}
        at = START_US + number * DAY_US
        made.add(MadeRequest(request_id=f"r{number}", customers=[number], context=context, at_us=at))
    return made


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Waits until *is_so*."""
    give_up = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def upkeep(made: MadeArchive, retention: RetentionOptions | None = None) -> Upkeep:
    """Returns one that works twenty times a second at most."""
    options = UpkeepOptions(interval_s=0.05, compaction=CompactionOptions(fan_in=4, grace_s=0), retention=retention)
    return Upkeep(made.root, TENANT, lambda: [ENDPOINT], options)


def test_it_merges_and_removes_in_the_background(made: MadeArchive) -> None:
    """Both, and it ends when it is told to."""
    keeper = upkeep(made, RetentionOptions(max_age_s=86400, grace_s=0))
    keeper.start()
    wait_until(lambda: len(made.entries) == 2 and not made.files(), "merged, and all of these days are long past")
    keeper.stop()
    rounds = keeper.rounds
    time.sleep(0.2)
    assert keeper.rounds == rounds


def test_a_fault_is_logged_once_and_tried_again(made: MadeArchive, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged file stops the merges, not the thread; when it is back, they go on."""
    for number in range(8):  # of one day: of several days there would be nothing to read
        made.add(MadeRequest(request_id=f"s{number}", customers=[number], at_us=START_US + 9 * DAY_US))
    victim = Path(made.root.at(sorted(path for path in made.named() if "kind=inputs" in path)[-3]))
    content = victim.read_bytes()
    victim.write_bytes(b"no parquet")
    keeper = upkeep(made)
    with caplog.at_level(logging.ERROR):
        keeper.start()
        wait_until(lambda: keeper.rounds >= 2, "two rounds")
    assert [victim.name in each for each in caplog.messages] == [True], caplog.messages
    victim.write_bytes(content)
    wait_until(lambda: len(made.entries) == 2, "merged")
    keeper.stop()


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("50GB", 50 * 10**9), ("128MiB", 128 << 20), ("1.5 kb", 1500), ("2T", 2 * 10**12)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """Powers of 1000, or of 1024 with an i."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "5 apples", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="50GB"):
        parse_size(text)


def test_options_of_the_process() -> None:
    """Nothing is removed unless that is asked for; what is malformed or contradicts itself is refused."""
    options = upkeep_of(keep="90d", keep_bytes="1GB", grace="1m", every="30s")
    assert options is not None
    assert options.retention == RetentionOptions(max_age_s=90 * 86400, max_bytes=10**9, grace_s=60)
    assert (options.interval_s, options.compaction.grace_s) == (30, 60)
    plain = upkeep_of(keep="", keep_bytes="", grace="1m", every="30s")
    assert plain is not None
    assert plain.retention is None
    assert upkeep_of(keep="", keep_bytes="", grace="1m", every="0s") is None
    for keep, every in (("ninety", "1m"), ("90d", "0s"), ("0d", "1m")):
        with pytest.raises(InvalidRequestError):
            upkeep_of(keep=keep, keep_bytes="", grace="1m", every=every)


def test_the_commands_tell_what_they_did(made: MadeArchive) -> None:
    """Each as JSON; a trial changes nothing."""

    def run(*arguments: str) -> dict[str, object]:
        done = CliRunner().invoke(app, ["archive", *arguments, "--archive", made.root.path, "--json"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        return document[0] if isinstance(document, list) else document

    assert run("retain", "--max-age", "1d", "--dry-run")["rows"] == 24
    assert run("forget", "--key", "customer=1", "--dry-run", "--offline")["total_rows"] == 12
    assert run("compact", "--fully", "--grace", "0s")["entries_after"] == 2
    assert run("forget", "--key", "customer=1", "--offline")["rows"] == {"decisions": 4, "inputs": 4, "scores": 4}
    assert run("retain", "--max-bytes", "0")["rows"] == 12
    assert not made.named()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["retain"], 2, "--max-age"),
        (["retain", "--max-age", "old"], 2, "not a duration"),
        (["forget", "--key", "customer"], 2, "NAME=VALUE"),
        (["compact", "--target", "5x"], 2, "no size"),
        (["compact", "--target", "5"], 1, "at least 1024"),
        (["retain", "--max-age", "1d", "--kind", "input"], 1, "one of inputs"),
        (["compact", "elsewhere"], 1, "elsewhere"),
    ],
)
def test_wrong_use_is_one_message(made: MadeArchive, arguments: list[str], status: int, said: str) -> None:
    """What is wrong, and what would be right."""
    done = CliRunner().invoke(app, ["archive", *arguments, "--archive", made.root.path])
    assert done.exit_code == status
    assert said in " ".join((done.output + done.stderr).replace("│", " ").split())

"""The journal of decisions: what a dead router leaves, and what it does not."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rendezvous_proto.v1 import Decision, DecisionBatch, DecisionRecord
from rendezvous_router.journal import Journal, find_left
from rendezvous_router.ledger import Ledger


def _part(request_id: str) -> bytes:
    record = DecisionRecord(decision=Decision(request_id=request_id))
    return DecisionBatch(records=[record]).SerializeToString()


def _left(folder: Path) -> dict[str, list[str]]:
    """Returns the request ids of what dead routers left, by batch."""
    found: dict[str, list[str]] = {}
    for journal in find_left(folder):
        for batch in journal.batches():
            records = DecisionBatch.FromString(b"".join(batch.parts)).records
            found[batch.batch_id] = [record.decision.request_id for record in records]
        journal.close()
    return found


def _die(journal: Journal) -> None:
    """Lets go of the file as the death of its process does."""
    os.close(journal._file)


def test_what_jetstream_does_not_have_is_left(tmp_path: Path) -> None:
    """Batches that were struck are not found again, all others are, in full."""
    journal = Journal(tmp_path, "r1")
    for batch, request in (("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")):
        journal.note(batch, "credit", _part(request))
    journal.write()
    journal.strike("b")
    assert _left(tmp_path) == {}, "its router lives"
    _die(journal)
    assert _left(tmp_path) == {"a": ["1", "3"], "c": ["4"]}


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_torn_end_costs_only_what_was_being_written(tmp_path: Path, cut: int) -> None:
    """The process may die in the middle of a write; what came before it counts."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("1"))
    journal.note("b", "credit", _part("2"))
    journal.write()
    _die(journal)
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    assert _left(tmp_path) == {"a": ["1"]}


def test_a_long_life_leaves_a_small_file(tmp_path: Path) -> None:
    """The file is begun anew now and then, with what is still open, though some batch always is."""
    journal = Journal(tmp_path, "r1")
    journal.note("open", "credit", _part("first"))
    for number in range(300):
        journal.note(str(number), "credit", _part("x" * 60) * 300)
        journal.write()
        journal.strike(str(number))
    assert journal.path.stat().st_size < 3 << 20
    _die(journal)
    assert _left(tmp_path) == {"open": ["first"]}
    assert [path.name for path in tmp_path.iterdir()] == ["r1.journal"]


def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    """The file goes with its router when JetStream has everything."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("1"))
    journal.strike("a")
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_journal_and_not_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is logged once; noting goes on."""
    journal = Journal(tmp_path, "r1")

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        for number in range(3):
            journal.note(str(number), "credit", _part("1"))
            journal.write()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    journal._failed_at -= 10.0  # the pause before the next try is over
    journal.note("later", "credit", _part("2"))
    journal.write()
    _die(journal)
    assert _left(tmp_path).keys() == {"0", "1", "2", "later"}


def test_zeros_at_the_end_of_a_journal_cost_nothing_before_them(tmp_path: Path) -> None:
    """A file system may leave them after a power cut; they are no entry."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("1"))
    journal.write()
    _die(journal)
    with journal.path.open("ab") as file:
        file.write(bytes(64))
    assert _left(tmp_path) == {"a": ["1"]}


def test_half_an_entry_is_not_written_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full in the middle of an entry: once there is room, all that is open is there."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("1"))
    journal.write()
    whole, calls = os.write, 0

    def half(file: int, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return whole(file, content[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        journal.note("b", "credit", _part("2" * 60))
        journal.write()
    journal._failed_at -= 10.0  # the pause before the next try is over
    for number in range(3):
        journal.note(f"c{number}", "credit", _part("3"))
        journal.write()
    _die(journal)
    assert set(_left(tmp_path)) == {"a", "b", "c0", "c1", "c2"}


def test_much_that_is_open_is_not_written_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where JetStream has little of it, a large journal grows entry by entry."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("x" * 60) * 40_000)
    journal.write()
    written = 0
    whole = os.write

    def count(file: int, content: bytes) -> int:
        nonlocal written
        done = whole(file, content)
        written += done
        return done

    monkeypatch.setattr(os, "write", count)
    for number in range(100):
        journal.note(f"b{number}", "credit", _part("1"))
        journal.write()
    assert written < 100_000
    _die(journal)
    assert len(_left(tmp_path)) == 101


def test_what_a_router_left_half_made_is_removed(tmp_path: Path) -> None:
    """A journal that was to replace another goes; the other is still there."""
    journal = Journal(tmp_path, "r1")
    journal.note("a", "credit", _part("1"))
    journal.write()
    _die(journal)
    (tmp_path / "r1.fresh").write_bytes(b"half")
    assert _left(tmp_path) == {"a": ["1"]}
    assert not (tmp_path / "r1.fresh").exists()


async def test_an_endpoint_that_is_gone_does_not_keep_the_others_from_being_written(tmp_path: Path) -> None:
    """Each endpoint's decisions are written by themselves; those that have no place any more are given up."""
    written: list[str] = []
    is_gone, one_is_written = False, asyncio.Event()

    async def write(subject: str, payload: bytes, message_id: str) -> None:
        if ".gone." in subject:
            raise ConnectionError("no stream takes this subject now")
        written.append(subject)
        one_is_written.set()

    async def asked(endpoint: str) -> bool:
        return is_gone and endpoint == "gone"

    ledger = Ledger(write, Journal(tmp_path, "r1"), asked)
    ledger.start()
    for endpoint in ("gone", "stays"):
        ledger.enter(endpoint, lambda: DecisionRecord(decision=Decision(request_id="1")))
    async with asyncio.timeout(5):
        await one_is_written.wait()
    assert ledger.waiting == 1
    is_gone = True
    await ledger.close(timeout_s=5)
    assert written == ["rv.stays.decision"]
    assert _left(tmp_path) == {}, "nothing is left that nobody could take"


async def test_a_decision_is_on_the_disk_before_its_answer_leaves(tmp_path: Path) -> None:
    """Callbacks that are scheduled after a decision was entered, as those of its answer are, find it in the file."""

    async def write(subject: str, payload: bytes, message_id: str) -> None:
        raise TimeoutError

    journal = Journal(tmp_path, "r1")
    ledger = Ledger(write, journal)
    sizes: list[int] = []
    soon: Callable[[], None] = lambda: sizes.append(journal.path.stat().st_size)  # noqa: E731 # a callback

    loop = asyncio.get_running_loop()
    for number in range(2):
        ledger.enter("credit", lambda n=number: DecisionRecord(decision=Decision(request_id=str(n))))  # type: ignore[misc] # the number of this turn
        loop.call_soon(soon)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(sizes) == 2
    assert sizes[0] > 0
    _die(journal)
    assert list(_left(tmp_path).values()) == [["0", "1"]]

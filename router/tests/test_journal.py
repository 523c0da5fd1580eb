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
    journal.note("later", "credit", _part("2"))
    journal.write()
    _die(journal)
    assert _left(tmp_path) == {"later": ["2"]}


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

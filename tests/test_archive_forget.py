"""Forgetting: a subject's rows go from every kind, others' stay as they are, and a crash in between loses nothing."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rendezvous_router.archive import forget as forgetting
from rendezvous_router.archive.compaction import CompactionOptions, compact
from rendezvous_router.archive.forget import Forgotten, forget, read_undeleted
from rendezvous_router.archive.subject import Subject
from rendezvous_sdk.archive.schema import SignatureColumn

from tests.support.archives import ENDPOINT, START_US, TENANT, MadeArchive, MadeRequest

ALONE = {"customer": "42"}
OTHER = {"customer": "7"}


@pytest.fixture
def made(tmp_path: Path) -> MadeArchive:
    """Requests of customer 42 alone, of others, and one that has rows of both; with feedback."""
    made = MadeArchive.at(tmp_path / "archive")
    made.add(
        MadeRequest(request_id="hers", customers=[42], context=ALONE),
        MadeRequest(request_id="his", customers=[7, 8], context=OTHER),
    )
    made.add(MadeRequest(request_id="both", customers=[1, 42, 3]), MadeRequest(request_id="nobody", customers=[5]))
    made.add(MadeRequest(request_id="hers-too", customers=[42, 42], context=ALONE))
    made.add_feedback(
        {"feedback_id": "f1", "request_id": "hers"},
        {"feedback_id": "f2", "request_id": "both", "row": 1},
        {"feedback_id": "f3", "request_id": "both"},
        {"feedback_id": "f4", "key_name": "customer", "key_value": "42"},
        {"feedback_id": "f5", "key_name": "customer", "key_value": "7"},
    )
    return made


def ids(made: MadeArchive, kind: str) -> list[tuple[object, ...]]:
    """Returns request id and row of what is left."""
    return sorted(made.rows(kind, "request_id", "row"))


def feedback(made: MadeArchive) -> list[object]:
    """Returns the ids of the outcomes that are left."""
    return sorted(each for (each,) in made.rows("feedback", "feedback_id"))


def run(made: MadeArchive, *, is_trial: bool = False, **subject: tuple[object, ...]) -> Forgotten:
    """Forgets at once."""
    return forget(made.root, TENANT, ENDPOINT, Subject(**subject), is_trial=is_trial)  # type: ignore[arg-type] # of the tests


def test_a_key_takes_the_requests_that_carry_it(made: MadeArchive) -> None:
    """Every kind loses the rows of the requests whose context has the key; outcomes by that key go, too."""
    done = run(made, keys=(("customer", "42"),))
    assert ids(made, "inputs") == [("both", 0), ("both", 1), ("both", 2), ("his", 0), ("his", 1), ("nobody", 0)]
    assert ids(made, "scores") == ids(made, "inputs")
    assert sorted(made.rows("decisions", "request_id")) == [("both",), ("his",), ("nobody",)]
    assert feedback(made) == ["f2", "f3", "f5"]
    assert (done.requests, done.rows) == (2, {"decisions": 2, "feedback": 2, "inputs": 3, "scores": 3})
    assert made.files() == made.named()


def test_a_column_takes_the_rows_that_have_the_value(made: MadeArchive) -> None:
    """Of a request with others' rows only the subject's go; the decision keeps the others' outputs in their places."""
    done = run(made, columns=(("customer_id", "42"),))
    assert ids(made, "inputs") == [("both", 0), ("both", 2), ("his", 0), ("his", 1), ("nobody", 0)]
    assert ids(made, "scores") == ids(made, "inputs")
    decisions = dict(made.rows("decisions", "request_id", "risk"))
    assert decisions == {"both": [1.0, None, 3.0], "his": [7.0, 8.0], "nobody": [5.0]}
    assert feedback(made) == ["f3", "f4", "f5"]
    assert (done.requests, done.rows["decisions"]) == (3, 3)


@pytest.mark.parametrize("column", [("customer_id", "4_2"), ("customer_id", "x"), ("no_such", "42"), ("amount", "42")])
def test_a_value_that_is_not_there_takes_nothing(made: MadeArchive, column: tuple[str, str]) -> None:
    """Neither does a value that no column of that type can have."""
    entries = made.entries
    assert run(made, columns=(column,)).rows == {}
    assert made.entries == entries


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("FP16", "1.5", [0]),
        ("FP16", "0.1", [1]),
        ("FP16", "nan", [2]),
        ("FP16", "1e10", []),
        ("FP16", "-inf", [3]),
        ("FP32", "0.1", [1]),
        ("FP32", "NaN", [2]),
        ("FP32", "-1e50", []),
        ("FP64", "nan", [2]),
        ("FP64", "-inf", [3]),
    ],
)
def test_a_number_takes_the_rows_that_have_it(tmp_path: Path, kind: str, value: str, taken: list[int]) -> None:
    """As the column has it, in its precision; `nan` takes what is not a number, and nothing takes what is missing."""
    made = MadeArchive.at(tmp_path / "archive", (SignatureColumn("amount", kind),))
    amounts = [
        1.5,
        np.dtype({"FP16": "e", "FP32": "f", "FP64": "d"}[kind]).type(0.1),
        float("nan"),
        -float("inf"),
        None,
    ]
    made.add(MadeRequest(request_id="five", customers=[1, 2, 3, 4, 5], amounts=amounts))
    done = run(made, columns=(("amount", value),))
    assert done.rows.get("inputs", 0) == len(taken)
    assert ids(made, "inputs") == [("five", row) for row in range(5) if row not in taken]


def test_a_request_is_forgotten_by_its_id(made: MadeArchive) -> None:
    """So are outcomes for it."""
    run(made, request_ids=("both",))
    assert ("both", 0) not in ids(made, "inputs")
    assert feedback(made) == ["f1", "f4", "f5"]


def test_a_trial_changes_nothing_and_tells_the_same(made: MadeArchive) -> None:
    """`--dry-run` says what would be removed."""
    entries = made.entries
    told = run(made, keys=(("customer", "42"),), is_trial=True)
    assert made.entries == entries
    assert not read_undeleted(made.root, TENANT, ENDPOINT)
    assert run(made, keys=(("customer", "42"),)) == told


def test_the_manifest_notes_how_much_and_when_but_not_who(made: MadeArchive) -> None:
    """Ranges and messages stay; nothing of the subject is in any file of the archive."""
    spans = [(entry.source, entry.first, entry.last, entry.messages) for entry in made.entries]
    run(made, keys=(("customer", "42"),), request_ids=("hers",))
    assert [(entry.source, entry.first, entry.last, entry.messages) for entry in made.entries] == spans
    notes = [(note.kind, note.text, note.rows) for entry in made.entries for note in entry.notes]
    assert sorted(notes) == [
        ("forget", "decisions", 1),
        ("forget", "decisions", 1),
        ("forget", "feedback", 2),
        ("forget", "inputs", 1),
        ("forget", "inputs", 2),
        ("forget", "scores", 1),
        ("forget", "scores", 2),
    ]
    ids = {each for path in made.files() for each in pq.read_table(made.root.at(path))["request_id"].to_pylist()}
    assert ids == {"his", "both", "nobody", None}


def test_the_messages_are_noted_until_they_are_deleted(made: MadeArchive) -> None:
    """Sequence and moment of each message of the streams that holds something of the subject."""
    done = run(made, keys=(("customer", "42"),))
    noted = [(each.source, each.sequence) for each in read_undeleted(made.root, TENANT, ENDPOINT)]
    durable = [1, 3, 9, 10, 11, 14]
    assert noted == [("durable", sequence) for sequence in durable] + [("scores", 1), ("scores", 5)]
    assert done.messages == len(noted)


def test_a_crash_before_the_requests_are_removed_is_found_again(
    made: MadeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of the requests goes first: after a crash the key still leads to the rest, and to all messages."""
    rewrite, calls = forgetting._rewrite_entry, []

    def crash(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        rewrite(*arguments)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(forgetting, "_rewrite_entry", crash)
    with pytest.raises(KeyboardInterrupt):
        run(made, keys=(("customer", "42"),))
    noted = read_undeleted(made.root, TENANT, ENDPOINT)
    monkeypatch.undo()
    run(made, keys=(("customer", "42"),))
    assert "hers" not in {request_id for request_id, _ in ids(made, "inputs") + ids(made, "scores")}
    assert read_undeleted(made.root, TENANT, ENDPOINT) == noted
    assert made.files() == made.named()


def test_requests_of_which_something_may_still_come_are_left(made: MadeArchive) -> None:
    """They are counted, and a later attempt forgets them."""
    archived_until = START_US + 600_000_000
    subject = Subject(keys=(("customer", "42"),))
    told = forget(made.root, TENANT, ENDPOINT, subject, archived_until_unix_us=archived_until)
    assert (told.requests, told.young) == (0, 2)
    assert ("hers", 0) in ids(made, "inputs")
    told = forget(made.root, TENANT, ENDPOINT, subject, archived_until_unix_us=archived_until + 1)
    assert (told.requests, told.young) == (2, 0)


def test_what_was_forgotten_stays_so_through_compaction(made: MadeArchive) -> None:
    """Merged files are made of what current entries name."""
    run(made, keys=(("customer", "42"),))
    before = ids(made, "inputs")
    compact(made.root, TENANT, ENDPOINT, CompactionOptions(grace_s=0), fully=True)
    assert ids(made, "inputs") == before
    assert run(made, keys=(("customer", "42"),)).rows == {}

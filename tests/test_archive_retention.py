"""Retention: whole days go, the oldest first, by age and by size; the manifest keeps count of what was there."""

from pathlib import Path

import pytest
from rendezvous_router.archive.compaction import CompactionOptions, compact
from rendezvous_router.archive.retention import RetentionOptions, retain
from rendezvous_router.archive.verify import verify_endpoint

from tests.support.archives import DAY_US, ENDPOINT, START_US, TENANT, MadeArchive, MadeRequest

NOW_US = START_US + 9 * DAY_US + 1
DAYS = [f"2026-03-{day:02d}" for day in range(1, 11)]


@pytest.fixture
def made(tmp_path: Path) -> MadeArchive:
    """Ten days of two batches each; the last of them is today."""
    made = MadeArchive.at(tmp_path / "archive")
    for number in range(20):
        made.add(
            MadeRequest(request_id=f"r{number}", customers=[number], at_us=START_US + number // 2 * DAY_US + number)
        )
    return made


def days(made: MadeArchive, kind: str) -> list[str]:
    """Returns the days of which an archive has a kind."""
    return sorted({path.split("/")[-2].removeprefix("day=") for path in made.named() if f"kind={kind}/" in path})


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"max_age_s": 3 * 86400}, DAYS[6:]),
        ({"max_age_s": 3600}, DAYS[9:]),
        ({"max_age_s": 90 * 86400}, DAYS),
        ({"max_bytes": 0}, DAYS[9:]),
        ({"max_bytes": 1 << 30}, DAYS),
        ({}, DAYS),
    ],
)
def test_days_are_removed_by_age_and_by_size_but_never_today(
    made: MadeArchive, options: dict[str, float], kept: list[str]
) -> None:
    """What ended longer ago than the age goes; by size the oldest days go until the rest fits."""
    done = retain(made.root, TENANT, [ENDPOINT], RetentionOptions(grace_s=0, **options), now_unix_us=NOW_US)
    assert days(made, "inputs") == days(made, "scores") == days(made, "decisions") == kept
    assert done.oldest_day == kept[0]
    assert done.rows == 2 * 3 * (10 - len(kept))
    assert made.files() == made.named()


def test_size_counts_what_is_left(made: MadeArchive) -> None:
    """No more days go than must for the rest to fit."""
    size = sum(file.bytes for entry in made.entries for file in entry.files)
    options = RetentionOptions(max_bytes=size // 2, grace_s=0)
    done = retain(made.root, TENANT, [ENDPOINT], options, now_unix_us=NOW_US)
    last_removed = [day.bytes for day in done.removed if day.day == done.removed[-1].day]
    assert len(last_removed) == 3
    assert done.bytes <= size // 2 < done.bytes + sum(last_removed)
    assert done.oldest_day == days(made, "inputs")[0]


def test_one_kind_may_be_kept_for_a_shorter_time(made: MadeArchive) -> None:
    """Other kinds are neither counted nor removed."""
    options = RetentionOptions(max_age_s=86400, kinds=("scores",), grace_s=0)
    retain(made.root, TENANT, [ENDPOINT], options, now_unix_us=NOW_US)
    assert days(made, "scores") == DAYS[8:]
    assert days(made, "inputs") == DAYS


def test_the_manifest_still_accounts_for_every_sequence(made: MadeArchive) -> None:
    """Entries stay, with a note of what was removed, and are merged like others."""
    spans = [(entry.source, entry.first, entry.last, entry.messages) for entry in made.entries]
    retain(made.root, TENANT, [ENDPOINT], RetentionOptions(max_age_s=3600, grace_s=0), now_unix_us=NOW_US)
    assert [(entry.source, entry.first, entry.last, entry.messages) for entry in made.entries] == spans
    compact(made.root, TENANT, ENDPOINT, CompactionOptions(grace_s=0), fully=True)
    durable, scores = made.entries
    assert (durable.first, durable.last, durable.messages) == (1, 40, 40)
    assert {(note.kind, note.text): note.rows for note in durable.notes} == {
        ("retention", "inputs"): 18,
        ("retention", "decisions"): 18,
    }
    assert [(note.text, note.rows) for note in scores.notes] == [("scores", 18)]
    assert sum(file.rows for file in durable.files) == 4


def test_verify_says_complete_and_what_is_kept(made: MadeArchive) -> None:
    """Rows that retention removed are no fault; the oldest day of each kind is told."""
    options = RetentionOptions(max_age_s=3 * 86400, kinds=("scores",), grace_s=0)
    retain(made.root, TENANT, [ENDPOINT], options, now_unix_us=NOW_US)
    report = verify_endpoint(made.root, TENANT, ENDPOINT)
    assert report.is_complete
    assert report.notes == {"retention": 12}
    assert report.kept_from == {"decisions": DAYS[0], "inputs": DAYS[0], "scores": DAYS[6]}


def test_a_trial_removes_nothing(made: MadeArchive) -> None:
    """It says what would go."""
    entries = made.entries
    options = RetentionOptions(max_age_s=3600)
    done = retain(made.root, TENANT, [ENDPOINT], options, is_trial=True, now_unix_us=NOW_US)
    assert (done.rows, len(done.removed)) == (54, 27)
    assert made.entries == entries


@pytest.mark.parametrize(
    ("options", "told"),
    [({"max_age_s": 0}, "max_age_s"), ({"max_bytes": -1}, "max_bytes"), ({"kinds": ("input",)}, "inputs, raw")],
)
def test_values_out_of_range_are_refused(options: dict[str, object], told: str) -> None:
    """The message names the value and what is allowed."""
    with pytest.raises(ValueError, match=told):
        RetentionOptions(**options)  # type: ignore[arg-type] # that is the point

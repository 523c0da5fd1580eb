"""Compaction and sweeping: fewer, larger files and entries; the same rows; readers and crashes are survived."""

import math
import random
from pathlib import Path

import pytest
from rendezvous_router.archive import compaction
from rendezvous_router.archive.compaction import CompactionOptions, compact, merge_entries, plan_merges
from rendezvous_router.archive.store import ArchiveLockedError
from rendezvous_router.archive.sweeping import keep_up, sweep
from rendezvous_sdk.archive.manifest import Entry, put_entry

from tests.support.archives import DAY_US, ENDPOINT, START_US, TENANT, MadeArchive, MadeRequest

AT_ONCE = CompactionOptions(fan_in=4, grace_s=0)


@pytest.fixture
def made(tmp_path: Path) -> MadeArchive:
    """An empty archive."""
    return MadeArchive.at(tmp_path / "archive")


def fill(made: MadeArchive, batches: int, *, per_day: int = 1000) -> None:
    """Writes batches of two requests each."""
    for number in range(batches):
        at = START_US + number // per_day * DAY_US + number
        made.add(*(MadeRequest(request_id=f"r{number}-{i}", customers=[number, i], at_us=at) for i in range(2)))


def everything(made: MadeArchive) -> dict[str, list[tuple[object, ...]]]:
    """Returns what identifies each row, by kind, in order."""
    return {
        "inputs": made.rows("inputs", "stream_sequence", "request_id", "row", "customer_id", "amount", "stored_at"),
        "scores": made.rows("scores", "score_sequence", "request_id", "row", "risk"),
        "decisions": made.rows("decisions", "stream_sequence", "request_id", "risk"),
    }


def test_compaction_keeps_every_row_in_order_and_leaves_few_files(made: MadeArchive) -> None:
    """Forty batches become a handful of entries and files; what they replace is gone; another run has nothing to do."""
    fill(made, 40)
    before = everything(made)
    done = compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert everything(made) == before
    assert (done.entries_before, done.files_before) == (80, 120)
    assert done.entries_after <= 2 * 3 * math.ceil(math.log(40, 4))
    assert made.files() == made.named()
    assert len(made.files()) == done.files_after < 30
    again = compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert (again.merges, again.swept.files) == (0, 0)


def test_a_year_of_batches_leaves_few_entries(made: MadeArchive) -> None:
    """Of n batches, merged as they come, at most fan_in - 1 entries of each of log(n) tiers are left."""
    entries: list[Entry] = []
    most = 0
    for number in range(1, 3000):
        entries.append(entry_of(number, number, batches=1))
        for group in plan_merges(entries, 4):
            merged = entry_of(group[0].first, group[-1].last, batches=sum(each.batches for each in group))
            entries[entries.index(group[0]) : entries.index(group[-1]) + 1] = [merged]
        most = max(most, len(entries))
    assert most <= 4 * (math.log(3000, 4) + 1)
    assert (entries[0].first, entries[-1].last) == (1, 2999)


def entry_of(first: int, last: int, *, batches: int) -> Entry:
    """Returns an entry without files."""
    generation = "1700000000000000-0001-1"
    return Entry(
        source="durable",
        generation=generation,
        first=first,
        last=last,
        last_stored_unix_us=1,
        messages=last - first + 1,
        batches=batches,
    )


def test_days_and_sizes_bound_the_files(made: MadeArchive) -> None:
    """A file holds one day, and not more than the size that is wanted unless one batch alone is larger."""
    fill(made, 24, per_day=8)
    sizes = {file.bytes for entry in made.entries for file in entry.files}
    target = max(1 << 10, 3 * max(sizes))
    compact(made.root, TENANT, ENDPOINT, CompactionOptions(fan_in=4, grace_s=0, target_bytes=target), fully=True)
    assert len(made.entries) == 2
    inputs = [file for entry in made.entries for file in entry.files if file.kind == "inputs"]
    assert len({file.path.split("/")[-2] for file in inputs}) == 3
    assert len(inputs) >= 2 * 3
    assert all(file.bytes <= target for file in inputs)
    assert all((file.to_stored_unix_us - file.from_stored_unix_us) < DAY_US for file in inputs)


def test_replaced_files_stay_for_their_readers_until_the_grace_is_over(made: MadeArchive) -> None:
    """Who listed the files before a compaction can read every one of them after it, for as long as the grace."""
    fill(made, 8)
    listed = made.named()
    compact(made.root, TENANT, ENDPOINT, CompactionOptions(fan_in=4, grace_s=3600))
    assert listed <= made.files()
    assert not listed & made.named()
    later = START_US + 10**15
    kept = sweep(made.root, TENANT, ENDPOINT, grace_s=10**10, now_unix_us=later)
    assert (kept.files, kept.waiting) == (0, 24 + 16)
    gone = sweep(made.root, TENANT, ENDPOINT, grace_s=3600, now_unix_us=later)
    assert (gone.files, gone.entries) == (24, 16)
    assert made.files() == made.named()


def test_a_crash_between_files_and_entry_changes_nothing(made: MadeArchive) -> None:
    """Files whose entry was never put belong to nobody: rows are as before, and the next compaction removes them."""
    fill(made, 8)
    before = everything(made)
    group = [entry for entry in made.entries if entry.source == "durable"]
    merge_entries(made.root, TENANT, ENDPOINT, group, 1 << 20)  # and the process dies
    assert made.files() > made.named()
    assert everything(made) == before
    compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert made.files() == made.named()
    assert everything(made) == before


def test_a_crash_after_the_entry_leaves_the_new_and_only_the_new(made: MadeArchive) -> None:
    """The larger entry supersedes the smaller ones at once, also while these are still there."""
    fill(made, 8)
    before = everything(made)
    group = [entry for entry in made.entries if entry.source == "durable"]
    put_entry(made.root, TENANT, ENDPOINT, merge_entries(made.root, TENANT, ENDPOINT, group, 1 << 20))
    assert everything(made) == before
    assert len([entry for entry in made.entries if entry.source == "durable"]) == 1
    compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert made.files() == made.named()


def test_what_a_writer_has_not_entered_yet_is_not_swept(made: MadeArchive) -> None:
    """A file after the last entry may be of a batch whose entry is about to be put."""
    fill(made, 3)
    last = max(made.named())
    fresh = last.replace(f"{made.score_sequence - 1:012d}-", "000000000099-").replace(
        f"-{made.score_sequence:012d}", "-000000000100"
    )
    assert fresh != last
    made.root.filesystem.copy_file(made.root.at(last), made.root.at(fresh))
    assert sweep(made.root, TENANT, ENDPOINT, grace_s=0).files == 0
    assert fresh in made.files()


def test_a_damaged_file_is_not_merged_away(made: MadeArchive) -> None:
    """A file that cannot be read stops the merge with its name; the archive stays as it is."""
    fill(made, 8)
    victim = sorted(path for path in made.named() if "kind=inputs" in path)[3]
    Path(made.root.at(victim)).write_bytes(b"PAR1 no more")
    entries = made.entries
    with pytest.raises(Exception, match=victim.rpartition("/")[2]):
        compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert made.entries == entries


def test_one_process_keeps_an_archive_up_at_a_time(made: MadeArchive) -> None:
    """While one holds the right, another is told so and changes nothing."""
    fill(made, 8)
    with keep_up(made.root, TENANT, ENDPOINT), pytest.raises(ArchiveLockedError):
        compact(made.root, TENANT, ENDPOINT, AT_ONCE)
    assert compact(made.root, TENANT, ENDPOINT, AT_ONCE).merges == 2


def test_memory_is_bounded_by_row_groups_not_by_files(made: MadeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were merged before are read and written one row group at a time."""
    monkeypatch.setattr("rendezvous_router.archive.rewriting.ROW_GROUP_ROWS", 8)
    fill(made, 16)
    compact(made.root, TENANT, ENDPOINT, AT_ONCE, fully=True)
    seen: list[int] = []
    read = compaction.read_groups
    monkeypatch.setattr(
        compaction, "read_groups", lambda *args: (seen.append(table.num_rows) or table for table in read(*args))
    )
    fill_more = random.Random(1)
    for number in range(4):
        made.add(MadeRequest(request_id=f"late{number}", customers=[fill_more.randrange(9)], at_us=START_US + 99))
    compact(made.root, TENANT, ENDPOINT, AT_ONCE, fully=True)
    assert max(seen) <= 8 + 4
    assert sum(seen) == (32 + 4) + 2 * (64 + 4)  # decisions; inputs and scores, of two rows a request

"""Merges small files and small manifest entries into larger ones, so that years stay quick to open.

Batches are merged in tiers: `fan_in` neighbours of one tier become one entry of the next, and so on; n batches leave at
most `fan_in - 1` entries of each of log(n) tiers, and each row is written again once per tier until its file has the
size that is wanted. Files that have it are taken over as they are: entries go on being merged, rows do not move.

What is new is durable before the larger entry is put, and that entry supersedes the smaller ones at once (ADR 0021); so
a crash leaves either the old or the new, whole. What is no longer needed is left to `sweeping`.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from rendezvous_sdk.archive.layout import ArchiveRoot, file_name, kind_folder
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry, Note, put_entry, read_current

from rendezvous_router.archive.rewriting import filtered, read_groups, write_groups
from rendezvous_router.archive.sweeping import GRACE_S, Swept, keep_up, sweep

__all__ = ["Compacted", "CompactionOptions", "compact", "compact_step", "plan_merges"]


def _do_nothing() -> None:
    """Lets the work go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionOptions:
    """What is merged.

    Raises:
        ValueError: a value is out of its range.
    """

    target_bytes: int = 128 << 20
    """Size from which a file is left alone."""
    fan_in: int = 16
    """Neighbouring entries of one tier that are merged."""
    grace_s: float = GRACE_S
    """How long replaced files stay for those who read them, seconds."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.target_bytes < 1 << 10:
            raise ValueError(f"target_bytes = {self.target_bytes}: at least 1024")
        if not 2 <= self.fan_in <= 1000:
            raise ValueError(f"fan_in = {self.fan_in}: must lie between 2 and 1000")
        if self.grace_s < 0:
            raise ValueError(f"grace_s = {self.grace_s}: at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What compaction did."""

    merges: int = 0
    """Entries made of others."""
    entries_before: int = 0
    """Current entries before."""
    entries_after: int = 0
    """Current entries after."""
    files_before: int = 0
    """Files that they named before."""
    files_after: int = 0
    """Files that they name after."""
    swept: Swept = field(default_factory=Swept)
    """What was deleted of what earlier work had replaced."""


def compact(
    root: ArchiveRoot,
    tenant: str,
    endpoint: str,
    options: CompactionOptions | None = None,
    *,
    fully: bool = False,
    wait_s: float = 0.0,
) -> Compacted:
    """Merges whatever there is to merge of an endpoint.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        options: None: the defaults.
        fully: merge all neighbours, not only whole tiers.
        wait_s: how long to wait for another process that keeps the archive up, seconds.

    Raises:
        ArchiveLockedError: another process keeps it up.
        ArchiveError, OSError: the archive cannot be read or written; nothing is lost.
    """
    options = options or CompactionOptions()
    with keep_up(root, tenant, endpoint, wait_s=wait_s):
        before = read_current(root, tenant, endpoint)
        merges = 0
        while merged := _merge_once(root, tenant, endpoint, options, fully=fully and not merges):
            merges += merged
        after = read_current(root, tenant, endpoint) if merges else before
        swept = sweep(root, tenant, endpoint, grace_s=options.grace_s)
    return Compacted(
        merges=merges,
        entries_before=len(before),
        entries_after=len(after),
        files_before=sum(len(entry.files) for entry in before),
        files_after=sum(len(entry.files) for entry in after),
        swept=swept,
    )


def plan_merges(entries: Sequence[Entry], fan_in: int, *, fully: bool = False) -> list[list[Entry]]:
    """Returns groups of neighbouring entries that are to become one each.

    Args:
        entries: current entries, by source and in order.
        fan_in: entries of one tier that are merged.
        fully: all neighbours are, whatever their tiers.
    """
    if fully:
        return [run for run in _runs(entries) if len(run) > 1]
    groups = []
    for run in _runs(entries):
        group = _ripe_group(run, fan_in)
        if group:
            groups.append(group)
    return groups


def _ripe_group(run: list[Entry], fan_in: int) -> list[Entry]:
    """Returns the neighbours of the lowest tier that has enough of them; none: no tier has."""
    for tier in range(_tier(max(entry.batches for entry in run), fan_in) + 1):
        group: list[Entry] = []
        for entry in [*run, None]:
            if entry is not None and _tier(entry.batches, fan_in) <= tier:
                group.append(entry)
                continue
            if sum(_tier(each.batches, fan_in) == tier for each in group) >= fan_in:
                return group[: fan_in * fan_in]  # a step, not a day: the rest is the next one
            group = []
    return []


def _tier(batches: int, fan_in: int) -> int:
    tier = 0
    while batches >= fan_in:
        batches //= fan_in
        tier += 1
    return tier


def _runs(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yields entries of one source and generation that follow each other without a gap."""
    run: list[Entry] = []
    for entry in entries:
        if run and not _follows(run[-1], entry):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _follows(entry: Entry, later: Entry) -> bool:
    same = (entry.source, entry.generation) == (later.source, later.generation)
    return same and later.first == entry.last + 1


def _merge_once(
    root: ArchiveRoot,
    tenant: str,
    endpoint: str,
    options: CompactionOptions,
    *,
    fully: bool = False,
    check: Callable[[], None] = _do_nothing,
) -> int:
    groups = plan_merges(read_current(root, tenant, endpoint), options.fan_in, fully=fully)
    for group in groups:
        merged = merge_entries(root, tenant, endpoint, group, options.target_bytes, check=check)
        put_entry(root, tenant, endpoint, merged)
    return len(groups)


def compact_step(
    root: ArchiveRoot, tenant: str, endpoint: str, options: CompactionOptions, *, check: Callable[[], None]
) -> bool:
    """Makes one round of merges, and sweeps; for work in the background.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        options: what is merged.
        check: called before each row group; an error that it raises ends the step, and changes nothing.

    Returns:
        Whether there may be more to merge.

    Raises:
        As `compact`, and what *check* raises.
    """
    with keep_up(root, tenant, endpoint):
        merges = _merge_once(root, tenant, endpoint, options, check=check)
        sweep(root, tenant, endpoint, grace_s=options.grace_s)
    return bool(merges)


def merge_entries(
    root: ArchiveRoot,
    tenant: str,
    endpoint: str,
    group: Sequence[Entry],
    target_bytes: int,
    *,
    check: Callable[[], None] = _do_nothing,
) -> Entry:
    """Writes the joined files of neighbouring entries and returns the entry that supersedes them; it is not put yet.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        group: the entries, in order.
        target_bytes: size from which a file is left alone.
        check: called before each row group.

    Raises:
        ArchiveError: a file is missing or damaged.
        OSError: a file could not be written.
    """
    first, last = group[0], group[-1]
    files: list[ArchivedFile] = []
    stem = f"{time.time_ns() // 1000:x}"
    for place, batch in enumerate(_file_groups(group, target_bytes)):
        if len(batch) == 1:
            files.append(batch[0])
            continue
        kind = batch[0].kind
        name = file_name(first.source, first.generation, first.first, last.last, f"m{stem}-{place}")
        folder = f"{kind_folder(tenant, endpoint, kind)}/{_day_folder(batch[0])}"
        written = write_groups(root, f"{folder}/{name}", kind, filtered(read_groups(root, batch), _checked(check)))
        files += [] if written is None else [written]
    return Entry(
        source=first.source,
        generation=first.generation,
        first=first.first,
        last=last.last,
        last_stored_unix_us=next((each for entry in reversed(group) if (each := entry.last_stored_unix_us)), 0),
        messages=sum(entry.messages for entry in group),
        deleted=_join_ranges([span for entry in group for span in entry.deleted]),
        files=tuple(files),
        notes=_join_notes([note for entry in group for note in entry.notes]),
        batches=sum(entry.batches for entry in group),
    )


def _file_groups(group: Sequence[Entry], target_bytes: int) -> Iterator[list[ArchivedFile]]:
    """Yields files of one kind, day and schema that become one file: neighbours, up to the size that is wanted."""
    alike: dict[tuple[str, str, str], list[ArchivedFile]] = defaultdict(list)
    for entry in group:
        for file in entry.files:
            alike[file.kind, _day_folder(file), file.schema_id].append(file)
    for files in alike.values():
        batch: list[ArchivedFile] = []
        size = 0
        for file in files:
            if batch and size + file.bytes > target_bytes:
                yield batch
                batch, size = [], 0
            batch.append(file)
            size += file.bytes
        yield batch


def _checked(check: Callable[[], None]) -> Callable[[pa.Table], pa.Table]:
    def pass_on(table: pa.Table) -> pa.Table:
        check()
        return table

    return pass_on


def _day_folder(file: ArchivedFile) -> str:
    return file.path.split("/")[-2]


def _join_ranges(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)


def _join_notes(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Returns one note for each moment, kind and text: what was done at once to several entries."""
    rows: dict[tuple[int, str, str], int] = defaultdict(int)
    for note in notes:
        rows[note.at_unix_us, note.kind, note.text] += note.rows
    return tuple(
        Note(kind=kind, at_unix_us=at, rows=count, text=text) for (at, kind, text), count in sorted(rows.items())
    )

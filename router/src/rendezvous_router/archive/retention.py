"""Removes the oldest days of an archive, by age and by size; the manifest keeps what was there and what was removed.

Whole UTC days of a kind are removed, never the present one. The entries stay, with a note instead of their files, so
the archive is still provably complete: every sequence is accounted for, and what is gone is gone on purpose.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rendezvous_sdk.archive.layout import KINDS, ArchiveRoot, day_of
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry, Note, put_entry, read_current

from rendezvous_router.archive.sweeping import GRACE_S, Swept, keep_up, sweep

__all__ = ["RemovedDay", "Retained", "RetentionOptions", "plan_removal", "retain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionOptions:
    """What is kept.

    Raises:
        ValueError: a value is out of its range, or a kind is none.
    """

    max_age_s: float | None = None
    """Days that ended longer ago than this are removed; None: age does not matter."""
    max_bytes: int | None = None
    """The oldest days are removed until the files are not larger than this together; None: size does not matter."""
    kinds: tuple[str, ...] = KINDS
    """Kinds that are looked at; others are neither counted nor removed."""
    grace_s: float = GRACE_S
    """How long removed files stay for those who read them, seconds."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.max_age_s is not None and self.max_age_s <= 0:
            raise ValueError(f"max_age_s = {self.max_age_s:g}: must be above 0")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise ValueError(f"max_bytes = {self.max_bytes}: at least 0")
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"kind {kind!r}: one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RemovedDay:
    """A day of one kind of one endpoint."""

    day: str
    """The UTC day, `YYYY-MM-DD`."""
    endpoint: str
    """The endpoint."""
    kind: str
    """The kind."""
    rows: int
    """Its rows."""
    bytes: int
    """Size of its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What retention removed, and what is left."""

    removed: tuple[RemovedDay, ...]
    """Days removed, the oldest first."""
    oldest_day: str | None
    """Oldest day of which something is left; None: nothing is."""
    bytes: int
    """Size of what is left of the kinds that were looked at."""
    swept: Swept
    """What was deleted of what earlier work had replaced."""

    @property
    def rows(self) -> int:
        """Rows removed."""
        return sum(each.rows for each in self.removed)


def retain(
    root: ArchiveRoot,
    tenant: str,
    endpoints: Sequence[str],
    options: RetentionOptions,
    *,
    is_trial: bool = False,
    wait_s: float = 0.0,
    now_unix_us: int | None = None,
) -> Retained:
    """Removes what is too old or too much.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoints: endpoints, whose sizes count together.
        options: what is kept.
        is_trial: only say what would be removed.
        wait_s: how long to wait for another process that keeps the archive up, seconds.
        now_unix_us: the present, microseconds since 1970-01-01 UTC; None: the clock's.

    Raises:
        ArchiveLockedError: another process keeps the archive up.
        ArchiveError, OSError: the archive cannot be read or written.
    """
    now = time.time_ns() // 1000 if now_unix_us is None else now_unix_us
    entries = {endpoint: read_current(root, tenant, endpoint) for endpoint in endpoints}
    removal = plan_removal(entries, options, now)
    swept = Swept()
    for endpoint in {each.endpoint for each in removal} if not is_trial else ():
        days = {(each.kind, each.day) for each in removal if each.endpoint == endpoint}
        with keep_up(root, tenant, endpoint, wait_s=wait_s):
            _remove_days(root, tenant, endpoint, days, now)
            one = sweep(root, tenant, endpoint, grace_s=options.grace_s)
        swept = Swept(
            files=swept.files + one.files,
            bytes=swept.bytes + one.bytes,
            entries=swept.entries + one.entries,
            waiting=swept.waiting + one.waiting,
        )
    gone = {(each.endpoint, each.kind, each.day) for each in removal}
    left = [
        (endpoint, file)
        for endpoint, found in entries.items()
        for entry in found
        for file in entry.files
        if (endpoint, file.kind, _day(file)) not in gone
    ]
    return Retained(
        removed=tuple(removal),
        oldest_day=min((_day(file) for _, file in left), default=None),
        bytes=sum(file.bytes for _, file in left if file.kind in options.kinds),
        swept=swept,
    )


def plan_removal(
    entries: Mapping[str, Sequence[Entry]], options: RetentionOptions, now_unix_us: int
) -> list[RemovedDay]:
    """Returns the days that are to be removed, the oldest first.

    Args:
        entries: current entries, by endpoint.
        options: what is kept.
        now_unix_us: the present.
    """
    days = _sum_days(entries, options.kinds)
    today = day_of(now_unix_us)
    too_old = "" if options.max_age_s is None else day_of(now_unix_us - int(options.max_age_s * 1e6))
    left = sum(day.bytes for day in days)
    removal: list[RemovedDay] = []
    for date, group in groupby(days, key=lambda day: day.day):
        is_too_much = options.max_bytes is not None and left > options.max_bytes
        if date < today and (date < too_old or is_too_much):
            gone = list(group)
            removal += gone
            left -= sum(day.bytes for day in gone)
    return removal


def _sum_days(entries: Mapping[str, Sequence[Entry]], kinds: Collection[str]) -> list[RemovedDay]:
    rows: dict[tuple[str, str, str], int] = defaultdict(int)
    sizes: dict[tuple[str, str, str], int] = defaultdict(int)
    for endpoint, found in entries.items():
        for file in (file for entry in found for file in entry.files if file.kind in kinds):
            key = _day(file), endpoint, file.kind
            rows[key] += file.rows
            sizes[key] += file.bytes
    return sorted(
        RemovedDay(day=day, endpoint=endpoint, kind=kind, rows=rows[day, endpoint, kind], bytes=size)
        for (day, endpoint, kind), size in sizes.items()
    )


def _remove_days(root: ArchiveRoot, tenant: str, endpoint: str, days: Collection[tuple[str, str]], now: int) -> None:
    # Read again: what was merged since the plan was made has other files, of the same days.
    for entry in read_current(root, tenant, endpoint):
        gone = [file for file in entry.files if (file.kind, _day(file)) in days]
        if not gone:
            continue
        notes = [
            Note(kind="retention", at_unix_us=now, rows=sum(file.rows for file in gone if file.kind == kind), text=kind)
            for kind in sorted({file.kind for file in gone})
        ]
        kept = tuple(file for file in entry.files if file not in gone)
        put_entry(root, tenant, endpoint, replace(entry, files=kept, notes=(*entry.notes, *notes)))


def _day(file: ArchivedFile) -> str:
    return file.path.split("/")[-2].removeprefix("day=")

"""Removes a subject's rows from an archive, and lets the streams be rid of the messages that they came in.

First everything is found, and nothing changed. Then the messages are noted in `_manifest/undeleted.json`, so that no
crash forgets them; then the files are written anew without the rows, what came of the requests first and the requests
last, so that a crash leaves what the next attempt is found by. `forget_messages` deletes the messages.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rendezvous_sdk.archive.durable import put_bytes
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, file_name, manifest_folder
from rendezvous_sdk.archive.manifest import (
    ArchivedFile,
    ArchiveError,
    Entry,
    Note,
    put_entry,
    read_current,
)
from rendezvous_sdk.archive.schema import is_signature_field

from rendezvous_router.archive.rewriting import filtered, read_groups, write_groups
from rendezvous_router.archive.subject import (
    Found,
    Message,
    Subject,
    affected_rows,
    find_requests,
    needed_columns,
    read_columns,
    sequence_column,
)
from rendezvous_router.archive.sweeping import keep_up, sweep

__all__ = ["SETTLE_S", "Forgotten", "forget", "read_undeleted", "write_undeleted"]

SETTLE_S = 600.0
"""Age from which nothing more comes of a request: its deadline and five deliveries to a hung model are over."""

_UNDELETED = "undeleted.json"
_REQUESTS = ("inputs", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was removed of one endpoint, or would be."""

    endpoint: str
    """The endpoint."""
    requests: int
    """Requests that were the subject's, altogether or in some rows."""
    rows: dict[str, int]
    """Rows removed, by kind; decisions that lost some of their values count too."""
    files: int
    """Files written anew."""
    young: int
    """Requests that were left: what comes of them may not be archived yet."""
    messages: int
    """Messages of the streams that hold something of the subject."""

    @property
    def total_rows(self) -> int:
        """Rows of all kinds."""
        return sum(self.rows.values())


@dataclass(frozen=True, slots=True)
class _Task:
    """A file that has rows of the subject."""

    entry: Entry
    file: ArchivedFile
    rows: int


def forget(
    root: ArchiveRoot,
    tenant: str,
    endpoint: str,
    subject: Subject,
    *,
    is_trial: bool = False,
    settle_s: float = SETTLE_S,
    archived_until_unix_us: int | None = None,
    grace_s: float = 0.0,
    wait_s: float = 60.0,
) -> Forgotten:
    """Removes a subject's rows from the files, and notes the messages that hold them as yet to be deleted.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        subject: whom to forget.
        is_trial: only say what would be removed.
        settle_s: younger requests are left, seconds.
        archived_until_unix_us: what was stored before is archived, microseconds since 1970-01-01 UTC; None: everything
            is. Requests that were stored later than *settle_s* before that are left.
        grace_s: how long the files with the rows stay for those who read them, seconds.
        wait_s: how long to wait for another process that keeps the archive up, seconds.

    Raises:
        ArchiveLockedError: another process keeps the archive up.
        ArchiveError, OSError: the archive cannot be read or written. Another attempt finds what is left.
    """
    with keep_up(root, tenant, endpoint, wait_s=wait_s):
        entries = read_current(root, tenant, endpoint)
        now = time.time_ns() // 1000
        settled = min(now, archived_until_unix_us or now) - int(settle_s * 1e6)
        found = find_requests(root, entries, subject, settled_before_unix_us=settled)
        tasks, messages = _plan(root, entries, found)
        if tasks and not is_trial:
            pending = read_undeleted(root, tenant, endpoint)
            write_undeleted(root, tenant, endpoint, sorted({*pending, *messages}))
            _rewrite(root, tenant, endpoint, tasks, found)
        if not is_trial:
            sweep(root, tenant, endpoint, grace_s=grace_s)
    rows: Counter[str] = Counter()
    for task in tasks:
        rows[task.file.kind] += task.rows
    return Forgotten(
        endpoint=endpoint,
        requests=found.requests,
        rows=dict(sorted(rows.items())),
        files=len(tasks),
        young=len(found.young),
        messages=len(messages),
    )


def read_undeleted(root: ArchiveRoot, tenant: str, endpoint: str) -> list[Message]:
    """Returns the messages of forgotten rows that the streams may still have, in order."""
    try:
        with root.filesystem.open_input_file(root.at(_undeleted_path(tenant, endpoint))) as stream:
            return sorted(Message(*each) for each in json.loads(stream.read()))
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{_UNDELETED} of {endpoint} is damaged: {error}: restore it, or delete it") from error


def write_undeleted(root: ArchiveRoot, tenant: str, endpoint: str, messages: Sequence[Message]) -> None:
    """Replaces the list of messages that are yet to be deleted."""
    told = [[each.source, each.generation, each.sequence, each.stored_unix_us] for each in messages]
    put_bytes(root, _undeleted_path(tenant, endpoint), json.dumps(told).encode() + b"\n")


def _undeleted_path(tenant: str, endpoint: str) -> str:
    return f"{manifest_folder(tenant, endpoint)}/{_UNDELETED}"


def _plan(root: ArchiveRoot, entries: Sequence[Entry], found: Found) -> tuple[list[_Task], set[Message]]:
    """Returns the files that have rows of the subject, requests last, and the messages that the rows came in."""
    tasks: list[_Task] = []
    messages: set[Message] = set()
    if not found.requests and not found.keys:
        return tasks, messages
    for entry in entries:
        for file in entry.files:
            rows = 0
            for table in read_columns(root, file, needed_columns(file.kind)):
                removed, changed = affected_rows(file.kind, table, found)
                hits = table.filter(pa.array(removed | changed))
                rows += hits.num_rows
                messages.update(_messages(entry, file.kind, hits))
            if rows:
                tasks.append(_Task(entry, file, rows))
    return sorted(tasks, key=lambda task: task.file.kind in _REQUESTS), messages


def _messages(entry: Entry, kind: str, hits: pa.Table) -> Iterator[Message]:
    if entry.source not in (DURABLE, SCORES):
        return  # a replay's scores came in no stream
    sequences, stored = hits[sequence_column(kind)].to_pylist(), hits["stored_at"].cast(pa.int64()).to_pylist()
    for sequence, at in zip(sequences, stored, strict=True):
        yield Message(entry.source, entry.generation, sequence, at)


def _rewrite(root: ArchiveRoot, tenant: str, endpoint: str, tasks: Sequence[_Task], found: Found) -> None:
    now = time.time_ns() // 1000
    for is_last in (False, True):
        chosen = [task for task in tasks if (task.file.kind in _REQUESTS) == is_last]
        for name in dict.fromkeys((task.entry.source, task.entry.name) for task in chosen):
            of_entry = [task for task in chosen if (task.entry.source, task.entry.name) == name]
            _rewrite_entry(root, tenant, endpoint, of_entry, found, now)


def _rewrite_entry(
    root: ArchiveRoot, tenant: str, endpoint: str, tasks: Sequence[_Task], found: Found, now: int
) -> None:
    named = tasks[0].entry
    # Read again: the first round may have replaced it.
    current = read_current(root, tenant, endpoint, [named.source])
    entry = next(each for each in current if each.name == named.name)
    files = {file.path: file for file in entry.files}
    for place, task in enumerate(tasks):
        written = _write_without(root, entry, task.file, found, f"f{now:x}-{place}")
        del files[task.file.path]
        if written is not None:
            files[written.path] = written
    rows: Counter[str] = Counter()
    for task in tasks:
        rows[task.file.kind] += task.rows
    notes = tuple(Note(kind="forget", at_unix_us=now, rows=count, text=kind) for kind, count in sorted(rows.items()))
    put_entry(root, tenant, endpoint, replace(entry, files=tuple(files.values()), notes=(*entry.notes, *notes)))


def _write_without(root: ArchiveRoot, entry: Entry, file: ArchivedFile, found: Found, part: str) -> ArchivedFile | None:
    def keep(table: pa.Table) -> pa.Table:
        removed, changed = affected_rows(file.kind, table, found)
        if changed.any():
            table = _blank_values(table, np.flatnonzero(changed).tolist(), found)
        return table.filter(pa.array(~removed))

    name = file_name(entry.source, entry.generation, entry.first, entry.last, f"{part}-{file.kind}")
    relative = f"{file.path.rpartition('/')[0]}/{name}"
    return write_groups(root, relative, file.kind, filtered(read_groups(root, [file]), keep))


def _blank_values(table: pa.Table, places: Sequence[int], found: Found) -> pa.Table:
    """Returns decisions without the outputs of the subject's rows: they become null, so that the others keep theirs."""
    pieces, done = [], 0
    for place in places:
        pieces += [table.slice(done, place - done), _blank_one(table.slice(place, 1), found)]
        done = place + 1
    return pa.concat_tables([*pieces, table.slice(done)])


def _blank_one(row: pa.Table, found: Found) -> pa.Table:
    gone = found.parts[row["request_id"][0].as_py()]
    for place, column in enumerate(row.schema):
        if not is_signature_field(column) or not row[column.name][0].is_valid:
            continue
        values = row[column.name].combine_chunks().flatten()
        keep = pa.array([number not in gone for number in range(len(values))], pa.bool_())
        blanked = pc.if_else(keep, values, pa.nulls(len(values), values.type))
        row = row.set_column(place, column, pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), blanked))
    return row

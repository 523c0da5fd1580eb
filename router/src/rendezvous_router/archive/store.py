"""Writes batches into an archive: the files first, durably, then the manifest entry that makes them part of it.

A crash before the entry leaves files that nothing names; they are removed when the writer opens the store again. A
crash after it loses nothing: the entry says up to where the source is archived.

Source: ADR 0021.
"""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from rendezvous_sdk.archive.durable import make_folders, put_bytes
from rendezvous_sdk.archive.layout import (
    ArchiveRoot,
    Generation,
    day_of,
    endpoint_folder,
    file_name,
    kind_folder,
    manifest_folder,
    parse_file_name,
)
from rendezvous_sdk.archive.manifest import (
    ArchivedFile,
    ArchiveError,
    Entry,
    EntryRange,
    list_ranges,
    put_entry,
    read_entry,
    select_current,
)
from rendezvous_sdk.archive.schema import schema_id

__all__ = ["ArchiveLockedError", "ArchiveStore", "Batch", "take_lock", "to_parquet"]

_DAY_US = 86_400_000_000
_LEVEL = 1


class ArchiveLockedError(ArchiveError):
    """Another process writes this part of the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one manifest entry will cover."""

    generation: Generation
    """Of the source."""
    first: int
    """First sequence."""
    last: int
    """Last sequence."""
    last_stored_unix_us: int
    """When its last message was stored; 0: all of it was deleted."""
    messages: int
    """Messages in it."""
    tables: Sequence[tuple[str, pa.Table]]
    """(kind, rows): rows have a column `stored_at`. One kind may come several times, with other columns."""
    deleted: tuple[tuple[int, int], ...] = ()
    """Ranges that were no longer in the stream."""


class ArchiveStore:
    """The one writer of a source of an endpoint. Not thread-safe; blocks: call it from a thread.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        source: `DURABLE`, `SCORES` or `replay_source(run)`.

    Raises:
        ArchiveLockedError: another process writes it (local roots; on an object store nobody can tell).
        ArchiveError, OSError: it cannot be read.
    """

    def __init__(self, root: ArchiveRoot, tenant: str, endpoint: str, source: str) -> None:
        self.root = root
        self.tenant = tenant
        self.endpoint = endpoint
        self.source = source
        self._lock = take_lock(root, f"{manifest_folder(tenant, endpoint, source)}/.lock")
        try:
            self._last = {each.generation: each for each in sorted(self.ranges, key=lambda each: each.last)}
            self._remove_leftovers()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process write."""
        if self._lock is not None:
            self._lock.close()

    @property
    def ranges(self) -> list[EntryRange]:
        """What is archived, in order: the ranges of the current entries, listed anew."""
        return select_current(list_ranges(self.root, self.tenant, self.endpoint, self.source))

    @property
    def last_range(self) -> EntryRange | None:
        """Where the newest generation ends; None: nothing is archived."""
        return max(self._last.values(), key=lambda each: Generation.parse(each.generation), default=None)

    @property
    def generations(self) -> list[Generation]:
        """Generations of which something is archived, in order."""
        return sorted(map(Generation.parse, self._last))

    def last_of(self, generation: str) -> EntryRange | None:
        """Returns the last range of a generation; None: nothing of it is archived."""
        return self._last.get(generation)

    def read(self, archived: EntryRange) -> Entry:
        """Returns the entry of a range; where it was superseded meanwhile, the one that covers its end.

        Raises:
            ArchiveError: there is none, or it cannot be read.
        """
        try:
            return read_entry(self.root, self.tenant, self.endpoint, self.source, archived.name)
        except FileNotFoundError:
            for each in self.ranges:
                if each.generation == archived.generation and each.first <= archived.last <= each.last:
                    return read_entry(self.root, self.tenant, self.endpoint, self.source, each.name)
        raise ArchiveError(
            f"the manifest lost its entry {archived.name}: restore it, or see `rendezvous archive verify`"
        )

    def write_batch(self, batch: Batch) -> Entry:
        """Writes a batch: when this returns, it is durable, and part of the archive.

        Args:
            batch: the batch; it must follow the last one without a gap, or begin a later generation.

        Returns:
            The entry that was put.

        Raises:
            ArchiveError: the batch does not follow.
            OSError: it could not be written; nothing of it belongs to the archive (or, where only the last flush
                failed, all of it). Opening the store anew tells, and removes what is left over.
        """
        self._check_follows(batch)
        files: list[ArchivedFile] = []
        for kind, table in batch.tables:
            for part in split_by_day(table):
                files.append(self._write_file(batch, kind, part, len(files)))
        entry = Entry(
            source=self.source,
            generation=str(batch.generation),
            first=batch.first,
            last=batch.last,
            last_stored_unix_us=batch.last_stored_unix_us,
            messages=batch.messages,
            deleted=batch.deleted,
            files=tuple(files),
        )
        put_entry(self.root, self.tenant, self.endpoint, entry)
        self._last[entry.generation] = entry.range
        return entry

    def _check_follows(self, batch: Batch) -> None:
        last = self.last_of(str(batch.generation))
        expected = batch.generation.begin if last is None else last.last + 1
        if batch.first != expected or batch.last < batch.first:
            raise ArchiveError(
                f"{self.source} of {endpoint_folder(self.tenant, self.endpoint)}: sequences {batch.first} to "
                f"{batch.last} of generation {batch.generation} do not follow: {expected} is next"
            )

    def _write_file(self, batch: Batch, kind: str, table: pa.Table, number: int) -> ArchivedFile:
        earliest, latest = _stored_range(table)
        name = file_name(self.source, str(batch.generation), batch.first, batch.last, str(number))
        path = f"{kind_folder(self.tenant, self.endpoint, kind)}/day={day_of(earliest)}/{name}"
        content = to_parquet(table)
        put_bytes(self.root, path, content)
        return ArchivedFile(
            path=path,
            kind=kind,
            rows=table.num_rows,
            bytes=content.size,
            schema_id=schema_id(table.schema),
            from_stored_unix_us=earliest,
            to_stored_unix_us=latest,
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def _remove_leftovers(self) -> None:
        """Removes files of this source that lie after its last entry: a crash left them before their entry."""
        selector = pafs.FileSelector(
            self.root.at(endpoint_folder(self.tenant, self.endpoint)), recursive=True, allow_not_found=True
        )
        for each in self.root.filesystem.get_file_info(selector):
            name = each.base_name
            if name.startswith(".") and name.endswith(".tmp"):
                name = name[1:-4]
            parsed = parse_file_name(name)
            if parsed is None or parsed[0] != self.source:
                continue
            last = self.last_of(parsed[1])
            if last is None or parsed[2] > last.last:
                self.root.filesystem.delete_file(each.path)


def split_by_day(table: pa.Table) -> list[pa.Table]:
    """Returns the rows of each UTC day of `stored_at`, by day; no table for no rows."""
    if not table.num_rows:
        return []
    days = _stored_us(table) // _DAY_US
    if days.min() == days.max():
        return [table]
    return [table.filter(pa.array(days == day)) for day in np.unique(days)]


def to_parquet(table: pa.Table) -> pa.Buffer:
    """Returns a table as the bytes of a Parquet file, as this archive writes them."""
    sink = pa.BufferOutputStream()
    texts = [each.name for each in table.schema if pa.types.is_string(each.type)]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=texts or False,
        write_page_checksum=True,
    )
    return sink.getvalue()


def take_lock(root: ArchiveRoot, relative: str, *, shared: bool = False) -> IO[str] | None:
    """Takes the lock of a local file until it is closed; None where the root is not local.

    Args:
        root: the archive.
        relative: the file, relative to the root; it is made.
        shared: others may have it, too, who share it.

    Raises:
        ArchiveLockedError: another process has it.
    """
    if not root.is_local:
        return None
    path = Path(root.at(relative))
    make_folders(str(path.parent))
    lock = path.open("a+")
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise ArchiveLockedError(
            f"{path.parent} is being written by another process ({owner}): it has one writer"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _stored_us(table: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    stored: np.ndarray[tuple[int], np.dtype[np.int64]] = table["stored_at"].cast(pa.int64()).to_numpy()
    return stored


def _stored_range(table: pa.Table) -> tuple[int, int]:
    ends = pc.min_max(table["stored_at"].cast(pa.int64())).as_py()
    return ends["min"], ends["max"]

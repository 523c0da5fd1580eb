"""The archive's files: one folder of Parquet files per endpoint, written by one process, durable file by file.

`<archive>/<endpoint>/input/<first>-<last>.parquet` holds parcels by their stream sequence; `_stream.json` beside them
says of which stream. A file is written under a temporary name, flushed, renamed, and its folder flushed: it is
there in full or not at all. What is not a Parquet file has a name that Arrow's datasets pass over (`.`, `_`).
"""

import bisect
import contextlib
import fcntl
import functools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        pa.field("stream_sequence", pa.int64(), nullable=False),
        pa.field("parcel_id", pa.string(), nullable=False),
        pa.field("stored_unix_us", pa.int64(), nullable=False),
        pa.field("request_ids", pa.list_(pa.string()), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("headers", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
"""Columns of an archive file."""

_IDENTITY = "_stream.json"
_LOCK = "decoy.lock"
_TEMPORARY = ".writing"
_FILES_REMEMBERED = 8


class ArchiveError(RuntimeError):
    """The archive cannot be used; the message names the folder or file and says why."""


class ArchiveLockedError(ArchiveError):
    """Another process archives this endpoint into this folder."""


class SequenceReusedError(ArchiveError):
    """The stream holds another message under an archived sequence: it lost its end and went on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedParcel:
    """One row of an archive file."""

    stream_sequence: int
    """Place in the endpoint's durable stream."""
    parcel_id: str
    """The parcel's id; empty when the payload is no parcel."""
    stored_unix_us: int
    """When the server stored it, microseconds since 1970-01-01 UTC."""
    request_ids: tuple[str, ...]
    """Its requests, in order."""
    rows: int
    """Rows of its frame."""
    payload: bytes
    """The message, byte for byte."""
    headers: tuple[tuple[str, str], ...] = ()
    """The message's headers."""


class ArchiveFolder:
    """The archive of one endpoint's inputs, opened for writing; one process at a time.

    Args:
        archive: the archive's root folder.
        endpoint: the endpoint.
        stream_identity: what tells the endpoint's stream from another of the same name (when it was made).
            Files of another stream are moved aside, to `input.<time>`, for their sequences mean other parcels.

    Raises:
        ArchiveLockedError: another process writes here.
    """

    def __init__(self, archive: Path, endpoint: str, stream_identity: str) -> None:
        self.path = archive / endpoint / "input"
        self.path.mkdir(parents=True, exist_ok=True)
        self._identity = stream_identity
        self._lock = _take_lock(archive / endpoint / _LOCK)
        if self._read_identity() not in ("", stream_identity):
            self._move_aside()
        self._write_identity()
        for leftover in self.path.glob(f".*{_TEMPORARY}"):
            leftover.unlink()
        self._index = FileIndex(list_files(self.path))

    @property
    def last_sequence(self) -> int:
        """The highest archived sequence; 0 when nothing is archived."""
        return self._index.last

    def holds(self, sequence: int, stored_unix_us: int) -> bool:
        """Returns whether a message is archived.

        Raises:
            SequenceReusedError: another message is archived under its sequence.
            ArchiveError: the file that should tell cannot be read.
        """
        for path in self._index.find(sequence):
            stored = _stored_by_sequence(path).get(sequence)
            if stored is not None and stored != stored_unix_us:
                raise SequenceReusedError(f"{path}: sequence {sequence} was archived with other content")
            if stored is not None:
                return True
        return False

    def write(self, parcels: Sequence[ArchivedParcel]) -> Path:
        """Writes parcels as one file; they are on the disk when this returns, and held once `add` was called.

        May run in another thread, one call at a time.

        Args:
            parcels: at least one, none of them archived already.

        Raises:
            OSError: the disk is full or failing; nothing was added then.
        """
        ordered = sorted(parcels, key=lambda parcel: parcel.stream_sequence)
        first, last = ordered[0].stream_sequence, ordered[-1].stream_sequence
        path = self.path / f"{first}-{last}.parquet"
        if path.exists():
            raise ArchiveError(f"{path} is there already: sequences are archived once")
        _write_durably(path, _to_table(ordered))
        return path

    def add(self, path: Path) -> None:
        """Takes note of a file that `write` wrote."""
        self._index.add(*_range_of(path), path)

    def start_anew(self) -> None:
        """Moves what is archived aside; the folder is empty then."""
        self._move_aside()
        self._write_identity()
        self._index = FileIndex([])

    def close(self) -> None:
        """Lets another process write."""
        self._lock.close()

    def _read_identity(self) -> str:
        try:
            return str(json.loads((self.path / _IDENTITY).read_text())["created"])
        except FileNotFoundError:
            return ""
        except (json.JSONDecodeError, KeyError) as error:
            raise ArchiveError(f"{self.path / _IDENTITY} cannot be read: {error}") from error

    def _write_identity(self) -> None:
        if self._read_identity() == "":
            text = json.dumps({"created": self._identity}) + "\n"
            _write_bytes_durably(self.path / _IDENTITY, text.encode())

    def _move_aside(self) -> None:
        self.path.rename(self.path.with_name(f"input.{time.time_ns() // 1000}"))
        self.path.mkdir()
        _flush_folder(self.path.parent)
        _stored_by_sequence.cache_clear()


class FileIndex:
    """Which files may hold a sequence, by the ranges in their names (ranges may overlap)."""

    def __init__(self, files: Sequence[tuple[int, int, Path]]) -> None:
        self._files = sorted(files)
        self._reach: list[int] = []
        self._measure(0)

    @property
    def last(self) -> int:
        """Highest last sequence; 0 without files."""
        return self._reach[-1] if self._reach else 0

    def add(self, first: int, last: int, path: Path) -> None:
        """Adds a file."""
        place = bisect.bisect(self._files, (first, last, path))
        self._files.insert(place, (first, last, path))
        self._measure(place)

    def find(self, sequence: int) -> list[Path]:
        """Returns the files whose range covers a sequence."""
        found = []
        place = bisect.bisect_right(self._files, sequence, key=lambda file: file[0]) - 1
        # No file further to the left reaches the sequence once the reach so far does not.
        while place >= 0 and self._reach[place] >= sequence:
            if self._files[place][1] >= sequence:
                found.append(self._files[place][2])
            place -= 1
        return found

    def _measure(self, start: int) -> None:
        del self._reach[start:]
        reach = self._reach[-1] if self._reach else 0
        for _, last, _ in self._files[start:]:
            reach = max(reach, last)
            self._reach.append(reach)


def list_files(folder: Path) -> list[tuple[int, int, Path]]:
    """Returns (first, last, path) of the archive files in a folder, by their names, in order.

    Raises:
        ArchiveError: a Parquet file has another name.
    """
    return sorted((*_range_of(path), path) for path in folder.glob("*.parquet"))


def _range_of(path: Path) -> tuple[int, int]:
    first, _, last = path.stem.partition("-")
    if not (first.isdigit() and last.isdigit()):
        raise ArchiveError(f"{path}: expected a name like 17-42.parquet; move the file elsewhere")
    return int(first), int(last)


def _take_lock(path: Path) -> IO[str]:
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise ArchiveLockedError(
            f"{path.parent} is being written by another decoy (process {owner}): one archive, one writer"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _to_table(parcels: Sequence[ArchivedParcel]) -> pa.Table:
    columns = [[getattr(parcel, name) for parcel in parcels] for name in SCHEMA.names]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _write_durably(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write_bytes_durably(path, sink.getvalue())


def _write_bytes_durably(path: Path, content: bytes | pa.Buffer) -> None:
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.lru_cache(_FILES_REMEMBERED)
def _stored_by_sequence(path: Path) -> dict[int, int]:
    try:
        table = pq.read_table(path, columns=["stream_sequence", "stored_unix_us"])
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"{path} cannot be read: {error}; move it elsewhere to archive it anew") from error
    columns = (table["stream_sequence"].to_pylist(), table["stored_unix_us"].to_pylist())
    return dict(zip(*columns, strict=True))

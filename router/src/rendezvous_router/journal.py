"""Decisions on the local disk until JetStream has them, so that the death of a router's process loses none.

A decision is noted before its answer leaves. The file is not flushed: what was written outlives the process that wrote
it, though not the machine. The next router that starts with the folder writes what a dead one left, once.

A file is a sequence of entries, `<length, CRC-32>` and as many bytes of msgpack; a torn end is passed over.
"""

import contextlib
import fcntl
import logging
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_log = logging.getLogger(__name__)

_HEAD = struct.Struct("<II")
_SUFFIX = ".journal"
_FRESH = ".fresh"
_TIDY_BYTES = 1 << 20
"""Size from which a file is replaced by one without what JetStream has, if that is less than half of it."""
_RETRY_S = 1.0
"""Pause before a disk that refused is tried again."""


class _Note(msgspec.Struct, array_like=True):
    """One entry: a part of a batch, or, without one, that JetStream has the batch."""

    batch_id: str
    endpoint: str = ""
    part: bytes = b""


@dataclass(slots=True)
class LeftBatch:
    """A batch that a dead router had not seen acknowledged."""

    batch_id: str
    """Its `Nats-Msg-Id`."""
    endpoint: str
    """Whose decisions it holds."""
    parts: list[bytes] = field(default_factory=list)
    """Serialized `DecisionBatch`es; joined they are one."""


class Journal:
    """The journal of one router's life. Not thread-safe.

    Args:
        folder: where journals are; made when missing, for its owner only.
        router: id of the router's life.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, router: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"{router}{_SUFFIX}"
        self._file = _open_locked(self.path)
        self._encoder = msgspec.msgpack.Encoder()
        self._notes: list[bytes] = []
        self._open: dict[str, list[bytes]] = {}
        self._open_bytes = self._size = 0
        self._failed_at = 0.0

    def note(self, batch_id: str, endpoint: str, part: bytes) -> None:
        """Takes a part of a batch; it is on the disk after `write`."""
        entry = self._entry(_Note(batch_id, endpoint, part))
        self._open.setdefault(batch_id, []).append(entry)
        self._open_bytes += len(entry)
        self._notes.append(entry)

    def strike(self, batch_id: str) -> None:
        """Takes note that JetStream has a batch."""
        self._open_bytes -= sum(map(len, self._open.pop(batch_id, ())))
        self._notes.append(self._entry(_Note(batch_id)))
        self.write()

    def write(self) -> None:
        """Writes what was noted. A disk that refuses costs the journal, not the answers; that is logged once."""
        notes, self._notes = b"".join(self._notes), []
        if self._failed_at and time.monotonic() - self._failed_at < _RETRY_S:
            return
        try:
            # A write that failed may have left half an entry, behind which nothing would be found.
            if self._failed_at or self._size > max(_TIDY_BYTES, 2 * self._open_bytes):
                self._begin_anew()
            else:
                _write_all(self._file, notes)
                self._size += len(notes)
        except OSError as error:
            if not self._failed_at:
                _log.error("decisions are not kept in %s for now: %s", self.path, error)
            self._failed_at = time.monotonic()
            return
        if self._failed_at:
            _log.info("decisions are kept in %s again", self.path)
        self._failed_at = 0.0

    def close(self) -> None:
        """Ends it; the file goes if JetStream has everything."""
        self.write()
        if not self._open:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _begin_anew(self) -> None:
        """Replaces the file by one that has only what JetStream does not have yet."""
        kept = b"".join(entry for entries in self._open.values() for entry in entries)
        fresh = self.path.with_suffix(_FRESH)
        file = _open_locked(fresh)
        try:
            _write_all(file, kept)
            fresh.rename(self.path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._size = file, len(kept)

    def _entry(self, note: _Note) -> bytes:
        content = self._encoder.encode(note)
        return _HEAD.pack(len(content), zlib.crc32(content)) + content


class LeftJournal:
    """The journal of a dead router, held by whoever opened it.

    Args:
        path: its file.
        file: the open and locked file.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file

    def batches(self) -> list[LeftBatch]:
        """Returns what JetStream may not have, in the order in which it was begun."""
        left: dict[str, LeftBatch] = {}
        for note in _read(_content(self._file)):
            if note.part:
                left.setdefault(note.batch_id, LeftBatch(note.batch_id, note.endpoint)).parts.append(note.part)
            else:
                left.pop(note.batch_id, None)
        return list(left.values())

    def remove(self) -> None:
        """Removes the file: JetStream has everything."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._file)


def find_left(folder: Path) -> list[LeftJournal]:
    """Returns the journals whose routers are dead, the oldest first, each locked against others that look."""
    for path in folder.glob(f"*{_FRESH}"):
        file = _lock_dead(path)
        if file is not None:  # its router died before the file took its journal's place, which is still there
            path.unlink(missing_ok=True)
            os.close(file)
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}"), key=_written_at):
        file = _lock_dead(path)
        if file is not None:
            found.append(LeftJournal(path, file))
    return found


def _lock_dead(path: Path) -> int | None:
    """Opens and locks a file that nobody has; None: its router lives, or the file is gone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    if not _is_at(file, path):  # its living router has begun another one
        os.close(file)
        return None
    return file


def _is_at(file: int, path: Path) -> bool:
    """Returns whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _open_locked(path: Path) -> int:
    """Opens a file anew for writing; the lock tells the living from the dead."""
    while True:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever looks for the dead holds it for a moment, and may remove it
        if _is_at(file, path):
            return file
        os.close(file)


def _write_all(file: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(file, content[written:])


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _written_at(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _read(content: bytes) -> Iterator[_Note]:
    decoder = msgspec.msgpack.Decoder(_Note)
    place = 0
    while place + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, place)
        entry = content[place + _HEAD.size : place + _HEAD.size + length]
        if not length or len(entry) < length or zlib.crc32(entry) != checksum:
            return  # the process died while it wrote this, or the machine, which leaves zeros
        yield decoder.decode(entry)
        place += _HEAD.size + length

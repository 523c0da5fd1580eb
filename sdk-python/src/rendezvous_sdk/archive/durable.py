"""Files of an archive that appear whole, and durably, or not at all.

Locally: a temporary file, flushed, renamed, its folder flushed. On an object store: one upload. Elsewhere (HDFS): a
temporary file, moved.
"""

import contextlib
import os
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

import pyarrow as pa

from rendezvous_sdk.archive.layout import ArchiveRoot

__all__ = ["DurableSink", "flush_folder", "make_folders", "put_bytes"]

_PIECE_BYTES = 256 << 10
"""Flushed at once: nats-server's own flushes on the same disk, for which answers wait, come in between."""
_TEMPORARY = ".tmp"
_OBJECT_STORES = ("s3", "gcs", "abfs")


class DurableSink:
    """A file that appears whole, and durably, when the `with` block ends without an error; else not at all.

    On an object store what was sent before an error stays an unfinished upload, of which the store knows by itself.

    Args:
        root: the archive.
        relative: where, relative to the root; folders are made.
    """

    def __init__(self, root: ArchiveRoot, relative: str) -> None:
        self._root = root
        self._path = root.at(relative)
        folder, _, name = self._path.rpartition("/")
        self._folder = folder
        # Object stores show nothing before the upload is complete; others rename.
        self._is_renamed = root.filesystem.type_name not in _OBJECT_STORES
        self._writes_to = f"{folder}/.{name}{_TEMPORARY}" if self._is_renamed else self._path
        self.stream: Any = None

    def __enter__(self) -> Self:
        if self._root.is_local:
            make_folders(self._folder)
            self.stream = _InPieces(self._writes_to)
            return self
        if self._is_renamed:
            self._root.filesystem.create_dir(self._folder)
        self.stream = self._root.filesystem.open_output_stream(self._writes_to)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self.stream.close()
            if self._root.is_local:
                os.replace(self._writes_to, self._path)
        except OSError:
            self._abandon()
            raise
        if self._root.is_local:
            flush_folder(self._folder)
        elif self._is_renamed:
            self._root.filesystem.move(self._writes_to, self._path)

    def _abandon(self) -> None:
        abort = getattr(self.stream, "abort", None)
        if abort is not None:
            abort()
            return
        with contextlib.suppress(OSError):
            self.stream.close()
        with contextlib.suppress(OSError):
            self._root.filesystem.delete_file(self._writes_to)


class _InPieces:
    """A local file that is flushed piece by piece, and in full once it is closed."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115 # closed by `close`
        self._unflushed = 0

    def write(self, content: Any) -> int:
        whole = memoryview(content).cast("B")
        written = 0
        while written < len(whole):
            done = self._file.write(whole[written : written + _PIECE_BYTES - self._unflushed])
            written, self._unflushed = written + done, self._unflushed + done
            if self._unflushed >= _PIECE_BYTES:
                self._flush_piece()
        return written

    def flush(self) -> None:
        """Nothing is held back; the disk has it piece by piece, and all of it when the file is closed."""

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self._flush_piece()
        finally:
            self._file.close()

    def _flush_piece(self) -> None:
        os.fsync(self._file.fileno())
        self._unflushed = 0


def put_bytes(root: ArchiveRoot, relative: str, content: "bytes | pa.Buffer") -> None:
    """Writes a file durably and at once: no reader and no crash sees half of it.

    Args:
        root: the archive.
        relative: where, relative to the root; folders are made.
        content: the bytes.

    Raises:
        OSError: it could not be written.
    """
    with DurableSink(root, relative) as sink:
        sink.stream.write(content)


def flush_folder(folder: str) -> None:
    """Flushes a local folder: what was renamed into it stays there after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: str) -> None:
    """Makes a local folder and those above it; each new one is flushed into the one above."""
    if os.path.isdir(folder):
        return
    above = str(PurePosixPath(folder).parent)
    make_folders(above)
    os.makedirs(folder, exist_ok=True)
    flush_folder(above)

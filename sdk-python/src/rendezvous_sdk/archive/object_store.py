"""Lets DuckDB read whatever file system Arrow reaches, with its own Parquet reader: only the bytes that it asks for."""

import threading
from typing import Any

import pyarrow.fs as pafs
from fsspec.implementations.arrow import ArrowFSWrapper

from rendezvous_sdk.archive.sql_text import SCHEME

__all__ = ["ArchiveFiles"]


class ArchiveFiles(ArrowFSWrapper):  # type: ignore[misc] # fsspec has no types
    """An Arrow file system as fsspec knows file systems; read-only.

    Args:
        filesystem: the file system.
    """

    protocol = SCHEME.removesuffix("://")
    cachable = False

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        super().__init__(filesystem)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(SCHEME)

    def open(self, path: str, mode: str = "rb", **_: Any) -> "ReadFile":
        """Opens a file for reading.

        Raises:
            PermissionError: it is to be written.
            OSError: it cannot be opened.
        """
        if mode != "rb":
            raise PermissionError(f"the archive is read only: {mode!r} is not 'rb'")
        return ReadFile(self.fs.open_input_file(self._strip_protocol(path)))


class ReadFile:
    """An open file. DuckDB's threads share it and seek before each read, so that each has a place of its own."""

    mode = "rb"

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size: int = file.size()
        self._place = threading.local()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._file.closed)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves this thread's place: from the begin (0), the place (1), or the end (2)."""
        self._place.at = offset + (0, self.tell(), self._size)[whence]
        return self.tell()

    def tell(self) -> int:
        """Returns this thread's place."""
        return getattr(self._place, "at", 0)

    def read(self, count: int = -1) -> bytes:
        """Reads from this thread's place; all that follows if *count* is negative."""
        place = self.tell()
        content: bytes = self._file.read_at(count if count >= 0 else self._size - place, place)
        self._place.at = place + len(content)
        return content

    def size(self) -> int:
        """Returns the file's size, bytes."""
        return self._size

    def close(self) -> None:
        """Closes it."""
        self._file.close()

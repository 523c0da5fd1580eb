"""Parquet files made of others: joined or filtered row group by row group, put durably and at once.

Memory is bounded by the largest row group, of which there are at most two at a time, whatever the files' sizes.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rendezvous_sdk.archive.durable import DurableSink
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, ArchiveError
from rendezvous_sdk.archive.schema import schema_id

__all__ = ["RowGroups", "filtered", "read_groups", "write_groups"]

ROW_GROUP_BYTES = 16 << 20
"""Size in memory from which rows become a row group."""
ROW_GROUP_ROWS = 1 << 17
"""Rows from which they do."""
_LEVEL = 3

RowGroups = Iterable[pa.Table]
"""Tables of one schema, in the order of their rows."""


class _Hashing:
    """Passes what is written on to a stream, and hashes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.closed = False

    def write(self, content: Any) -> int:
        self._hash.update(content)
        self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True  # the stream is its owner's to close

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@dataclass(slots=True)
class _Extent:
    """What was written so far."""

    rows: int = 0
    earliest: int | None = None
    latest: int | None = None

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        ends = pc.min_max(table["stored_at"].cast(pa.int64())).as_py()
        self.earliest = ends["min"] if self.earliest is None else min(self.earliest, ends["min"])
        self.latest = ends["max"] if self.latest is None else max(self.latest, ends["max"])


def read_groups(root: ArchiveRoot, files: Sequence[ArchivedFile]) -> Iterator[pa.Table]:
    """Yields the row groups of files of one schema, one after the other.

    Raises:
        ArchiveError: a file is missing or damaged, or has not as many rows as the manifest says.
    """
    for file in files:
        rows = 0
        try:
            with root.filesystem.open_input_file(root.at(file.path)) as source:
                parquet = pq.ParquetFile(source, pre_buffer=False)
                for number in range(parquet.num_row_groups):
                    table = parquet.read_row_group(number, use_threads=False)
                    rows += table.num_rows
                    yield table
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"{file.path} cannot be read: {error}: see `rendezvous archive verify`") from error
        if rows != file.rows:
            raise ArchiveError(f"{file.path} has {rows} rows, the manifest says {file.rows}: see `archive verify`")


def write_groups(root: ArchiveRoot, relative: str, kind: str, groups: RowGroups) -> ArchivedFile | None:
    """Writes rows as one file.

    Args:
        root: the archive.
        relative: path of the file, relative to the root.
        kind: of the rows.
        groups: at least one table, which may be empty; small ones are joined.

    Returns:
        The file; None where there was no row, and nothing was written.

    Raises:
        OSError: it could not be written; then it is not there.
    """
    joined = _join(groups)
    first = next(joined, None)
    if first is None:
        return None
    extent = _Extent()
    with DurableSink(root, relative) as sink:
        content = _Hashing(sink.stream)
        with _open_writer(pa.PythonFile(content, mode="w"), first.schema) as writer:
            for table in _chain(first, joined):
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                extent.add(table)
    assert extent.earliest is not None, "there is a row"
    assert extent.latest is not None, "there is a row"
    return ArchivedFile(
        path=relative,
        kind=kind,
        rows=extent.rows,
        bytes=root.filesystem.get_file_info(root.at(relative)).size,
        schema_id=schema_id(first.schema),
        from_stored_unix_us=extent.earliest,
        to_stored_unix_us=extent.latest,
        sha256=content.hexdigest(),
    )


def filtered(groups: RowGroups, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Yields what *keep* leaves of each table."""
    for table in groups:
        yield keep(table)


def _open_writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [each.name for each in schema if pa.types.is_string(each.type)]
    return pq.ParquetWriter(stream, schema, compression="zstd", compression_level=_LEVEL, use_dictionary=texts or False)


def _join(groups: RowGroups) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in groups:
        if not table.num_rows:
            continue
        waiting.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def _chain(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest

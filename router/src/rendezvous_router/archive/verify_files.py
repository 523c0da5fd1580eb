"""Reads the files that a manifest names, and finds those that are not what it says."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry
from rendezvous_sdk.archive.schema import has_schema_id

__all__ = ["FileReading", "joined"]

_NAMED = 100
Hashes = NDArray[np.uint64]


class _DamageError(Exception):
    """A file is not what the manifest says; the message tells how."""


class FileReading:
    """Reads files, and adds up what is in them."""

    def __init__(self, root: ArchiveRoot, *, deep: bool) -> None:
        self.files = 0
        self.parcels = 0
        self.rows: dict[str, int] = defaultdict(int)
        self.damaged: list[str] = []
        self.requests: list[Hashes] = []
        self.decided: list[Hashes] = []
        self._inputs: list[ArchivedFile] = []
        self._root = root
        self._deep = deep

    def read(self, entry: Entry) -> None:
        """Reads an entry's files."""
        sequences: list[NDArray[np.int64]] = []
        damaged = len(self.damaged)
        for file in entry.files:
            self.files += 1
            self.rows[file.kind] += file.rows
            try:
                table = self._open(file)
                found = _unique_sequences(table)
                _check_sequences(entry, found)
            except _DamageError as error:
                self.damaged.append(f"{file.path}: {error}")
                continue
            sequences.append(found)
            self._count(file, table)
        count = len(np.unique(joined(sequences)))
        # What was removed since leaves a note; without one, every message must have made a row.
        if count != entry.messages and not entry.notes and damaged == len(self.damaged):
            self.damaged.append(f"{entry.name}: its files hold {count} messages, it says {entry.messages}")

    def repeated(self) -> tuple[str, ...]:
        """Returns the requests that are in more than one parcel, up to 100, in order."""
        hashes, counts = np.unique(joined(self.requests), return_counts=True)
        suspects = hashes[counts > 1]
        if not len(suspects):
            return ()
        parcels: dict[str, set[int]] = defaultdict(set)
        for file in self._inputs:
            requests = _first_rows(self._open(file))
            chosen = requests.filter(pa.array(np.isin(_hashes(requests["request_id"]), suspects)))
            for name, sequence in zip(*(chosen[each].to_pylist() for each in chosen.column_names), strict=True):
                parcels[name].add(sequence)
        return tuple(sorted(name for name, found in parcels.items() if len(found) > 1)[:_NAMED])

    def _open(self, file: ArchivedFile) -> pa.Table:
        try:
            with self._root.filesystem.open_input_file(self._root.at(file.path)) as stream:
                return self._read_checked(file, stream)
        except FileNotFoundError as error:
            raise _DamageError("it is not there") from error
        except (OSError, pa.ArrowException) as error:
            raise _DamageError(f"it cannot be read: {error}") from error

    def _read_checked(self, file: ArchivedFile, stream: pa.NativeFile) -> pa.Table:
        size = stream.size()
        if size != file.bytes:
            raise _DamageError(f"it has {size} bytes, the manifest says {file.bytes}")
        if self._deep:
            content = stream.read_buffer(size)
            if file.sha256 and hashlib.sha256(content).hexdigest() != file.sha256:
                raise _DamageError("its content is not what was written: it has another SHA-256")
            stream = pa.BufferReader(content)
        reader = pq.ParquetFile(stream, page_checksum_verification=self._deep)
        if not has_schema_id(reader.schema_arrow, file.schema_id):
            raise _DamageError("its columns are not those that were written")
        wanted = ("request_id", "row", "stream_sequence", "score_sequence")
        names = reader.schema_arrow.names
        table = reader.read(columns=None if self._deep else [each for each in wanted if each in names])
        if table.num_rows != file.rows:
            raise _DamageError(f"it has {table.num_rows} rows, the manifest says {file.rows}")
        return table

    def _count(self, file: ArchivedFile, table: pa.Table) -> None:
        if file.kind == "inputs":
            self._inputs.append(file)
            first = _first_rows(table)
            self.requests.append(_hashes(first["request_id"]))
            self.parcels += len(_unique_sequences(table))
        elif file.kind == "decisions":
            self.decided.append(_hashes(table["request_id"].drop_null()))


def _first_rows(table: pa.Table) -> pa.Table:
    """Returns (request_id, stream_sequence) of each request, once; without messages that are no parcels."""
    return table.filter(pc.equal(table["row"], 0)).select(["request_id", "stream_sequence"])


def _unique_sequences(table: pa.Table) -> NDArray[np.int64]:
    name = "score_sequence" if "score_sequence" in table.column_names else "stream_sequence"
    found: NDArray[np.int64] = pc.unique(table[name]).to_numpy()
    return found


def _check_sequences(entry: Entry, sequences: NDArray[np.int64]) -> None:
    stray = (sequences < entry.first) | (sequences > entry.last)
    for first, last in entry.deleted:
        stray |= (sequences >= first) & (sequences <= last)
    if stray.any():
        strange = ", ".join(map(str, np.sort(sequences[stray])[:3].tolist()))
        raise _DamageError(f"it has messages that are not of {entry.name}: sequences {strange}")


def _hashes(names: pa.ChunkedArray) -> Hashes:
    import pandas as pd  # noqa: PLC0415 - slow to import, and the process that archives has no need of it

    hashed: Hashes = pd.util.hash_array(names.to_numpy(), categorize=False)
    return hashed


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Returns arrays as one; an empty one for none."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)

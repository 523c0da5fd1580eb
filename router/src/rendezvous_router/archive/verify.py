"""Proves an archive complete: every sequence of its sources is in it, once, and every file is whole.

The manifest alone tells: its entries cover ranges of sequences, which must follow each other from where a generation
begins. A server adds what is still to come. A request that came twice (a client's retry) and one that was never
decided (its router was killed) are told, and are no faults of the archive.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nats.js.errors import NotFoundError
from numpy.typing import NDArray
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation, day_of
from rendezvous_sdk.archive.manifest import ArchivedFile, Entry, read_current
from rendezvous_sdk.archive.schema import has_schema_id
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.archive.verify_end import BatchFiles, behind_the_end, find_unscored, list_batches

__all__ = ["EndpointReport", "SequenceRange", "SourceReport", "StreamState", "read_stream_states", "verify_endpoint"]

_NAMED = 100
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A stream as the server has it."""

    created_unix_us: int
    """When it was created, microseconds since 1970-01-01 UTC."""
    first: int
    """First sequence that it still has."""
    last: int
    """Last sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRange:
    """Sequences of one generation of a source."""

    generation: str
    """Text of the generation."""
    first: int
    """First sequence."""
    last: int
    """Last sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What the manifest has of one source."""

    source: str
    """Its name."""
    entries: int
    """Current entries."""
    messages: int
    """Messages archived."""
    generations: tuple[SequenceRange, ...]
    """The generations, and what they reach from and to."""
    missing: tuple[SequenceRange, ...]
    """Ranges that should be archived and are not."""
    twice: tuple[SequenceRange, ...]
    """Ranges that two entries cover."""
    deleted: int
    """Messages that were no longer in the stream when it was read."""
    pending: int | None = None
    """Sequences, at least, that the stream has and the archive has not yet; None: not asked, or there is no stream."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing and nothing is there twice."""
        return not self.missing and not self.twice


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """What an archive of one endpoint holds and lacks."""

    endpoint: str
    """The endpoint."""
    sources: tuple[SourceReport, ...]
    """Its sources."""
    files: int
    """Files that the manifest names."""
    rows: Mapping[str, int]
    """Rows by kind, as the manifest says."""
    damaged: tuple[str, ...]
    """Files that are not there, cannot be read or hold something else than the manifest says, with the reason."""
    parcels: int
    """Parcels for models."""
    requests: int
    """Distinct requests for models."""
    repeated_requests: tuple[str, ...]
    """Requests that are in more than one parcel, up to 100 of them: a client's retries. No fault."""
    decided: int
    """Distinct requests that were decided."""
    undecided: int
    """Requests without a decision: on their way, or their router was killed. No fault."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Rows removed since, by what removed them: retention, forget."""
    kept_from: Mapping[str, str] = field(default_factory=dict)
    """Oldest UTC day of which rows are kept, by kind."""
    warnings: tuple[str, ...] = ()
    """What may mean that the manifest lost its end, and need not."""

    @property
    def is_complete(self) -> bool:
        """Whether every source is complete and every file whole."""
        return not self.damaged and all(source.is_complete for source in self.sources)

    @property
    def pending(self) -> int | None:
        """Sequences still to be archived; None: not known."""
        known = [each.pending for each in self.sources if each.pending is not None]
        return sum(known) if known else None


async def read_stream_states(client: Connection, endpoint: str) -> dict[str, StreamState]:
    """Returns the state of an endpoint's streams, by source; without those that are not there.

    Raises:
        nats.errors.Error, TimeoutError: the server does not say.
    """
    states = {}
    for source, name in ((DURABLE, durable_stream(endpoint)), (SCORES, score_stream(endpoint))):
        try:
            info = await client.jetstream().stream_info(name)
        except NotFoundError:
            continue
        assert info.created is not None, "JetStream says when a stream was made"
        states[source] = StreamState(
            created_unix_us=round(info.created.timestamp() * 1_000_000),
            first=info.state.first_seq,
            last=info.state.last_seq,
        )
    return states


def verify_endpoint(
    root: ArchiveRoot,
    tenant: str,
    endpoint: str,
    *,
    streams: Mapping[str, StreamState] | None = None,
    deep: bool = False,
) -> EndpointReport:
    """Reads an endpoint's manifest and files. Memory grows by 16 bytes a request.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        streams: what the server has, read *before*; None: it is not compared.
        deep: read every column of every file, and check its hash and the pages' checksums; else its size, its columns'
            names and types, and the keys.

    Returns:
        The report; an archive that is not there is an empty one.

    Raises:
        ArchiveError: the manifest cannot be read.
        OSError: the archive cannot be listed.
    """
    batches = list_batches(root, tenant, endpoint)
    entries = read_current(root, tenant, endpoint)
    behind = behind_the_end(batches, entries)
    by_source: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_source[entry.source].append(entry)
    for source in (*(streams or {}), *behind):
        by_source.setdefault(source, [])
    reports = [
        _source_report(source, own, (streams or {}).get(source), behind.get(source, ()))
        for source, own in sorted(by_source.items())
    ]
    reading = _Reading(root, deep=deep)
    for entry in entries:
        reading.read(entry)
    repeated = reading.repeated()
    requests, decided = np.unique(_joined(reading.requests)), np.unique(_joined(reading.decided))
    return EndpointReport(
        endpoint=endpoint,
        sources=tuple(reports),
        files=reading.files,
        rows=dict(sorted(reading.rows.items())),
        damaged=tuple(reading.damaged),
        parcels=reading.parcels,
        requests=len(requests),
        repeated_requests=repeated,
        decided=len(decided),
        undecided=len(np.setdiff1d(requests, decided, assume_unique=True)),
        notes=_notes(entries),
        kept_from=_kept_from(entries),
        warnings=tuple(_warnings(root, entries, behind, are_whole=not reading.damaged)),
    )


def _warnings(
    root: ArchiveRoot, entries: Sequence[Entry], behind: Mapping[str, Sequence[BatchFiles]], *, are_whole: bool
) -> Iterator[str]:
    for source, found in behind.items():
        if len(found) == 1:
            (one,) = found
            yield (
                f"{source}: files of sequences {one.first} to {one.last} lie behind the last manifest entry: a crash "
                "left them, or they are being written, or their entry is gone"
            )
    unscored = find_unscored(root, entries) if are_whole else 0
    if unscored:
        yield (
            f"{unscored} requests were decided by scores that are not archived, more than ten minutes ago: the archive "
            "of the scores is behind, or its manifest lost its end"
        )


def _source_report(
    source: str, entries: Sequence[Entry], stream: StreamState | None, behind: Sequence[BatchFiles]
) -> SourceReport:
    by_generation: dict[Generation, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_generation[Generation.parse(entry.generation)].append(entry)
    missing: list[SequenceRange] = []
    twice: list[SequenceRange] = []
    generations = []
    reached: dict[int, int] = defaultdict(int)
    for generation, own in sorted(by_generation.items()):
        created = generation.created_unix_us
        if generation.begin > reached[created] + 1:  # an earlier generation of the same stream held what is before
            missing.append(_range(generation, reached[created] + 1, generation.begin - 1))
        last = _walk(generation, own, missing, twice)
        generations.append(_range(generation, generation.begin, last))
        reached[created] = last
    if len(behind) > 1:  # a writer has files of one batch at most that no entry names
        missing += _gone(behind, by_generation)
    return SourceReport(
        source=source,
        entries=len(entries),
        messages=sum(entry.messages for entry in entries),
        generations=tuple(generations),
        missing=tuple(missing),
        twice=tuple(twice),
        deleted=sum(last - first + 1 for entry in entries for first, last in entry.deleted),
        pending=None if stream is None else _pending(stream, reached[stream.created_unix_us]),
    )


def _gone(behind: Sequence[BatchFiles], entries: Mapping[Generation, Sequence[Entry]]) -> Iterator[SequenceRange]:
    for generation in dict.fromkeys(each.generation for each in behind):
        last = max((each.last for each in entries.get(generation, ())), default=generation.begin - 1)
        yield _range(generation, last + 1, max(each.last for each in behind if each.generation == generation))


def _pending(stream: StreamState, reached: int) -> int:
    # An archive that is ahead of its stream has not seen yet that the stream lost its end: some will be archived anew.
    return stream.last - reached if reached <= stream.last else 1


def _walk(
    generation: Generation, entries: Iterable[Entry], missing: list[SequenceRange], twice: list[SequenceRange]
) -> int:
    reached = generation.begin - 1
    for entry in sorted(entries, key=lambda each: (each.first, each.last)):
        if entry.first > reached + 1:
            missing.append(_range(generation, reached + 1, entry.first - 1))
        elif entry.first <= reached:
            twice.append(_range(generation, entry.first, min(entry.last, reached)))
        reached = max(reached, entry.last)
    return reached


def _range(generation: Generation, first: int, last: int) -> SequenceRange:
    return SequenceRange(generation=str(generation), first=first, last=last)


def _notes(entries: Iterable[Entry]) -> dict[str, int]:
    removed: dict[str, int] = defaultdict(int)
    for entry in entries:
        for note in entry.notes:
            removed[note.kind] += note.rows
    return dict(removed)


def _kept_from(entries: Iterable[Entry]) -> dict[str, str]:
    oldest: dict[str, int] = {}
    for file in (file for entry in entries for file in entry.files):
        oldest[file.kind] = min(file.from_stored_unix_us, oldest.get(file.kind, file.from_stored_unix_us))
    return {kind: day_of(stored) for kind, stored in sorted(oldest.items())}


class _DamageError(Exception):
    """A file is not what the manifest says; the message tells how."""


class _Reading:
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
        count = len(np.unique(_joined(sequences)))
        # What was removed since leaves a note; without one, every message must have made a row.
        if count != entry.messages and not entry.notes and damaged == len(self.damaged):
            self.damaged.append(f"{entry.name}: its files hold {count} messages, it says {entry.messages}")

    def repeated(self) -> tuple[str, ...]:
        """Returns the requests that are in more than one parcel, up to 100, in order."""
        hashes, counts = np.unique(_joined(self.requests), return_counts=True)
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


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)

"""Proves an archive complete: every sequence of its sources is in it, once, and every file is whole.

The manifest alone tells: its entries cover ranges of sequences, which must follow each other from where a generation
begins. A server adds what is still to come. A request that came twice (a client's retry) and one that was never
decided (its router was killed) are told, and are no faults of the archive.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation, day_of
from rendezvous_sdk.archive.manifest import Entry, read_current
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.archive.verify_end import BatchFiles, behind_the_end, find_unscored, list_batches
from rendezvous_router.archive.verify_files import FileReading, joined

__all__ = ["EndpointReport", "SequenceRange", "SourceReport", "StreamState", "read_stream_states", "verify_endpoint"]


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
    reading = FileReading(root, deep=deep)
    for entry in entries:
        reading.read(entry)
    repeated = reading.repeated()
    requests, decided = np.unique(joined(reading.requests)), np.unique(joined(reading.decided))
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

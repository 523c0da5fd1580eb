"""The inputs of an archive in the order of the stream, in bounded memory, from a position on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rendezvous_sdk.archive.layout import DURABLE, ArchiveRoot, Generation
from rendezvous_sdk.archive.manifest import ArchivedFile, ArchiveError, read_current
from rendezvous_sdk.archive.schema import SignatureColumn, fixed_schema, signature_of

from rendezvous_router.replay.sweep import read_in_order

__all__ = ["History", "Place", "StoredParcels", "same_stream"]

_FIXED = ("request_id", "row", "rows", "parcel_id", "stream_sequence", "stored_at", "payload")
_IDS = pa.schema([fixed_schema("inputs").field(name) for name in ("request_id", "row", "stream_sequence", "stored_at")])
_BATCH_ROWS = 4096
_TRIES = 5
_NOTHING = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A message of the durable stream, through its generations."""

    generation: Generation
    """Of the stream."""
    sequence: int
    """In it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredParcels:
    """Rows of some whole parcels: all that the stream has between those before and those after."""

    generation: Generation
    """Of the stream that they come from."""
    tables: Sequence[pa.Table]
    """One for each set of columns; fixed columns (those that a replay needs), then the signature's. Each in order."""
    first: int
    """First sequence."""
    last: int
    """Last sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The files of one manifest entry."""

    generation: Generation
    files: Sequence[ArchivedFile]


class History:
    """The archived inputs of an endpoint in a span of time. Blocks: use it from a thread.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        kind: `inputs` or `raw`.
        since_unix_us: first moment of storage, microseconds since 1970-01-01 UTC by the broker's clock.
        until_unix_us: moment of storage before which it ends.
    """

    def __init__(
        self,
        root: ArchiveRoot,
        tenant: str,
        endpoint: str,
        *,
        kind: str = "inputs",
        since_unix_us: int = 0,
        until_unix_us: int = _NOTHING,
    ) -> None:
        self.root = root
        self.tenant = tenant
        self.endpoint = endpoint
        self.kind = kind
        self.since_unix_us = since_unix_us
        self.until_unix_us = until_unix_us

    def count_rows(self, after: Place | None = None) -> int:
        """Returns how many rows there are behind a place: exactly, but for files that reach over an edge."""
        return sum(file.rows for part in self._parts(after) for file in part.files)

    def columns(self) -> list[SignatureColumn] | None:
        """Returns the signature's columns of the last rows, or of most of them; None: there are no rows."""
        parts = self._parts(None)
        if not parts:
            return None
        last = max(parts[-1].files, key=lambda file: file.rows)
        with self.root.filesystem.open_input_file(self.root.at(last.path)) as stream:
            return list(signature_of(pq.read_schema(stream)).values())

    def repeats(self) -> dict[str, Place]:
        """Returns the first place of each request that is there more than once (a retry at another router).

        Exact in bounded memory: DuckDB groups the ids, and writes to disk what does not fit.

        Raises:
            ArchiveError: a file cannot be read.
        """
        first: dict[str, Place] = {}
        rows = _copies(self._parts(None), self)
        for request_id, place in rows:
            if request_id not in first or place < first[request_id]:
                first[request_id] = place
        return first

    def read(self, after: Place | None = None) -> Iterator[StoredParcels]:
        """Yields whole parcels behind a place, in the order of the stream.

        Files may be compacted meanwhile: then it goes on with those that replaced them.

        Raises:
            ArchiveError: a file is damaged, missing for good or out of order.
        """
        tries = 0
        while True:
            try:
                for part in self._parts(after):
                    for parcels in self._read_part(part, after):
                        yield parcels
                        after, tries = Place(parcels.generation, parcels.last), 0
            except FileNotFoundError as error:
                tries += 1
                if tries == _TRIES:
                    raise ArchiveError(
                        f"a file that the manifest of endpoint {self.endpoint} names is missing ({error}): "
                        "see `rendezvous archive verify`"
                    ) from error
            except pa.ArrowInvalid as error:
                raise ArchiveError(f"a file of the archive is damaged ({error}): see `archive verify`") from error
            else:
                return

    def _parts(self, after: Place | None) -> list[_Part]:
        parts = []
        for entry in read_current(self.root, self.tenant, self.endpoint, [DURABLE]):
            generation = Generation.parse(entry.generation)
            if after is not None and Place(generation, entry.last) <= _in_order(after, generation):
                continue
            files = [file for file in entry.files if file.kind == self.kind and self._is_within(file)]
            if files:
                parts.append(_Part(generation=generation, files=files))
        return parts

    def _is_within(self, file: ArchivedFile) -> bool:
        return file.to_stored_unix_us >= self.since_unix_us and file.from_stored_unix_us < self.until_unix_us

    def _read_part(self, part: _Part, after: Place | None) -> Iterator[StoredParcels]:
        least = after.sequence if after is not None and same_stream(after.generation, part.generation) else 0
        paths = [self.root.at(file.path) for file in part.files]
        for window in read_in_order(self.root.filesystem, paths, _FIXED, after=least):
            tables = [table for table in map(self._within, window) if table.num_rows]
            if tables:
                sequences = [table["stream_sequence"] for table in tables]
                yield StoredParcels(
                    generation=part.generation,
                    tables=tables,
                    first=min(each[0].as_py() for each in sequences),
                    last=max(each[-1].as_py() for each in sequences),
                )

    def _within(self, table: pa.Table) -> pa.Table:
        stored = table["stored_at"].cast(pa.int64())
        keep = pc.and_(pc.greater_equal(stored, self.since_unix_us), pc.less(stored, self.until_unix_us))
        return table if pc.all(keep).as_py() else table.filter(keep).combine_chunks()


def same_stream(one: Generation, other: Generation) -> bool:
    """Returns whether two generations are of one stream, wherever they begin in it."""
    return (one.created_unix_us, one.number) == (other.created_unix_us, other.number)


def _in_order(after: Place, generation: Generation) -> Place:
    """Returns a place comparable with those of *generation*, whose beginning may be written another way."""
    return Place(generation, after.sequence) if same_stream(after.generation, generation) else after


def _copies(parts: Sequence[_Part], history: History) -> Iterator[tuple[str, Place]]:
    """Yields every (request id, place) of the requests that are there more than once."""
    import duckdb  # noqa: PLC0415 - takes a while to load

    by_generation: dict[Generation, list[str]] = {}
    for part in parts:
        by_generation.setdefault(part.generation, []).extend(history.root.at(file.path) for file in part.files)
    generations = list(by_generation)
    span = pc.field("stored_at")
    since, until = (pa.scalar(at, pa.timestamp("us", "UTC")) for at in (history.since_unix_us, history.until_unix_us))
    with duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as database:
        tables = []
        for number, generation in enumerate(generations):
            dataset = ds.dataset(
                by_generation[generation], filesystem=history.root.filesystem, format="parquet", schema=_IDS
            )
            scanned = dataset.filter((span >= since) & (span < until) & (pc.field("row") == 0))
            database.register(f"inputs_{number}", scanned)
            tables.append(f"select {number} as generation, request_id, stream_sequence from inputs_{number}")  # noqa: S608 - ours
        if not tables:
            return
        union = " union all ".join(tables)
        found = database.execute(
            f"with firsts as ({union}), again as (select request_id from firsts where request_id <> '' "  # noqa: S608 - ours
            "group by request_id having count(*) > 1) "
            "select request_id, generation, stream_sequence from firsts join again using (request_id)"
        )
        while rows := found.fetchmany(_BATCH_ROWS):
            for request_id, number, sequence in rows:
                yield request_id, Place(generations[number], sequence)

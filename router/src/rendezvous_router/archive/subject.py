"""Finds what an archive has of one subject: its requests, their rows, and the messages that they came in."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import FrameView
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, ArchiveError, Entry
from rendezvous_sdk.archive.schema import signature_of

__all__ = [
    "Found",
    "Message",
    "Subject",
    "affected_rows",
    "find_requests",
    "needed_columns",
    "read_columns",
    "sequence_column",
]

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""One truth value for each row of a table."""

_REQUESTS = ("inputs", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom to forget: all that fits any of these."""

    keys: tuple[tuple[str, str], ...] = ()
    """Names and values in the requests' `context`; also business keys of feedback."""
    request_ids: tuple[str, ...] = ()
    """Request ids."""
    columns: tuple[tuple[str, str], ...] = ()
    """Names and values of input columns: those rows. `nan` is a value that is not a number."""


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A message of a stream, as the archive knows it."""

    source: str
    """Source of the manifest."""
    generation: str
    """Generation of the source."""
    sequence: int
    """Its sequence."""
    stored_unix_us: int
    """When it was stored: tells it from another of the same sequence."""


@dataclass(slots=True)
class Found:
    """What was found of a subject."""

    whole: set[str] = field(default_factory=set)
    """Requests that are the subject's altogether."""
    parts: dict[str, set[int]] = field(default_factory=dict)
    """Rows, counted from 0, of requests that hold others' rows too."""
    young: set[str] = field(default_factory=set)
    """Requests that are left out: what comes of them may not be archived yet."""
    keys: tuple[tuple[str, str], ...] = ()
    """Business keys of feedback."""

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.whole) + len(self.parts)


def find_requests(
    root: ArchiveRoot, entries: Sequence[Entry], subject: Subject, *, settled_before_unix_us: int
) -> Found:
    """Returns the requests of a subject, and of those that are not wholly its own the rows.

    Args:
        root: the archive.
        entries: current entries of all sources.
        subject: whom to look for.
        settled_before_unix_us: requests stored later are `young`.

    Raises:
        ArchiveError: a file cannot be read.
    """
    search = _Search(subject, settled_before_unix_us)
    for file in (file for entry in entries for file in entry.files if file.kind in _REQUESTS):
        names = ["request_id", "row", "rows", "stored_at", "context", "payload"]
        for table in read_columns(root, file, names, signature=[name for name, _ in subject.columns]):
            search.look_at(table)
    return search.result()


class _Search:
    """Collects the requests of a subject from the rows of `inputs` and `raw`."""

    def __init__(self, subject: Subject, settled_before_unix_us: int) -> None:
        self._subject = subject
        self._settled_before = settled_before_unix_us
        self._whole: set[str] = set(subject.request_ids)
        self._rows: dict[str, set[int]] = defaultdict(set)
        self._lengths: dict[str, int] = {}
        self._young: set[str] = set()

    def look_at(self, table: pa.Table) -> None:
        """Takes what fits of some rows."""
        whole = _is_any(table["request_id"], self._subject.request_ids)
        for name, value in self._subject.keys:
            whole |= _truth(pc.equal(pc.map_lookup(table["context"], name, "first"), value))
        part = np.zeros(table.num_rows, np.bool_)
        for name, value in self._subject.columns:
            part |= _match_column(table, name, value)
            whole |= _match_payloads(table, name, value)
        hits = table.select(["request_id", "row", "rows", "stored_at"]).filter(pa.array(whole | part))
        stored = hits["stored_at"].cast(pa.int64()).to_pylist()
        columns = (hits[name].to_pylist() for name in ("request_id", "row", "rows"))
        for request_id, row, rows, at, is_whole in zip(*columns, stored, whole[whole | part], strict=True):
            self._lengths[request_id] = max(rows, self._lengths.get(request_id, 0))
            self._rows[request_id].add(row)
            if is_whole:
                self._whole.add(request_id)
            if at >= self._settled_before:
                self._young.add(request_id)

    def result(self) -> Found:
        """Returns what was found."""
        whole = self._whole | {each for each, rows in self._rows.items() if len(rows) >= self._lengths[each]}
        parts = {each: rows for each, rows in self._rows.items() if each not in whole | self._young}
        return Found(whole=whole - self._young, parts=parts, young=self._young, keys=self._subject.keys)


def affected_rows(kind: str, table: pa.Table, found: Found) -> tuple[Mask, Mask]:
    """Returns which rows of a table are to be removed, and which are to lose some of their values.

    The latter are decisions on requests that hold others' rows too.

    Args:
        kind: of the table.
        table: rows with `request_id`, those of `feedback` also with `row`, `key_name` and `key_value`, those of other
            kinds but `decisions` with `row`.
        found: what was found of the subject.
    """
    removed = _is_any(table["request_id"], found.whole)
    changed = np.zeros(table.num_rows, np.bool_)
    if found.parts:
        touched = _is_any(table["request_id"], found.parts)
        if kind == "decisions":
            changed = touched & ~removed
        else:
            ids, rows = table["request_id"].to_pylist(), table["row"].to_pylist()
            for place in np.flatnonzero(touched):
                removed[place] |= rows[place] in found.parts[ids[place]]
    if kind == "feedback":
        for name, value in found.keys:
            removed |= _truth(pc.and_(pc.equal(table["key_name"], name), pc.equal(table["key_value"], value)))
    return removed, changed


def needed_columns(kind: str) -> list[str]:
    """Returns the columns that `affected_rows` and the messages are told by."""
    if kind == "decisions":
        return ["request_id", "stored_at", "stream_sequence"]
    if kind == "feedback":
        return ["request_id", "row", "key_name", "key_value", "stored_at", "stream_sequence"]
    return ["request_id", "row", "stored_at", sequence_column(kind)]


def sequence_column(kind: str) -> str:
    """Returns the column of a kind that has the sequence of the message."""
    return "score_sequence" if kind in ("scores", "enrichments") else "stream_sequence"


def read_columns(
    root: ArchiveRoot, file: ArchivedFile, names: Sequence[str], *, signature: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Yields some columns of a file, row group by row group.

    Args:
        root: the archive.
        file: the file.
        names: fixed columns.
        signature: columns of the signature by their names there; those that the file does not have are left out.

    Raises:
        ArchiveError: it cannot be read.
    """
    try:
        with root.filesystem.open_input_file(root.at(file.path)) as source:
            parquet = pq.ParquetFile(source, pre_buffer=False)
            told = signature_of(parquet.schema_arrow)
            wanted = [*names, *(stored for stored, column in told.items() if column.name in signature)]
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, columns=wanted, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"{file.path} cannot be read: {error}: see `rendezvous archive verify`") from error


def _match_column(table: pa.Table, name: str, value: str) -> Mask:
    matches = np.zeros(table.num_rows, np.bool_)
    for stored, column in signature_of(table.schema).items():
        if column.name != name or column.shape:
            continue
        try:
            wanted = pa.scalar(value).cast(table.schema.field(stored).type)
        except pa.ArrowException:
            continue  # a column of this type never had this value
        matches |= _equal(table[stored], wanted, value)
    return matches


def _equal(column: pa.ChunkedArray, wanted: pa.Scalar, text: str) -> Mask:
    if not pa.types.is_floating(column.type):
        return _truth(pc.equal(column, wanted))
    number = wanted.as_py()
    if math.isinf(number) and "inf" not in text.lower():
        return np.zeros(len(column), np.bool_)  # too large for the type: no value of the column
    if pa.types.is_float16(column.type):  # which Arrow compares not
        column, wanted = column.cast(pa.float32()), wanted.cast(pa.float32())
    return _truth(pc.is_nan(column) if math.isnan(number) else pc.equal(column, wanted))


def _match_payloads(table: pa.Table, name: str, value: str) -> Mask:
    """Returns the rows whose payload, a frame that typed columns could not hold, has the value anywhere."""
    matches = np.zeros(table.num_rows, np.bool_)
    payloads = table["payload"]
    for place in np.flatnonzero(payloads.is_valid().to_numpy()):
        matches[place] = _frame_has(payloads[int(place)].as_py(), name, value)
    return matches


def _frame_has(payload: bytes, name: str, value: str) -> bool:
    try:
        view = FrameView(v1.Frame.FromString(payload))
        return name in view and value in {str(each) for each in view[name]}
    except (DecodeError, RendezvousError):
        return False  # no frame: nothing in it can be told to be anybody's


def _is_any(column: pa.ChunkedArray, values: Collection[str]) -> Mask:
    if not values:
        return np.zeros(len(column), np.bool_)
    return _truth(pc.is_in(column, pa.array(list(values), pa.string())))


def _truth(column: pa.ChunkedArray) -> Mask:
    truth: Mask = pc.fill_null(column, False).to_numpy()
    return truth.copy()

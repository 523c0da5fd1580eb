"""The manifest: what belongs to an archive, one small JSON file for each batch.

An entry is put last and at once, after the files it names; so a reader sees a batch whole or not at all. What no
current entry names does not belong to the archive. An entry whose range lies within another's is superseded.

Source: ADR 0021.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import pyarrow as pa
import pyarrow.fs as pafs
from rendezvous_proto.errors import UnavailableError

from rendezvous_sdk.archive.durable import put_bytes
from rendezvous_sdk.archive.layout import (
    ArchiveRoot,
    Generation,
    endpoint_folder,
    entry_name,
    manifest_folder,
    parse_entry_name,
)

__all__ = [
    "ArchiveError",
    "ArchivedFile",
    "Entry",
    "EntryRange",
    "Note",
    "list_endpoints",
    "list_ranges",
    "list_sources",
    "list_tenants",
    "put_entry",
    "read_current",
    "read_entry",
    "remove_entry",
    "select_current",
]

FORMAT = 1
"""Version of the entries and of the fixed columns."""


class ArchiveError(UnavailableError):
    """The archive cannot be read or written; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One Parquet file of an entry."""

    path: str
    """Relative to the archive's root."""
    kind: str
    """One of `KINDS`."""
    rows: int
    """Rows in it."""
    bytes: int
    """Its size."""
    schema_id: str
    """Tells its columns: files with equal ones have equal schemas."""
    from_stored_unix_us: int
    """Smallest `stored_at`, microseconds since 1970-01-01 UTC."""
    to_stored_unix_us: int
    """Largest `stored_at`."""
    sha256: str = ""
    """SHA-256 of its content, hexadecimal; empty: it was written by a version that did not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was done to an entry's rows after they were archived."""

    kind: str
    """`retention` or `forget`."""
    at_unix_us: int
    """When, microseconds since 1970-01-01 UTC."""
    rows: int
    """Rows removed."""
    text: str = ""
    """For people. Never what was forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One batch: a contiguous range of one source's sequences and the files that hold its rows."""

    source: str
    """`durable`, `scores` or `replay-<run>`."""
    generation: str
    """Text of a `Generation`."""
    first: int
    """First sequence of the range."""
    last: int
    """Last sequence of the range."""
    last_stored_unix_us: int
    """When the last message of the range that was there was stored, microseconds since 1970-01-01 UTC; 0: none was."""
    messages: int
    """Messages in the range: its length without what was deleted."""
    deleted: tuple[tuple[int, int], ...] = ()
    """Ranges (first, last) that were no longer in the stream when it was read."""
    files: tuple[ArchivedFile, ...] = ()
    """The files; none where no message made a row."""
    notes: tuple[Note, ...] = ()
    """Retention and forgetting."""
    batches: int = 1
    """Batches as they were written that compaction has merged into it."""
    format: int = field(default=FORMAT)
    """Version of the format."""

    @property
    def name(self) -> str:
        """Its file name."""
        return entry_name(self.generation, self.first, self.last)

    @property
    def range(self) -> "EntryRange":
        """Its range."""
        return EntryRange(generation=self.generation, first=self.first, last=self.last)

    def to_json(self) -> bytes:
        """Returns the entry as JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Returns the entry of its JSON; fields that later versions added are left out.

        Raises:
            ValueError, KeyError, TypeError: it is no entry.
        """
        document = json.loads(content)
        document["files"] = tuple(ArchivedFile(**_known(ArchivedFile, each)) for each in document.get("files", ()))
        document["notes"] = tuple(Note(**_known(Note, each)) for each in document.get("notes", ()))
        document["deleted"] = tuple((int(a), int(b)) for a, b in document.get("deleted", ()))
        return cls(**_known(cls, document))


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRange:
    """What an entry's name tells."""

    generation: str
    """Text of a `Generation`."""
    first: int
    """First sequence."""
    last: int
    """Last sequence."""

    @property
    def name(self) -> str:
        """File name of the entry."""
        return entry_name(self.generation, self.first, self.last)


def list_tenants(root: ArchiveRoot) -> list[str]:
    """Returns the tenants that an archive has, in order; none where there is no archive."""
    return _partitions(root, "", "tenant=")


def list_endpoints(root: ArchiveRoot, tenant: str) -> list[str]:
    """Returns the endpoints that an archive has of a tenant, in order."""
    return _partitions(root, f"tenant={tenant}", "endpoint=")


def list_sources(root: ArchiveRoot, tenant: str, endpoint: str) -> list[str]:
    """Returns the sources of an endpoint's manifest, in order."""
    found = _list(root, manifest_folder(tenant, endpoint))
    return sorted(each.base_name for each in found if each.type == pafs.FileType.Directory)


def list_ranges(root: ArchiveRoot, tenant: str, endpoint: str, source: str) -> list[EntryRange]:
    """Returns the ranges of all entries of a source by their names, superseded ones too, in order."""
    names = (each.base_name for each in _list(root, manifest_folder(tenant, endpoint, source)))
    parsed = (parse_entry_name(name) for name in names)
    ranges = [EntryRange(generation=each[0], first=each[1], last=each[2]) for each in parsed if each is not None]
    return sorted(ranges, key=_order)


def select_current(ranges: Iterable[EntryRange]) -> list[EntryRange]:
    """Returns the ranges that do not lie within another of the same generation, in order."""
    current: list[EntryRange] = []
    for each in sorted(ranges, key=_order):
        if current and current[-1].generation == each.generation and each.last <= current[-1].last:
            continue
        current.append(each)
    return current


def read_current(root: ArchiveRoot, tenant: str, endpoint: str, sources: Sequence[str] | None = None) -> list[Entry]:
    """Returns the current entries of an endpoint, by source and then in order.

    Args:
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        sources: which sources; None: all.

    Raises:
        ArchiveError: an entry cannot be read.
    """
    entries = []
    for source in list_sources(root, tenant, endpoint) if sources is None else sources:
        entries += _read_source(root, tenant, endpoint, source)
    return entries


def _read_source(root: ArchiveRoot, tenant: str, endpoint: str, source: str) -> list[Entry]:
    # A compaction may take entries away between listing and reading: then what replaced them is listed.
    for _ in range(5):
        current = select_current(list_ranges(root, tenant, endpoint, source))
        with contextlib.suppress(FileNotFoundError):
            return [read_entry(root, tenant, endpoint, source, each.name) for each in current]
    raise ArchiveError(f"the manifest of {endpoint_folder(tenant, endpoint)} keeps changing: try again")


def read_entry(root: ArchiveRoot, tenant: str, endpoint: str, source: str, name: str) -> Entry:
    """Returns one entry.

    Raises:
        FileNotFoundError: it is not there.
        ArchiveError: it cannot be read.
    """
    path = f"{manifest_folder(tenant, endpoint, source)}/{name}"
    try:
        with root.filesystem.open_input_file(root.at(path)) as stream:
            return Entry.from_json(stream.read())
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"the manifest entry {path} is damaged: {error}") from error
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"the manifest entry {path} cannot be read: {error}") from error


def put_entry(root: ArchiveRoot, tenant: str, endpoint: str, entry: Entry) -> None:
    """Puts an entry into the manifest, durably and at once; one of the same range is replaced.

    Raises:
        OSError: it could not be written; then it is not there, or it is there whole.
    """
    put_bytes(root, f"{manifest_folder(tenant, endpoint, entry.source)}/{entry.name}", entry.to_json())


def remove_entry(root: ArchiveRoot, tenant: str, endpoint: str, entry: Entry) -> None:
    """Takes a superseded entry out of the manifest; one that is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        root.filesystem.delete_file(root.at(f"{manifest_folder(tenant, endpoint, entry.source)}/{entry.name}"))


def _partitions(root: ArchiveRoot, folder: str, prefix: str) -> list[str]:
    found = _list(root, folder)
    return sorted(
        each.base_name.removeprefix(prefix)
        for each in found
        if each.type == pafs.FileType.Directory and each.base_name.startswith(prefix)
    )


def _list(root: ArchiveRoot, folder: str) -> list[pafs.FileInfo]:
    path = root.at(folder).rstrip("/")
    try:
        found: list[pafs.FileInfo] = root.filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"the archive {root.text} cannot be listed: {error}") from error
    return found


def _order(each: EntryRange) -> tuple[Generation, int, int]:
    return Generation.parse(each.generation), each.first, -each.last


def _known(cls: type, document: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(cls)}
    return {name: value for name, value in document.items() if name in names}

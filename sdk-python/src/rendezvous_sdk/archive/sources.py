"""Which files answer a question: those that the manifest's current entries name, without days that it leaves out."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from rendezvous_sdk.archive.layout import KINDS, ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchivedFile, ArchiveError, read_current
from rendezvous_sdk.archive.schema import SignatureColumn, signature_of

__all__ = ["FileGroup", "KindFiles", "Span", "find_files"]

_ASK_LATER = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which requests were stored, by the broker's clock."""

    since: dt.datetime | None = None
    """First moment; None: from the beginning."""
    until: dt.datetime | None = None
    """First moment that is left out; None: to the end."""

    @property
    def is_limited(self) -> bool:
        """Whether it leaves anything out."""
        return self.since is not None or self.until is not None

    def may_hold(self, file: ArchivedFile) -> bool:
        """Returns whether a file may have rows about requests of the span.

        Nothing about a request is stored before it; its decision is stored within a day, scores and feedback at any
        time. Feedback that goes by a business key may even be older than the request.
        """
        if file.kind == "feedback":
            return True
        if self.since is not None and file.to_stored_unix_us < _unix_us(self.since):
            return False
        if self.until is None or file.kind in ("scores", "enrichments"):
            return True
        end = self.until if file.kind != "decisions" else self.until + _ASK_LATER
        return file.from_stored_unix_us < _unix_us(end)


@dataclass(slots=True)
class FileGroup:
    """Files of one kind with equal columns."""

    kind: str
    """The kind."""
    schema_id: str
    """Tells the columns."""
    is_replay: bool
    """Whether they hold scores of replays."""
    paths: list[str] = field(default_factory=list)
    """Paths on the archive's file system."""
    schema: pa.Schema = None
    """The columns."""


@dataclass(slots=True)
class KindFiles:
    """Files of one kind."""

    groups: list[FileGroup] = field(default_factory=list)
    """By their columns, in the order in which these came into use."""
    rows: int = 0
    """Rows in them."""
    bytes: int = 0
    """Their size."""

    @property
    def paths(self) -> list[str]:
        """All of them."""
        return [path for group in self.groups for path in group.paths]

    @property
    def signature(self) -> dict[str, SignatureColumn]:
        """The signature's columns, of all versions, by the name that they have in the files; the latest counts."""
        found: dict[str, SignatureColumn] = {}
        for group in self.groups:
            found |= signature_of(group.schema)
        return found


def find_files(root: ArchiveRoot, tenant: str, endpoint: str, span: Span) -> dict[str, KindFiles]:
    """Returns the current files of an endpoint, by kind; every kind is there.

    Raises:
        ArchiveError: the manifest, or a file that it names, cannot be read.
    """
    found = {kind: KindFiles() for kind in KINDS}
    groups: dict[tuple[str, str, bool], FileGroup] = {}
    for file, is_replay in _current(root, tenant, endpoint):
        if not file.rows or not span.may_hold(file) or file.kind not in found:
            continue
        key = (file.kind, file.schema_id, is_replay)
        if key not in groups:
            groups[key] = FileGroup(file.kind, file.schema_id, is_replay, schema=_read_schema(root, file.path))
            found[file.kind].groups.append(groups[key])
        groups[key].paths.append(root.at(file.path))
        found[file.kind].rows += file.rows
        found[file.kind].bytes += file.bytes
    return found


def _current(root: ArchiveRoot, tenant: str, endpoint: str) -> Iterator[tuple[ArchivedFile, bool]]:
    for entry in read_current(root, tenant, endpoint):
        for file in entry.files:
            yield file, entry.source.startswith("replay-")


def _read_schema(root: ArchiveRoot, path: str) -> pa.Schema:
    try:
        return pq.read_schema(root.at(path), filesystem=root.filesystem)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(
            f"the file {path}, which the manifest names, cannot be read: restore it; `rendezvous archive verify` tells "
            "what is missing"
        ) from error


def _unix_us(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)

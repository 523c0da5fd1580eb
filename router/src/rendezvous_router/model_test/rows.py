"""The rows that checks take: written in the file of cases, from a table, or from the archive's last requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import encode_frame, type_name
from rendezvous_sdk.archive import open_archive
from rendezvous_sdk.archive.manifest import ArchiveError
from rendezvous_sdk.archive.schema import SignatureColumn, signature_of
from rendezvous_sdk.archive.sql_text import name as quoted

from rendezvous_router.model_test.cases import Cases, CasesError, RowsSource
from rendezvous_router.tables import TableError, read_table

__all__ = ["ArchivePlace", "Row", "Rows", "read_rows"]

Row = dict[str, Any]
"""Values by input column; None is missing."""


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """Where the record is."""

    root: str
    """Folder or URL."""
    tenant: str
    """Whose record."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that fit the candidate."""

    rows: tuple[Row, ...]
    """The rows."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Types by column, of all columns that are known."""

    def frame(self, rows: Sequence[Row]) -> v1.Frame:
        """Returns rows as a frame.

        Raises:
            CasesError: a value does not fit its column's type.
        """
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = {name: [row.get(name) for row in rows] for name in names}
        try:
            return encode_frame(table, types={name: kind for name, kind in self.types.items() if name in table})
        except RendezvousError as error:
            raise CasesError(f"rows do not make a table: {error.message}") from error


def read_rows(cases: Cases, folder: Path, signature: v1.Signature, place: ArchivePlace) -> Rows:
    """Reads the rows that *cases* names.

    Args:
        cases: the file of cases.
        folder: where it is.
        signature: the candidate's, whose types win.
        place: the archive, should it be asked.

    Raises:
        CasesError: they cannot be read, or there are none.
    """
    types: dict[str, str] = {}
    if isinstance(cases.rows, list):
        found = tuple(cases.rows)
    elif cases.rows.kind == "archive":
        found, types = _from_archive(cases, cases.rows, place)
    else:
        found, types = _from_table(cases.rows, folder, signature)
    told = _infer(found) | types | dict(cases.types) | {each.name: type_name(each.type) for each in signature.inputs}
    for row in found:
        unknown = row.keys() - told.keys() if signature.inputs else set()
        if unknown:
            raise CasesError(f"rows: the candidate has no input {min(unknown)!r}: leave it out (rows.leave_out)")
    return Rows(found, told)


def _infer(rows: Sequence[Row]) -> dict[str, str]:
    kinds = {bool: "BOOL", int: "INT64", float: "FP64", str: "STRING", bytes: "BYTES"}
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            kind = kinds.get(type(value))
            if kind is not None and found.get(name) != "FP64":
                found[name] = kind
    return found


def _from_table(source: RowsSource, folder: Path, signature: v1.Signature) -> tuple[tuple[Row, ...], dict[str, str]]:
    path = folder / source.path
    try:
        table = read_table(path, source.kind, [each for each in signature.inputs if each.name not in source.leave_out])
    except TableError as error:
        raise CasesError(f"rows.path: {error}") from error
    columns = {name: values for name, values in table.columns.items() if name not in source.leave_out}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return tuple(rows[-source.last :]), {}


def _from_archive(cases: Cases, source: RowsSource, place: ArchivePlace) -> tuple[tuple[Row, ...], dict[str, str]]:
    try:
        with open_archive(place.root, tenant=place.tenant, endpoint=cases.endpoint or None) as archive:
            kept: dict[str, SignatureColumn] = signature_of(archive.dataset("inputs").schema)
            kept = {name: told for name, told in kept.items() if told.name not in source.leave_out}
            if not kept:
                raise CasesError("rows: the archive has no typed inputs of this endpoint")
            columns = ", ".join(map(quoted, kept))
            query = f"SELECT {columns} FROM inputs ORDER BY stored_at DESC, request_id, row LIMIT {source.last}"  # noqa: S608 # quoted
            values = archive.sql(query).fetchall()
    except (ArchiveError, RendezvousError, ImportError) as error:
        raise CasesError(f"rows: {error}") from error
    if not values:
        raise CasesError("rows: the archive has no requests of this endpoint yet")
    names = [told.name for told in kept.values()]
    rows = tuple(dict(zip(names, each, strict=True)) for each in reversed(values))
    return rows, {told.name: told.type for told in kept.values()}

"""Outcomes from the lines of a file, with ids made of what they say: a file that is loaded again counts once."""

import csv
import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.v1 import ColumnSpec, DataType
from rendezvous_sdk import Outcome

from rendezvous_router.feedback.fitting import number_of
from rendezvous_router.tables import RowTable, TableError, read_table

__all__ = ["FileColumns", "Line", "outcome_value", "read_lines", "read_outcome_table"]

CSV_TITLE_LINES = 1
_ID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FileColumns:
    """Which columns say what; and what all lines have in common."""

    value: str = "value"
    """Column of the values."""
    request_id: str = "request_id"
    """Column of request ids; not used with `key`."""
    key: tuple[str, str] | None = None
    """Name of an entry of the requests' context, and the column of its values."""
    row: str = "row"
    """Column of row numbers."""
    observed_at: str = "observed_at"
    """Column of times: ISO 8601; without a zone they are UTC."""
    kind: str = "truth"
    """Kind of all outcomes, where there is no column `kind`."""
    output: str = ""
    """Output column of all, where there is no column `output`."""
    source: str = ""
    """Source of all, where there is no column `source`."""

    def check(self, names: list[str], *, said: frozenset[str]) -> None:
        """Checks that the file has what is needed, and what was said to be there.

        Args:
            names: columns of the file.
            said: fields of this object that somebody named.

        Raises:
            TableError: it has not.
        """
        needed = [self.value, self.request_id if self.key is None else self.key[1]]
        needed += [getattr(self, name) for name in sorted(said & {"row", "observed_at"})]
        missing = [name for name in needed if name not in names]
        if missing:
            raise TableError(f"columns missing: {', '.join(missing)}; the file has: {', '.join(names) or 'none'}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file."""

    number: int
    """Its number, from 1; of CSV, the header's counted in."""
    outcome: Outcome | None = None
    """What it says; None: nothing, or nothing sound."""
    problem: str = ""
    """What is wrong with it."""


def read_outcome_table(path: Path | None, form: str | None) -> RowTable:
    """Reads a file of outcomes: CSV as text, so that 007 stays 007; JSON, JSON lines and Parquet with their types.

    Raises:
        TableError: it cannot be read, or there are no rows.
    """
    kind = form or ("csv" if path is None else path.suffix.lstrip(".").lower())
    if kind != "csv" or path is None:
        return read_table(path, form, ())
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: cannot be read: {error}") from error
    # One column cannot tell whose outcome which is; if it is another separator, the table's reader says so.
    wanted = [_text_column(name) for name in names] if len(names) > 1 else []
    return read_table(path, form, wanted)


def read_lines(table: RowTable, columns: FileColumns, *, endpoint: str, first_number: int) -> Iterator[Line]:
    """Yields the lines of a table; one whose value is missing says nothing.

    Args:
        table: the file.
        columns: which say what.
        endpoint: goes into the ids.
        first_number: of the first line.
    """
    names = list(table.columns)
    for number, cells in enumerate(zip(*table.columns.values(), strict=True), first_number):
        line = dict(zip(names, cells, strict=True))
        if line[columns.value] is None:
            yield Line(number)
            continue
        try:
            yield Line(number, _outcome_of(line, columns, endpoint))
        except (RendezvousError, ValueError) as error:
            yield Line(number, problem=str(error))


def outcome_value(kind: str, value: Any) -> Any:
    """Returns a value as it is sent: text as it is, but for a verdict that reads as a number or a flag.

    What is a truth or a reward the router reads as its output column asks.
    """
    if kind != "verdict" or not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    number = number_of(Outcome.verdict(value, request_id="r").to_proto())
    return value if number is None else number


def _outcome_of(line: Mapping[str, Any], columns: FileColumns, endpoint: str) -> Outcome:
    kind = _text(line.get("kind")) or columns.kind
    observed_at, row = line.get(columns.observed_at), line.get(columns.row)
    outcome = Outcome(
        kind=kind,
        value=outcome_value(kind, line[columns.value]),
        request_id=_required(line, columns.request_id) if columns.key is None else None,
        key=None if columns.key is None else (columns.key[0], _required(line, columns.key[1])),
        row=None if row is None else _whole(row),
        output=_text(line.get("output")) or columns.output,
        observed_at=None if observed_at is None else _moment(observed_at),
        source=_text(line.get("source")) or columns.source,
        feedback_id=_text(line.get("feedback_id")) or "none",
    )
    outcome.to_proto()  # raises where it cannot travel
    if outcome.feedback_id != "none":
        return outcome
    return replace(outcome, feedback_id=_id_of(outcome, endpoint))


def _id_of(outcome: Outcome, endpoint: str) -> str:
    """Returns an id that anybody would make who reports the same."""
    value = outcome.to_proto()
    said = (
        endpoint,
        outcome.kind,
        outcome.request_id,
        outcome.key,
        outcome.row,
        outcome.output,
        value.WhichOneof("value"),
        str(outcome.value),
        value.observed_unix_us,
        outcome.source,
    )
    return "fl-" + hashlib.blake2b(json.dumps(said).encode(), digest_size=_ID_BYTES).hexdigest()


def _required(line: Mapping[str, Any], name: str) -> str:
    text = _text(line[name])
    if not text:
        raise ValueError(f"column {name!r} is empty")
    return text


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers in which some are missing
    return "" if value is None else str(value)


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"row {value!r}: must be a whole number from 0")
    return int(number)


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value.strip())
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime):
        raise ValueError(f"time {value!r}: must be as ISO 8601 has it, 2026-11-22 or 2026-11-22T09:00:00Z")  # noqa: TRY004 # of a line, not of a call
    return value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)


def _text_column(name: str) -> ColumnSpec:
    return ColumnSpec(name=name, type=DataType.Name(DataType.DATA_TYPE_STRING), allow_missing=True)

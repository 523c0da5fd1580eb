"""Tables of rows to be scored, read from CSV, JSON and Parquet by an endpoint's signature; and written again."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rendezvous_proto import v1

FORMATS = ("csv", "json", "parquet")
"""Formats that can be read and written; `json` is a list of records, a mapping of columns, or JSON lines."""

_NULLS = ["", "NA", "null"]
_OTHER_SEPARATORS = (";", "\t", "|")
_ARROW_TYPES = {
    v1.DataType.DATA_TYPE_BOOL: pa.bool_(),
    v1.DataType.DATA_TYPE_UINT8: pa.uint8(),
    v1.DataType.DATA_TYPE_UINT16: pa.uint16(),
    v1.DataType.DATA_TYPE_UINT32: pa.uint32(),
    v1.DataType.DATA_TYPE_UINT64: pa.uint64(),
    v1.DataType.DATA_TYPE_INT8: pa.int8(),
    v1.DataType.DATA_TYPE_INT16: pa.int16(),
    v1.DataType.DATA_TYPE_INT32: pa.int32(),
    v1.DataType.DATA_TYPE_INT64: pa.int64(),
    v1.DataType.DATA_TYPE_FP16: pa.float32(),
    v1.DataType.DATA_TYPE_FP32: pa.float32(),
    v1.DataType.DATA_TYPE_FP64: pa.float64(),
    v1.DataType.DATA_TYPE_BYTES: pa.binary(),
    v1.DataType.DATA_TYPE_STRING: pa.string(),
}


class TableError(ValueError):
    """A file of rows cannot be read; the message names the file and the fault."""


@dataclass(frozen=True, slots=True)
class RowTable:
    """Rows to be scored, column by column."""

    columns: dict[str, list[Any]]
    """Values by column; None is missing."""
    ignored: tuple[str, ...] = ()
    """Columns of the file that the signature does not have."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def cut(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Returns rows *start* to *stop* (not included), column by column."""
        return {name: values[start:stop] for name, values in self.columns.items()}


def read_table(path: Path | None, form: str | None, columns: Sequence[v1.ColumnSpec]) -> RowTable:
    """Reads rows.

    Args:
        path: the file; None: standard input.
        form: one of `FORMATS`; None: by the file's suffix (standard input: csv).
        columns: input columns of the signature: they give the types, and other columns are left out. Empty: all
            columns are taken, types as the file has or suggests them.

    Raises:
        TableError: the file cannot be read, a value does not have its column's type, a column is missing, or
            there are no rows.
    """
    name = "standard input" if path is None else str(path)
    form = form or (path.suffix.lstrip(".").lower() if path is not None else "csv")
    if form in ("jsonl", "ndjson"):
        form = "json"
    if form not in FORMATS:
        raise TableError(f"{name}: format {form!r} is not known: use --format {', '.join(FORMATS)}")
    try:
        content = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise TableError(f"{name}: cannot be read: {error.strerror or error}") from error
    readers = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}
    try:
        values = readers[form](content, columns)
    except (pa.ArrowException, ValueError, KeyError, csv.Error) as error:
        raise TableError(f"{name}: {error}") from error
    return _select(values, columns, name)


def write_table(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes rows as CSV, JSON or Parquet, by the file's suffix.

    Raises:
        TableError: the suffix is another one, or the file cannot be written.
    """
    form = path.suffix.lstrip(".").lower()
    try:
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), path)
        elif form == "json":
            path.write_text(json.dumps(list(rows), indent=2, default=str) + "\n", encoding="utf-8")
        elif form == "csv":
            path.write_text(_csv_text(rows), encoding="utf-8")
        else:
            raise TableError(f"{path}: cannot write {form!r}: end the name in .csv, .json or .parquet")
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror or error}") from error


def _read_csv(content: bytes, columns: Sequence[v1.ColumnSpec]) -> dict[str, list[Any]]:
    types = {column.name: pa.string() if column.shape else _ARROW_TYPES[column.type] for column in columns}
    _check_csv_names(content, list(types))
    takes_missing_text = any(c.allow_missing and c.type == v1.DataType.DATA_TYPE_STRING for c in columns)
    options = pa_csv.ConvertOptions(
        column_types=types, null_values=_NULLS, strings_can_be_null=takes_missing_text or not columns
    )
    table = pa_csv.read_csv(io.BytesIO(content), convert_options=options).to_pydict()
    for column in columns:
        if column.shape and column.name in table:
            table[column.name] = [None if text is None else json.loads(text) for text in table[column.name]]
    return dict(table)


def _check_csv_names(content: bytes, wanted: Sequence[str]) -> None:
    """Refuses what Arrow would take in silence, or tell in words that lead nowhere.

    Args:
        content: the file.
        wanted: columns that are read; empty: all.

    Raises:
        ValueError: a column is there twice, or another separator stands between them.
    """
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace", newline="")
    names = next(csv.reader(text), [])
    other = next((each for each in _OTHER_SEPARATORS if len(names) == 1 and each in names[0]), None)
    if other is not None and (not wanted or names[0] not in wanted):
        said = "tabs" if other == "\t" else repr(other)
        raise ValueError(f"its columns are separated by {said}: separate them by commas, write decimals with a point")
    twice = [name for name, count in Counter(names).items() if count > 1 and name and (not wanted or name in wanted)]
    if twice:
        raise ValueError(f"columns that are there more than once: {', '.join(twice)}: leave one of each")


def _read_json(content: bytes, _columns: Sequence[v1.ColumnSpec]) -> dict[str, list[Any]]:
    text = content.decode("utf-8").strip()
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(document, dict) and document and all(isinstance(each, list) for each in document.values()):
        lengths = {name: len(values) for name, values in document.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")
        return document
    records = [document] if isinstance(document, dict) else document
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("expected a list of records, a mapping of columns, or JSON lines")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _read_parquet(content: bytes, _columns: Sequence[v1.ColumnSpec]) -> dict[str, list[Any]]:
    return dict(pq.read_table(pa.BufferReader(content)).to_pydict())


def _select(values: dict[str, list[Any]], columns: Sequence[v1.ColumnSpec], name: str) -> RowTable:
    wanted = [column.name for column in columns] or list(values)
    missing = [each for each in wanted if each not in values]
    if missing:
        raise TableError(f"{name}: columns missing: {', '.join(missing)}; it has: {', '.join(values) or 'none'}")
    table = RowTable({each: values[each] for each in wanted}, tuple(each for each in values if each not in wanted))
    if table.rows == 0:
        raise TableError(f"{name}: no rows")
    return table


def _csv_text(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

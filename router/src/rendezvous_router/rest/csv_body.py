"""CSV bodies (RFC 4180, with a header line): every value read by the type that the signature declares.

pyarrow splits the lines, all values as text; the text becomes values here, so that a refusal names column and row.
An empty value is missing; an empty value in quotes is empty text.
"""

import csv as plain_csv
import re
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError, SignatureMismatchError
from rendezvous_proto.frames import type_name

from rendezvous_router.rest.columns import NON_FINITE
from rendezvous_router.rest.json_body import check_rows

__all__ = ["read_csv"]

_T = v1.DataType
_TEXTS = (_T.DATA_TYPE_STRING, _T.DATA_TYPE_BYTES)
_FLOATS = (_T.DATA_TYPE_FP16, _T.DATA_TYPE_FP32, _T.DATA_TYPE_FP64)
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_INTEGER = r"^-?(0|[1-9][0-9]*)$"
_LINE_END = re.compile(rb"[\r\n]")
_MARK = b"\xef\xbb\xbf"


def read_csv(body: bytes, inputs: list[v1.ColumnSpec], max_rows: int) -> tuple[dict[str, list[Any]], int]:
    """Returns the columns of *body* as values of JSON (BYTES as base64), and the number of rows.

    Args:
        body: header line, then one line a row; UTF-8.
        inputs: the signature.
        max_rows: most rows.

    Raises:
        InvalidRequestError: it is no CSV, or the endpoint declares no columns, and so no types.
        InvalidFrameError: a value is not of its column's type; names column and row.
        SignatureMismatchError: the header line has more names than the signature.
        TooLargeError: it has more rows.
    """
    if not inputs:
        raise InvalidRequestError(
            "this endpoint declares no input columns, so that CSV has no types: send JSON or Arrow"
        )
    specs = {spec.name: spec for spec in inputs}
    try:
        body.decode()
    except UnicodeDecodeError as error:  # asked before pyarrow, which cannot tell of a bad line that is no text
        raise _no_csv() from error
    names = _names(body, specs)
    table = _split(body, len(names))
    if [column[0].as_py() for column in table.columns] != names:
        raise _no_csv()
    table = table.slice(1)
    check_rows(table.num_rows, max_rows)
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        spec = specs.get(name)
        columns[name] = column.to_pylist() if spec is None else _values(spec, column.combine_chunks())
    return columns, table.num_rows


def _names(body: bytes, specs: dict[str, v1.ColumnSpec]) -> list[str]:
    """Returns the names of the header line, checked before columns are made of them: a column costs more than its name.

    One name that is not declared may be among them, for the router to refuse.
    """
    start = len(_MARK) if body.startswith(_MARK) else 0
    end = _LINE_END.search(body, start)
    line = body[start : end.start() if end else len(body)].decode()
    if line.count('"') % 2:
        raise InvalidRequestError("body: the header line has a line break within a name: give names without")
    try:
        names = next(plain_csv.reader([line], strict=True), [])
    except plain_csv.Error as error:
        raise _no_csv() from error
    seen: set[str] = set()
    unknown = 0
    for index, name in enumerate(names):
        if not name or name in seen:
            fault = "is there twice" if name else "has no name"
            raise InvalidRequestError(f"body: column {index + 1} of the header line, {name[:80]!r}, {fault}")
        seen.add(name)
        unknown += name not in specs
        if unknown > 1:
            raise SignatureMismatchError(
                f"body: column {index + 1} of the header line, {name[:80]!r}, is unknown, and not the only one: the "
                f"endpoint declares {', '.join(specs)}",
                {"column": name[:80]},
            )
    if not names:
        raise _no_csv()
    return names


def _split(body: bytes, width: int) -> pa.Table:
    if body.count(b'"') % 2:
        raise InvalidRequestError("body: a quote in the CSV is not closed")
    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "skip"

    # The header line is read as a row, so that all columns are text whatever they are called.
    options = csv.ConvertOptions(
        column_types={f"f{index}": pa.string() for index in range(width)},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        table = csv.read_csv(
            pa.py_buffer(body),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(body) + 1, autogenerate_column_names=True),
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            convert_options=options,
        )
    except pa.ArrowInvalid as error:
        raise _no_csv() from error
    if wrong:
        row = wrong[0]
        raise InvalidRequestError(
            f"body: a line has {row.actual_columns} values, the header line has {row.expected_columns} columns",
            {"expected": row.expected_columns, "actual": row.actual_columns},
        )
    return table


def _no_csv() -> InvalidRequestError:
    return InvalidRequestError("body: is not CSV in UTF-8 with a header line and one line a row (RFC 4180)")


def _values(spec: v1.ColumnSpec, text: Any) -> list[Any]:
    if spec.shape:
        return [_nested(spec, row, cell) for row, cell in enumerate(text.to_pylist())]
    if spec.type in _TEXTS:
        return list(text.to_pylist())
    if spec.type == _T.DATA_TYPE_BOOL:
        return [_boolean(spec, row, cell) for row, cell in enumerate(text.to_pylist())]
    is_float = spec.type in _FLOATS
    fits = pc.match_substring_regex(text, _NUMBER if is_float else _INTEGER)
    if pc.all(fits, min_count=0).as_py() is not False:
        read = float if is_float else int
        return [None if cell is None else _number(spec, row, cell, read) for row, cell in enumerate(text.to_pylist())]
    return [_unusual(spec, row, cell, is_float) for row, cell in enumerate(text.to_pylist())]


def _unusual(spec: v1.ColumnSpec, row: int, cell: str | None, is_float: bool) -> Any:
    if cell is None or (is_float and cell in NON_FINITE):
        return cell
    if not pc.match_substring_regex(pa.array([cell]), _NUMBER)[0].as_py():
        raise _refusal(spec, row, cell)
    if is_float:
        return _number(spec, row, cell, float)
    if pc.match_substring_regex(pa.array([cell]), _INTEGER)[0].as_py():
        return _number(spec, row, cell, int)
    value = _number(spec, row, cell, float)
    if not value.is_integer():
        raise _refusal(spec, row, cell)
    return int(value)


def _number(spec: v1.ColumnSpec, row: int, cell: str, read: Any) -> Any:
    try:
        value = read(cell)
    except ValueError as error:  # an integer of thousands of digits
        raise _refusal(spec, row, cell) from error
    if read is float and value in (float("inf"), float("-inf")):
        raise _refusal(spec, row, cell)
    return value


def _boolean(spec: v1.ColumnSpec, row: int, cell: str | None) -> bool | None:
    if cell is None:
        return None
    lowered = cell.lower()
    if lowered not in ("true", "false", "1", "0"):
        raise _refusal(spec, row, cell)
    return lowered in ("true", "1")


def _nested(spec: v1.ColumnSpec, row: int, cell: str | None) -> Any:
    if cell is None:
        return None
    try:
        return msgspec.json.decode(cell, type=list[Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(spec, row, cell) from error


def _refusal(spec: v1.ColumnSpec, row: int, cell: str) -> InvalidFrameError:
    shown, expected = spec.name[:80], f"{type_name(spec.type)}{list(spec.shape) if spec.shape else ''}"
    return InvalidFrameError(
        f"column {shown!r}, row {row}: {cell[:40]!r} is not of type {expected}",
        {"column": shown, "row": row, "expected": expected},
    )

"""JSON bodies: rows as objects, or columns as arrays. Strict where JSON's readers usually look away.

msgspec refuses NaN, numbers out of range, lone surrogates and what is not UTF-8. Duplicate keys it does not see, and
depth it limits at Python's own: both are counted here, at next to no cost for a body that has neither.
"""

import json
import re
from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from rendezvous_proto.errors import InvalidFrameError, InvalidRequestError, TooLargeError

__all__ = ["DEPTH", "SPARSE_CELLS", "JsonBody", "check_json", "check_rows", "read_json"]

DEPTH = 32
"""Deepest nesting of arrays and objects."""
SPARSE_CELLS = 65_536
"""Most values, the missing counted in, of rows that differ in their names where no names are declared."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


class JsonBody(Struct, forbid_unknown_fields=True):
    """What a body says."""

    rows: list[dict[str, Any]] | UnsetType = UNSET
    """One object a row."""
    columns: dict[str, list[Any]] | UnsetType = UNSET
    """One array a column."""
    context: dict[str, str] | UnsetType = UNSET
    """For policies."""
    request_id: str | UnsetType = UNSET
    """The request's id."""

    def table(self, max_rows: int, declared: Collection[str]) -> tuple[dict[str, list[Any]], int]:
        """Returns the columns, and the number of rows.

        What it costs is bounded by rows x declared columns: of names that are not declared only the first one found is
        a column, for the router to refuse.

        Args:
            max_rows: most rows.
            declared: names of the declared columns; none: any are taken.

        Raises:
            InvalidRequestError: there are neither rows nor columns, or both.
            InvalidFrameError: columns differ in their length; or rows in their names, by more than can be filled up.
            TooLargeError: it has more rows.
        """
        rows, columns = self.rows, self.columns
        if isinstance(rows, UnsetType) == isinstance(columns, UnsetType):
            raise InvalidRequestError(
                'body: give either "rows", a list of objects, or "columns", an object of arrays',
                {"expected": "rows or columns"},
            )
        if not isinstance(rows, UnsetType):
            check_rows(len(rows), max_rows)
            return _columns_of(rows, declared), len(rows)
        assert not isinstance(columns, UnsetType), "said above"
        sizes = {len(values) for values in columns.values()}
        if len(sizes) > 1:
            first, count = next((name, len(values)) for name, values in columns.items())
            name, other = next((name, len(values)) for name, values in columns.items() if len(values) != count)
            raise InvalidFrameError(
                f"column {name[:80]!r}: has {other} rows, column {first[:80]!r} has {count}: all must have the same",
                {"column": name[:80], "expected": count, "actual": other},
            )
        count = sizes.pop() if sizes else 0
        check_rows(count, max_rows)
        return columns, count

    def keys(self) -> int:
        """Returns how many keys the body has if none is there twice."""
        count = 0
        for value in (self.rows, self.columns, self.context):
            if isinstance(value, dict):
                count += 1 + len(value)
            elif isinstance(value, list):
                count += 1 + sum(map(len, value))
        return count + (self.request_id is not UNSET)


_decode_object = msgspec.json.Decoder(JsonBody).decode
_decode_rows = msgspec.json.Decoder(list[dict[str, Any]]).decode


def read_json(body: bytes) -> JsonBody:
    """Returns what *body* says.

    Raises:
        InvalidRequestError: it is no such JSON; says where.
    """
    is_list = body.lstrip(b" \t\r\n")[:1] == b"["
    try:
        read = JsonBody(rows=_decode_rows(body)) if is_list else _decode_object(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"body: {_reason(error)}") from error
    except RecursionError as error:
        raise _too_deep() from error
    check_json(body, read.keys() - is_list)
    return read


def check_json(body: bytes, keys: int) -> None:
    """Checks a document that was read: nesting, and keys there twice.

    Args:
        body: the document, valid JSON.
        keys: how many different keys its objects have, all told. Objects whose keys are not counted cost time, no more.

    Raises:
        InvalidRequestError: it is nested too deep, or a key is there twice in one object.
    """
    # Counted everywhere, strings included: an upper bound, and nearly always enough.
    is_flat = body.count(b"[") + body.count(b"{") <= DEPTH
    is_plain = body.count(b":") <= keys
    if is_flat and is_plain:
        return
    marks = _STRING.sub(b"", body)
    if not is_flat:
        _check_depth(marks)
    if not is_plain and marks.count(b":") != keys:
        json.loads(body, object_pairs_hook=_check_keys)


def check_rows(rows: int, limit: int) -> None:
    """Refuses too many rows before they are made columns, which costs more than to read them.

    Raises:
        TooLargeError: there are more than *limit*.
    """
    if rows > limit:
        raise TooLargeError(
            f"request of {rows} rows: the limit is {limit} rows; send several requests",
            {"limit": limit, "actual": rows},
        )


def _columns_of(rows: list[dict[str, Any]], declared: Collection[str]) -> dict[str, list[Any]]:
    if len(rows) == 1:
        return {name: [value] for name, value in rows[0].items()}
    if not rows:
        return {}
    first = rows[0]
    try:
        if all(len(row) == len(first) for row in rows):
            return {name: [row[name] for row in rows] for name in first}
    except KeyError:
        pass  # as many names, but others
    names = _names_of(rows, declared)
    return {name: [row.get(name) for row in rows] for name in names}


def _names_of(rows: list[dict[str, Any]], declared: Collection[str]) -> dict[str, None]:
    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            if name in names:
                continue
            names[name] = None
            if declared and name not in declared:
                return names  # refused by name, whatever else there is
            if not declared and len(names) * len(rows) > SPARSE_CELLS:
                raise InvalidFrameError(
                    f"rows: {len(rows)} rows have {len(names)} or more different names, which makes more than "
                    f"{SPARSE_CELLS} values, most of them missing: give all rows the same names, null where missing",
                    {"limit": SPARSE_CELLS},
                )
    return names


def _check_depth(marks: bytes) -> None:
    octets = np.frombuffer(marks, dtype=np.uint8)
    steps = np.zeros(len(octets), dtype=np.int32)
    steps[(octets == ord("[")) | (octets == ord("{"))] = 1
    steps[(octets == ord("]")) | (octets == ord("}"))] = -1
    if int(steps.cumsum(dtype=np.int32).max()) > DEPTH:
        raise _too_deep()


def _check_keys(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequestError(
                f"body: key {name[:80]!r} is there twice in one object: which value is meant?", {"key": name[:80]}
            )
        seen.add(name)


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError(f"body: is nested deeper than {DEPTH} levels, the limit", {"limit": DEPTH})


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    if isinstance(error, msgspec.ValidationError):
        return str(error)
    return (
        f"is not JSON: {error} (NaN and infinite numbers are not JSON either: in columns of floats write them as text)"
    )

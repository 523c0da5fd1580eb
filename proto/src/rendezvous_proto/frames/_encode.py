"""Encodes tables of any of the usual kinds as frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames._arrays import column_of_array, refuse_column
from rendezvous_proto.frames._check import shown_name
from rendezvous_proto.frames._lists import column_of_list
from rendezvous_proto.frames._types import type_number


def encode_frame(table: Any, *, types: Mapping[str, int | str] | None = None) -> v1.Frame:
    """Returns *table* as a frame; columns and rows keep their order.

    Types follow from the values: NumPy, pandas and Arrow dtypes keep their width; of Python values, `bool` becomes
    BOOL, `int` INT64 (UINT64 if one is too large), `float` FP64, `str` STRING, `bytes` BYTES.
    Points in time become INT64, microseconds since 1970-01-01 UTC (finer parts are cut off; without a time zone
    they are taken as UTC). Lists or arrays as rows' values give the column a shape.

    None, `pd.NA`, `NaT`, Arrow nulls and absent keys become missing rows. NaN stays NaN in a column of floats; among
    strings, where pandas writes it for None, it is missing.

    Args:
        table: A mapping of names to lists, arrays (rows, *shape) or Series; a list of dictionaries, one a row; a
            pandas DataFrame (its index is not sent); or a pyarrow Table or RecordBatch.
        types: Types by column name, as numbers or names (`FP64`), where they should not follow from the values.
            Numbers are converted if nothing but precision of floats is lost. Default: none.

    Raises:
        InvalidFrameError: If a column has no type here, mixes types, changes its shape, is of another length than
            the first, does not fit the type asked for; or a name is empty, not text or there twice.
            Attribute `column`: its name.
    """
    wanted = {name: type_number(kind) for name, kind in (types or {}).items()}
    sources = _columns_of(table, wanted)
    unknown = wanted.keys() - {name for name, _ in sources}
    if unknown:
        name = min(unknown)
        raise InvalidFrameError(
            f"column {shown_name(name)!r} is named in `types` but is not in the table", {"column": name}
        )
    frame = v1.Frame()
    for index, (name, source) in enumerate(sources):
        column, rows = _encode_column(name, source, wanted.get(name))
        if index and rows != frame.rows:
            refuse_column(
                name,
                f"has {rows} rows, column {shown_name(sources[0][0])!r} has {frame.rows}: all must have the same",
                expected=frame.rows,
                actual=rows,
            )
        frame.rows = rows
        frame.columns.append(column)
    return frame


def _columns_of(table: Any, wanted: Mapping[str, int]) -> list[tuple[str, Any]]:
    """Returns names and values of the columns, names checked."""
    origin = type(table).__module__.partition(".")[0]
    if isinstance(table, Mapping):
        pairs = list(table.items())
    elif origin == "pandas" and hasattr(table, "columns"):
        pairs = [(name, table.iloc[:, index]) for index, name in enumerate(table.columns)]
    elif origin == "pyarrow" and hasattr(table, "column_names"):
        pairs = [(name, table.column(index)) for index, name in enumerate(table.column_names)]
    elif isinstance(table, Sequence) and not isinstance(table, str | bytes):
        pairs = list(_columns_of_records(table, wanted).items())
    else:
        raise InvalidFrameError(
            f"a table of type {type(table).__qualname__} cannot be encoded: give a mapping of names to columns, "
            "a list of dictionaries, a pandas DataFrame or a pyarrow Table"
        )
    seen = set()
    for index, (name, _) in enumerate(pairs):
        if not isinstance(name, str) or not name or name in seen:
            fault = "is there twice" if name in seen else "must be text and not empty"
            raise InvalidFrameError(
                f"column number {index}: its name, {name!r}, {fault}", {"column": name, "index": index}
            )
        seen.add(name)
    return pairs


def _columns_of_records(records: Sequence[Any], wanted: Mapping[str, int]) -> dict[Any, list[Any]]:
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InvalidFrameError(
                f"row {row} is of type {type(record).__qualname__}: a list of rows holds dictionaries",
                {"row": row},
            )
    if not records:
        return {name: [] for name in wanted}
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _encode_column(name: str, source: Any, kind: int | None) -> tuple[v1.Column, int]:
    if isinstance(source, list | tuple):
        return column_of_list(name, source, kind)
    if isinstance(source, np.ndarray):
        return column_of_array(name, source, kind)
    origin = type(source).__module__.partition(".")[0]
    if origin == "pandas" and hasattr(source, "array"):
        from rendezvous_proto.frames._pandas import column_of_series  # noqa: PLC0415 - pandas is optional

        return column_of_series(name, source, kind)
    if origin == "pyarrow" and hasattr(source, "null_count"):
        from rendezvous_proto.frames._arrow import column_of_arrow  # noqa: PLC0415 - pyarrow is optional

        return column_of_arrow(name, source, kind)
    return refuse_column(
        name,
        f"a value of type {type(source).__qualname__} is no column: give a list or an array with one value a row",
    )

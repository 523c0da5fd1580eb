"""Pieces of SQL text: names and literals that cannot break out of it, and the one way to count a repeat once."""

import datetime as dt
from collections.abc import Iterable, Sequence

__all__ = ["SCHEME", "add_suffix", "count_once", "moment", "name", "names", "text", "texts"]

SCHEME = "archive://"
"""Before the path of a file that DuckDB is to read through the archive's own file system."""


def name(value: str) -> str:
    """Returns a name as SQL has it, quoted."""
    return '"' + value.replace('"', '""') + '"'


def names(values: Iterable[str], *, of: str = "") -> str:
    """Returns names, quoted, with commas; *of*: the table they are of."""
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + name(value) for value in values)


def text(value: str) -> str:
    """Returns a text as SQL has it, quoted."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Returns a list of texts."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def moment(value: dt.datetime) -> str:
    """Returns a moment as SQL has it."""
    return f"TIMESTAMPTZ '{value.astimezone(dt.UTC).isoformat(sep=' ', timespec='microseconds')}'"


def add_suffix(wanted: str, taken: set[str]) -> str:
    """Returns a column's name with `_` appended until it is none of *taken* (in lower case), and takes it."""
    while wanted.lower() in taken:
        wanted += "_"
    taken.add(wanted.lower())
    return wanted


def count_once(table: str, keys: Sequence[str], order: str) -> str:
    """Returns a query of a table's rows, the first alone where several have the same keys.

    Sorting all rows by their keys would cost most of a query's time, and repeats are rare. So their keys are found by
    hash, eight bytes each, and only rows with such a hash (all repeats, and by chance a few others) are sorted.

    Args:
        table: its name, quoted.
        keys: names of the columns that tell what a row is about.
        order: which row is the first, as ORDER BY has it.
    """
    columns = names(keys)
    key = f"hash({columns})"
    return (
        f"WITH repeated AS MATERIALIZED (SELECT {key} AS key FROM {table} GROUP BY ALL HAVING count(*) > 1)\n"  # noqa: S608
        f"SELECT * FROM {table} WHERE {key} NOT IN (FROM repeated)\n"
        f"UNION ALL SELECT * FROM {table} WHERE {key} IN (FROM repeated)\n"
        f"QUALIFY row_number() OVER (PARTITION BY {columns} ORDER BY {order}) = 1"
    )

"""What became known, as a table of DuckDB: one truth for each request and row that has one."""

from dataclasses import dataclass

import duckdb
from rendezvous_sdk.archive.sql_text import name
from rendezvous_sdk.archive.truth import truth_columns, truth_tables

from rendezvous_router.compare.columns import Columns

__all__ = ["Truths", "gather_truths"]

CLASSES, NUMBERS = "classes", "numbers"


@dataclass(frozen=True, slots=True)
class Truths:
    """The truths that there are; table `compared_truths` (request_id, row or -1 for all rows, text, number)."""

    count: int
    """How many."""
    task: str | None
    """`classes`: labels, or numbers that are all 0 or 1; `numbers`; None: there are no truths."""
    is_text: bool = False
    """Whether they are labels."""
    by_row: bool = False
    """Whether some are about one row of a request."""


def gather_truths(connection: duckdb.DuckDBPyConnection, columns: Columns) -> Truths:
    """Makes the table `compared_truths` of all feedback about the compared columns; corrections are in force.

    Texts where the label is one, else numbers. Numbers are about the score, or about the label if that is a flag.
    """
    if not connection.execute("SELECT 1 FROM feedback WHERE kind = 'truth' LIMIT 1").fetchall():
        return Truths(0, None)
    shown = truth_columns(columns.outputs, set())
    tables = truth_tables("feedback", "inputs", columns.outputs, shown)
    text, numbers = _truth_sql(columns, shown)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE compared_truths AS WITH {tables} SELECT request_id, row, {text} AS text, "  # noqa: S608
        f"CAST({numbers} AS DOUBLE) AS number FROM known WHERE {text} IS NOT NULL OR {numbers} IS NOT NULL"
    )
    texts, found, others, by_row = connection.execute(
        "SELECT count(text), count(number), count(*) FILTER (number NOT IN (0, 1)), count(*) FILTER (row >= 0) "
        "FROM compared_truths"
    ).fetchall()[0]
    if texts:
        return Truths(texts, CLASSES, is_text=True, by_row=bool(by_row))
    return Truths(found, None if not found else NUMBERS if others else CLASSES, by_row=bool(by_row))


def _truth_sql(columns: Columns, shown: dict[str, str]) -> tuple[str, str]:
    label, score = columns.label, columns.score
    kind = columns.outputs[label].type if label is not None else None
    # A threshold stands in for a label, whose truths still tell the class.
    texts = [column for column, told in columns.outputs.items() if told.type == "STRING" and not told.shape]
    of_text = label if kind == "STRING" else texts[0] if texts and label is None else None
    text = name(shown[of_text]) if of_text is not None else "CAST(NULL AS VARCHAR)"
    numbers = [name(shown[each]) for each in (label if kind == "BOOL" else None, score) if each is not None]
    casts = [f"CAST({each} AS DOUBLE)" for each in (*numbers, "truth_number")]
    return text, f"coalesce({', '.join(casts)})"

"""What became known, as a table of DuckDB: one truth for each request and row that has one."""

from dataclasses import dataclass

import duckdb
from rendezvous_sdk.archive.sql_text import name
from rendezvous_sdk.archive.truth import truth_columns, truth_tables

from rendezvous_router.compare.columns import Columns

__all__ = ["Truths", "gather_truths", "leave_out_unreadable"]

CLASSES, NUMBERS = "classes", "numbers"


@dataclass(frozen=True, slots=True)
class Truths:
    """The truths that there are; table `compared_truths` (request_id, row or -1 for all rows, text, number)."""

    count: int
    """How many in the task's form."""
    task: str | None
    """`classes`: labels, or numbers that are all 0 or 1; `numbers`; None: there are no truths."""
    is_text: bool = False
    """Whether they are labels."""
    by_row: bool = False
    """Whether some are about one row of a request."""
    other_form: int = 0
    """How many have the other form: numbers among labels, labels among numbers."""


def gather_truths(connection: duckdb.DuckDBPyConnection, columns: Columns) -> Truths:
    """Makes the table `compared_truths` of all feedback about the compared columns; corrections are in force.

    Texts where the label is one, unless more of the truths are numbers beside 0 and 1; else numbers. Numbers are about
    the score, or about the label if that is a flag.
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
    texts, found, others, by_row, no_text, no_number = connection.execute(
        "SELECT count(text), count(number), count(*) FILTER (text IS NULL AND number NOT IN (0, 1)), "
        "count(*) FILTER (row >= 0), count(*) FILTER (text IS NULL), count(*) FILTER (number IS NULL) "
        "FROM compared_truths"
    ).fetchall()[0]
    if texts and texts >= others:
        return Truths(texts, CLASSES, is_text=True, by_row=bool(by_row), other_form=no_text)
    task = None if not found else NUMBERS if others else CLASSES
    return Truths(found, task, by_row=bool(by_row), other_form=no_number)


def leave_out_unreadable(connection: duckdb.DuckDBPyConnection, truths: Truths, *, has_positive: bool) -> int:
    """Removes from `compared_truths` what is not in the task's form, and returns how many truths that were.

    Among labels the numbers 1 and 0 say whether it is the positive one. A number about a row does not hide the label
    that is known of its request.
    """
    if not truths.other_form:
        return 0
    if not truths.is_text:
        return _delete(connection, "number IS NULL")
    labelled = "SELECT request_id FROM compared_truths WHERE row < 0 AND text IS NOT NULL"
    _delete(connection, f"text IS NULL AND row >= 0 AND request_id IN ({labelled})")  # a constant
    return _delete(connection, "text IS NULL AND number NOT IN (0, 1)" if has_positive else "text IS NULL")


def _delete(connection: duckdb.DuckDBPyConnection, condition: str) -> int:
    return int(connection.execute(f"DELETE FROM compared_truths WHERE {condition}").fetchall()[0][0])  # noqa: S608


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

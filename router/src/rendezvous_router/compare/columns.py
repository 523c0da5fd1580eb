"""Which output columns are compared, and what the truth about them looks like."""

from dataclasses import dataclass

import duckdb
from rendezvous_sdk.archive.reader import Archive
from rendezvous_sdk.archive.schema import SignatureColumn, signature_of
from rendezvous_sdk.archive.sql_text import name

from rendezvous_router.compare.census import Side, Slice
from rendezvous_router.compare.question import CompareError, Question

__all__ = ["Columns", "check_positive", "find_columns", "find_positive"]

_FLOATS = ("FP16", "FP32", "FP64")
_LABELS = ("STRING", "BOOL")
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The compared columns, by their names in the archive."""

    score: str | None
    """The number; None: the endpoint's outputs have none."""
    label: str | None
    """The text or flag; None: there is none, or a threshold makes it from the score."""
    threshold: float | None
    """Scores from here on mean the positive label; None: the label is an output."""
    outputs: dict[str, SignatureColumn]
    """All outputs, by their names in the archive."""

    @property
    def score_sql(self) -> str:
        """The score as a double."""
        return f"CAST({name(self.score)} AS DOUBLE)" if self.score is not None else "CAST(NULL AS DOUBLE)"

    @property
    def label_sql(self) -> str:
        """The label as text."""
        if self.label is not None:
            return f"CAST({name(self.label)} AS VARCHAR)"
        return "CAST(NULL AS VARCHAR)"


def find_columns(archive: Archive, question: Question) -> Columns:
    """Returns the columns to compare.

    Raises:
        CompareError: the named output does not exist, or there is nothing that can be compared.
    """
    outputs = signature_of(archive.dataset("scores").schema)
    scalars = {column: told for column, told in outputs.items() if not told.shape}
    numbers = sorted(
        (column for column, told in scalars.items() if told.type not in (*_LABELS, "BYTES")),
        key=lambda column: scalars[column].type not in _FLOATS,
    )
    labels = [column for column, told in scalars.items() if told.type in _LABELS]
    if question.output is not None:
        chosen = next((column for column, told in scalars.items() if told.name == question.output), None)
        if chosen is None or chosen not in (*numbers, *labels):
            raise CompareError(
                f"there is no output {question.output!r} to compare: one number, text or flag for each row; there are "
                f"{', '.join(scalars[column].name for column in (*numbers, *labels)) or 'none'}"
            )
        numbers, labels = ([chosen], labels) if chosen in numbers else (numbers, [chosen])
    if not numbers and not labels:
        raise CompareError("the outputs hold no number, text or flag for each row: there is nothing to compare")
    if question.threshold is not None and not numbers:
        raise CompareError("a threshold needs a number among the outputs, and there is none")
    score, label = (each[0] if each else None for each in (numbers, labels))
    if question.threshold is not None:
        return Columns(score=score, label=None, threshold=question.threshold, outputs=outputs)
    return Columns(score=score, label=label, threshold=None if label else DEFAULT_THRESHOLD, outputs=outputs)


def check_positive(
    connection: duckdb.DuckDBPyConnection, columns: Columns, positive: str, *, truths_are_text: bool
) -> None:
    """Sees to it that a positive label is one that models or truths have.

    Args:
        connection: to an archive's views, and, where truths are text, to the table `compared_truths`.
        columns: the compared columns.
        positive: the label.
        truths_are_text: whether there are labels among the truths.

    Raises:
        CompareError: nobody ever said it; tells which labels there are.
    """
    sources = [f"SELECT {columns.label_sql} AS label FROM scores"] if columns.label is not None else []  # noqa: S608 # quoted
    sources += ["SELECT text AS label FROM compared_truths"] if truths_are_text else []
    if not sources:
        raise CompareError(
            f"there is no label {positive!r}: neither scores nor truths have labels, leave out --positive"
        )
    labels = " UNION ALL ".join(sources)
    if connection.execute(f"SELECT 1 FROM ({labels}) WHERE label = ? LIMIT 1", [positive]).fetchall():  # noqa: S608 # the same
        return
    rows = connection.execute(
        f"SELECT label FROM ({labels}) WHERE label IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 21"  # noqa: S608
    ).fetchall()
    known = ", ".join(str(row[0]) for row in rows[:20]) + (", ..." if len(rows) > 20 else "")
    raise CompareError(f"there is no label {positive!r} for --positive; there are {known or 'none'}")


def find_positive(
    connection: duckdb.DuckDBPyConnection, columns: Columns, side: Side, part: Slice, labels: str
) -> str | None:
    """Returns the label that scores tell the probability of: that whose rows have the highest mean score.

    Args:
        connection: to an archive's views.
        columns: the compared columns.
        side: whose scores are looked at.
        part: which of them.
        labels: the column with the labels.

    Returns:
        The label; None: nothing tells.
    """
    if columns.score is None:
        return None
    rows = connection.execute(
        f"SELECT CAST({name(labels)} AS VARCHAR) AS label FROM scores "  # noqa: S608 # quoted names
        f"WHERE {part.condition} AND {side.condition} AND error_code IS NULL AND {name(labels)} IS NOT NULL "
        f"AND NOT isnan({columns.score_sql}) GROUP BY 1 ORDER BY avg({columns.score_sql}) DESC, label LIMIT 1"
    ).fetchall()
    return str(rows[0][0]) if rows else None

"""What goes into a mailbox and what comes out of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class Columns(Protocol):
    """A model's output table as rules read it; decoded lazily, on `column`."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def column(self, name: str, /) -> Sequence[Any]:
        """Values of one column as Python scalars (nested lists where it has a shape); None marks missing."""


class Table:
    """`Columns` over plain lists: for recorded scores and for tests.

    Args:
        columns: Values by column name, at least one column, all of one length; None marks missing.
    """

    __slots__ = ("_columns", "rows")

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"columns of one length expected, found lengths {sorted(lengths)}")
        self._columns = columns
        self.rows = lengths.pop()

    def column(self, name: str, /) -> Sequence[Any]:
        """See `Columns.column`."""
        return self._columns[name]


class Failure(Struct, frozen=True):
    """Why a model gave no valid score."""

    code: int
    """Number of the contract's ErrorCode."""
    message: str
    """For people."""


class Score(Struct, frozen=True):
    """One model's reply to one request: `columns`, or `error`."""

    model: str
    """Name of the model."""
    version: str
    """Version that answered."""
    columns: Columns | None = None
    """Its output; None with `error`."""
    error: Failure | None = None
    """Why it failed; None: it did not."""
    request_id: str | None = None
    """The request that was answered; a mailbox refuses another request's. None: the caller vouches for it."""


class Arrival(Struct, frozen=True):
    """A score and when it came."""

    score: Score
    """What came."""
    at: float
    """When, seconds of the mailbox's clock."""


class Picked(Struct, frozen=True):
    """Every row as one model answered it."""

    model: str
    """That model."""


class PickedRows(Struct, frozen=True):
    """Each row as one of several models answered it."""

    models: tuple[str, ...]
    """The model of each row."""


class Merged(Struct, frozen=True):
    """Values computed from several models' scores."""

    columns: dict[str, list[Any]]
    """Computed columns by name, one value a row; None marks missing."""
    rest: tuple[str, ...] = ()
    """The model of each row for the output columns that are not in `columns`; empty: there are none."""


class Otherwise(Struct, frozen=True):
    """The policy's fixed answer, the same for every row."""

    values: dict[str, Any]
    """Value of each output column."""


class NoAnswer(Struct, frozen=True):
    """Nothing satisfied the policy, and its `otherwise` is `error`."""


Answer = Picked | PickedRows | Merged | Otherwise | NoAnswer


class Decision(Struct, frozen=True):
    """What is answered, and why."""

    rule: str
    """What decided: `steps[1].majority`, `canary`, `otherwise`, `forced`, `none` or `enrichers.<name>`."""
    answer: Answer
    """What is answered."""
    models: tuple[str, ...]
    """Models whose scores make up the answer, the one that gave most of it first; empty: none did."""
    decided_at: float
    """When, seconds of the mailbox's clock."""
    reason: str
    """Why, for people; steps that failed before it are named."""
    due_at: float
    """The moment that settled it: the arrival of a score, or the end of a step. `decided_at` is later where the
    mailbox was woken late; replayed in virtual time the two are one."""

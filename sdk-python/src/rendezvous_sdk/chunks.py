"""A large table in pieces: what of it was answered, what is to be sent again, what failed. No I/O."""

from dataclasses import dataclass
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, NoAnswerError, RendezvousError
from rendezvous_proto.ids import new_id

from rendezvous_sdk.answer import Answer
from rendezvous_sdk.calls import build_request

__all__ = ["Chunk", "ChunkedTable", "RowsFailedError", "is_passing"]

_NAMED = 5


class RowsFailedError(RendezvousError):
    """Some rows of a table have no answer. `code` is that of the first failure."""

    def __init__(self, failures: "tuple[Chunk, ...]", answered: Any) -> None:
        first = failures[0].failure
        named = ", ".join(str(each) for each in failures[:_NAMED])
        more = f" and {len(failures) - _NAMED} more ranges" if len(failures) > _NAMED else ""
        rows = sum(each.rows for each in failures)
        super().__init__(
            f"{rows} rows have no answer: rows {named}{more}; the first: {first.message}", first.attributes
        )
        self.code = first.code  # type: ignore[misc] # of this one, not of the class
        self.failures = failures
        """The failed pieces: `first_row`, `rows`, `error`."""
        self.answered = answered
        """The answers of all other rows, as `score_table` would have returned them."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Consecutive rows of a table, sent as one request."""

    first_row: int
    """Number of its first row in the table, from 0."""
    rows: int
    """How many they are."""
    request_id: str
    """Id of the request, the same each time it is sent."""
    answer: Answer | None = None
    """What came back."""
    error: RendezvousError | None = None
    """Why nothing did."""

    @property
    def failure(self) -> RendezvousError:
        """The error of a piece that failed."""
        assert self.error is not None, "asked of failed pieces only"
        return self.error

    @property
    def is_due(self) -> bool:
        """Whether it is to be sent (again)."""
        return self.answer is None and (self.error is None or is_passing(self.error))

    def __str__(self) -> str:
        return f"{self.first_row} to {self.first_row + self.rows - 1}"


class ChunkedTable:
    """A DataFrame or Arrow table, cut into requests.

    Args:
        table: the rows: pandas DataFrame or pyarrow Table.
        chunk_rows: rows of one request.

    Raises:
        InvalidRequestError: it is no such table, or *chunk_rows* is less than 1.
    """

    def __init__(self, table: Any, chunk_rows: int) -> None:
        if chunk_rows < 1:
            raise InvalidRequestError(f"chunk_rows is {chunk_rows}: at least 1")
        self._is_arrow = hasattr(table, "schema") and hasattr(table, "slice")
        if not self._is_arrow and not hasattr(table, "iloc"):
            raise InvalidRequestError(
                f"a {type(table).__name__} is no DataFrame and no Arrow table: make one of it, or use `score`"
            )
        self._table: Any = table
        self.rows = len(table)
        self.chunks = [
            Chunk(first, min(chunk_rows, self.rows - first), new_id()) for first in range(0, self.rows, chunk_rows)
        ]
        self._by_id = {chunk.request_id: chunk for chunk in self.chunks}

    def request(self, chunk: Chunk, **fields: Any) -> v1.ScoreRequest:
        """Returns a chunk as a request; *fields* as of `build_request`."""
        stop = chunk.first_row + chunk.rows
        cut = self._table.slice(chunk.first_row, chunk.rows) if self._is_arrow else self._table[chunk.first_row : stop]
        return build_request(cut, request_id=chunk.request_id, **fields)

    def take(self, answer: Answer) -> int:
        """Keeps an answer; returns the number of rows that are settled by it."""
        chunk = self._by_id[answer.request_id]
        chunk.error = answer.error
        chunk.answer = answer if chunk.error is None else None
        return 0 if chunk.is_due else chunk.rows

    def untried(self) -> list[Chunk]:
        """Returns what nothing is known of: not sent, or the connection broke."""
        return [chunk for chunk in self.chunks if chunk.answer is None and chunk.error is None]

    def due(self) -> list[Chunk]:
        """Returns what is to be sent (again)."""
        return [chunk for chunk in self.chunks if chunk.is_due]

    def result(self, signature: v1.Signature) -> Any:
        """Returns all answers as one table of the kind that was given.

        Raises:
            RowsFailedError: some rows have none.
        """
        answered = self._joined([chunk for chunk in self.chunks if chunk.answer is not None], signature)
        if failures := tuple(chunk for chunk in self.chunks if chunk.answer is None):
            raise RowsFailedError(failures, answered)
        return answered

    def _joined(self, chunks: list[Chunk], signature: v1.Signature) -> Any:
        answers = [chunk.answer for chunk in chunks if chunk.answer is not None]
        names = [column.name for column in signature.outputs]
        if self._is_arrow:
            import pyarrow as pa  # noqa: PLC0415 - optional

            tables = [answer.to_arrow() for answer in answers]
            return pa.concat_tables(tables) if tables else pa.table({name: [] for name in names})
        import numpy as np  # noqa: PLC0415 - only where it is needed
        import pandas as pd  # noqa: PLC0415 - optional

        frames = [answer.to_pandas() for answer in answers]
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)
        kept = [np.arange(chunk.first_row, chunk.first_row + chunk.rows) for chunk in chunks]
        joined.index = self._table.index[np.concatenate(kept) if kept else []]
        return joined


def is_passing(error: RendezvousError) -> bool:
    """Returns whether sending again may help: not where the policy had its whole deadline and found no answer."""
    return error.retryable and not isinstance(error, NoAnswerError)

"""What a client gets."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import FrameView

from rendezvous_sdk.traces import is_sampled

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Answer"]


class Answer:
    """Answer to one request: one row for each row sent, in that order.

    In a stream an answer may be an error: `error` is set, and reading rows raises it.

    Args:
        reply: as it came.
    """

    __slots__ = ("_view", "reply")

    def __init__(self, reply: v1.ScoreReply) -> None:
        self.reply = reply
        self._view: FrameView | None = None

    @property
    def request_id(self) -> str:
        """Id of the request, sent or made by the server."""
        return self.reply.request_id

    @property
    def model(self) -> str:
        """Model that gave the answer; empty where the policy's `otherwise` did."""
        return self.reply.model

    @property
    def version(self) -> str:
        """Version of that model."""
        return self.reply.version

    @property
    def decision(self) -> v1.Decision | None:
        """How the answer was chosen; None from a model asked directly."""
        return self.reply.decision if self.reply.HasField("decision") else None

    @property
    def scores(self) -> dict[str, v1.ModelScore]:
        """With `explain`: every model's score that had arrived, by name."""
        return {score.model: score for score in self.reply.scores}

    @property
    def trace_id(self) -> str:
        """Id of the trace in which it was answered, 32 hexadecimal digits; empty: it was not traced."""
        return self.reply.traceparent.split("-")[1] if is_sampled(self.reply.traceparent) else ""

    @property
    def error(self) -> RendezvousError | None:
        """Why there is no answer, in a stream."""
        return RendezvousError.from_proto(self.reply.error) if self.reply.HasField("error") else None

    @property
    def view(self) -> FrameView:
        """The rows, decoded without copying where that is possible.

        Raises:
            RendezvousError: there is no answer; see `error`.
        """
        if (error := self.error) is not None:
            raise error
        if self._view is None:
            self._view = FrameView(self.reply.outputs)
        return self._view

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.view.rows

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the output columns."""
        return self.view.names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Returns one output column as an array of shape (rows, *shape).

        Raises:
            KeyError: there is no such column.
        """
        return self.view[name]

    def __len__(self) -> int:
        return self.view.rows

    def __repr__(self) -> str:
        what = f"error {self.reply.error.message!r}" if self.reply.HasField("error") else f"{self.rows} rows"
        return f"<Answer {self.request_id} by {self.model or 'otherwise'}: {what}>"

    def to_pandas(self) -> "pd.DataFrame":
        """Returns the rows as a DataFrame (extra `pandas`)."""
        return self.view.to_pandas()

    def to_arrow(self) -> "pa.Table":
        """Returns the rows as a pyarrow Table (extra `arrow`)."""
        return self.view.to_arrow()

    def to_dict(self) -> dict[str, list[Any]]:
        """Returns the rows as lists by column, None where missing."""
        return self.view.to_dict()

    def to_records(self) -> list[dict[str, Any]]:
        """Returns one dictionary a row, None where missing."""
        return self.view.to_records()

"""Scores a table through an endpoint: many requests in flight, each answer with its rows, none lost."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.ids import new_id
from rendezvous_sdk import Answer, AsyncClient

from rendezvous_router.tables import RowTable

_IN_FLIGHT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPart:
    """One request's rows and what came of them."""

    first_row: int
    """Its first row in the table."""
    rows: int
    """Its number of rows."""
    request_id: str
    """Its id."""
    answer: Answer | None = None
    """The answer, if there is one."""
    error: RendezvousError | None = None
    """Why there is none."""

    def records(self) -> list[dict[str, Any]]:
        """Returns one mapping for each row: its number, the request's id, the outputs, by whom and which rule."""
        if self.answer is None:
            outputs: list[dict[str, Any]] = [{}] * self.rows
            who = {"model": "", "rule": "", "error": str(self.error)}
        else:
            outputs = self.answer.view.to_records()
            decision = self.answer.decision
            who = {"model": self.answer.model, "rule": decision.rule if decision else "", "error": ""}
            if self.answer.trace_id:
                who["trace_id"] = self.answer.trace_id
        return [
            {"row": self.first_row + number, "request_id": self.request_id, **values, **who}
            for number, values in enumerate(outputs)
        ]


async def score_table(
    client: AsyncClient,
    table: RowTable,
    *,
    batch: int = 1,
    explain: bool = False,
    trace: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> list[ScoredPart]:
    """Scores a table; the parts come in the order of the rows. A request that fails does not end the others.

    Args:
        client: connection to the endpoint.
        table: the rows.
        batch: rows of one request.
        explain: ask for every model's score.
        trace: have every request traced; the records name the trace.
        on_progress: called with the number of rows of each part that is done.
    """
    turns = asyncio.Semaphore(_IN_FLIGHT)

    async def score(first_row: int) -> ScoredPart:
        rows = table.cut(first_row, first_row + batch)
        count = min(batch, table.rows - first_row)
        request_id = new_id()
        async with turns:
            try:
                answer = await client.score(rows, request_id=request_id, explain=explain, force_trace=trace)
                part = ScoredPart(first_row=first_row, rows=count, request_id=request_id, answer=answer)
            except RendezvousError as error:
                part = ScoredPart(first_row=first_row, rows=count, request_id=request_id, error=error)
        if on_progress is not None:
            on_progress(count)
        return part

    return await asyncio.gather(*(score(first_row) for first_row in range(0, table.rows, batch)))

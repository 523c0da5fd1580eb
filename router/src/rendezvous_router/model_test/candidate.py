"""The candidate as checks see it: asked over the service `Score`, as its clients ask it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from rendezvous_proto import v1
from rendezvous_proto.frames import FrameView

from rendezvous_router.conformance.caller import Caller, refusal_of
from rendezvous_router.conformance.case import Failed
from rendezvous_router.conformance.site import Site
from rendezvous_router.model_test.rows import Row, Rows

__all__ = ["Candidate", "HungError", "Scored"]

Scored = dict[str, list[Any]]
"""Outputs by column, one value for each row."""

_UNCLEAR = frozenset({"", "INTERNAL", "UNAVAILABLE", "EXPIRED", "ERROR_CODE_UNSPECIFIED"})
"""Codes that tell nobody what is wrong with a row."""


class HungError(Failed):
    """It did not answer in time, and may be at it still."""


class Candidate:
    """Asks one candidate. Belongs to the event loop.

    Args:
        site: reaches it, and starts it again where it has died.
        rows: the rows of the file of cases.
        call_limit_s: a call that takes longer hangs.
    """

    def __init__(self, site: Site, rows: Rows, call_limit_s: float) -> None:
        self.site = site
        self.rows = rows
        self.call_limit_s = call_limit_s

    @property
    def caller(self) -> Caller:
        """Calls the candidate."""
        return self.site.caller

    @property
    def outputs(self) -> list[v1.ColumnSpec]:
        """Output columns that it declares; may be none."""
        return list(self.site.info.signature.outputs)

    async def score(self, rows: Sequence[Row]) -> Scored:
        """Returns the outputs of rows.

        Raises:
            Failed: it refused, hung, or answered another number of rows.
        """
        answered = await self.try_rows(rows)
        if isinstance(answered, str):
            raise Failed(f"it refused {_count(rows)}: {answered}")
        return answered

    async def try_rows(self, rows: Sequence[Row]) -> Scored | str:
        """Returns the outputs of rows, or with which clear error it refused them: code and message.

        Raises:
            Failed: it hung, died, gave no clear error, or answered another number of rows.
        """
        request = v1.ScoreRequest(inputs=self.rows.frame(rows))
        try:
            reply = await self.caller.stub.Score(request, timeout=self.call_limit_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return self._refusal(error, rows)
        if reply.outputs.rows != len(rows):
            raise Failed(f"it answered {_count(rows)} with {reply.outputs.rows} rows")
        view = FrameView(reply.outputs)
        return {column.name: list(view.column(column.name)) for column in reply.outputs.columns}

    def _refusal(self, error: grpc.aio.AioRpcError, rows: Sequence[Row]) -> str:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise HungError(f"no answer to {_count(rows)} within {self.call_limit_s:g} s") from error
        refusal = refusal_of(error)
        if refusal.error is None or refusal.code in _UNCLEAR or not refusal.error.message:
            raise Failed(f"no clear error, but {refusal.status} {refusal.code} {refusal.details!r}") from error
        return f"{refusal.code}: {refusal.error.message}"

    async def still_answers(self, before: str) -> None:
        """Checks that a plain row is answered.

        Raises:
            Failed: it is not, after what *before* tells.
        """
        try:
            async with asyncio.timeout(self.call_limit_s):
                await self.score(self.rows.rows[:1])
        except (Failed, TimeoutError) as error:
            raise Failed(f"after {before} it no longer answers plain rows: {error}") from error


def _count(rows: Sequence[Row]) -> str:
    return f"{len(rows)} rows" if len(rows) != 1 else "1 row"

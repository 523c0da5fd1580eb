"""A client without the SDK's kindness: one attempt, the status as it comes."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import Frame, ScoreReply, ScoreRequest
from rendezvous_sdk.grpc_errors import from_rpc


class Caller:
    """Calls Score of endpoint `sum` once per call.

    Args:
        address: where to ask.
        key: shown with each call; empty: none.
    """

    def __init__(self, address: str, key: str = "") -> None:
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._channel = grpc.aio.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 200)])
        self._score = self._channel.unary_unary("/rendezvous.v1.Score/Score")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def score(self, table: Mapping[str, Any] | Frame, *, timeout_s: float = 5.0, **fields: Any) -> ScoreReply:
        """Scores *table*; *fields* are those of ScoreRequest.

        Raises:
            RendezvousError: the leaf of the error that the reply carries.
        """
        frame = table if isinstance(table, Frame) else encode_frame(table)
        request = ScoreRequest(**{"endpoint": "sum", **fields}, inputs=frame)
        return await self.send(request.SerializeToString(), timeout_s=timeout_s)

    async def send(self, raw: bytes, *, timeout_s: float = 5.0) -> ScoreReply:
        """Sends bytes as they are.

        Raises:
            RendezvousError: the leaf of the error that the reply carries.
        """
        try:
            return ScoreReply.FromString(await self._score(raw, timeout=timeout_s, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

"""The kit as a client of the service `Score`: bare calls, nothing retried, nothing mapped."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_METADATA_KEY, ErrorCode

from rendezvous_router.conformance.case import Failed, expect, expect_equal

__all__ = ["Caller", "Refusal"]

_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_TIMEOUT_S = 10.0
_REACH_S = 5.0
_REACH_TRIES = 4
_REACH_PAUSE_S = 0.3
_CAUSE = re.compile(r"Failed to connect to remote host: (?:connect: )?(.+?)(?: \(\d+\))?$")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call failed."""

    status: str
    """Name of the gRPC status."""
    details: str
    error: v1.Error | None
    """What `rendezvous-error-bin` holds; None: it is not there."""

    @property
    def code(self) -> str:
        """Name of the error's code; empty without one."""
        return code_name(self.error)

    def expect(self, status: str, *codes: str) -> v1.Error:
        """Raises Failed unless the status is *status* and the whole error, of one of *codes*, goes with it (P82)."""
        expect_equal("the call's status", f"{self.status} ({self.details})", f"{status} ({self.details})")
        expect(self.error is not None, f"the trailing metadata has no {ERROR_METADATA_KEY}")
        assert self.error is not None, "just checked"
        expect(self.code in codes, f"the error's code is {self.code}: {self.details!r}; expected {' or '.join(codes)}")
        expect_equal("the status's details", self.details, self.error.message)
        return self.error


def code_name(error: v1.Error | None) -> str:
    """Returns the name of an error's code; the number where the list has none."""
    if error is None:
        return ""
    numbers = {int(code): code.name for code in ErrorCode}
    return numbers.get(int(error.code), str(int(error.code)))


class Caller:
    """Calls one address. Belongs to the event loop.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.enable_retries", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self.stub: Any = v1.ScoreStub(self.channel)  # type: ignore[no-untyped-call] # generated

    async def close(self) -> None:
        """Closes the channel."""
        await self.channel.close()

    async def describe(self, endpoint: str = "", *, timeout_s: float = _TIMEOUT_S) -> v1.ModelInfo:
        """Calls `Describe`; waits for the server."""
        with self._failing("Describe"):
            info: v1.ModelInfo = await self.stub.Describe(
                v1.DescribeRequest(endpoint=endpoint), timeout=timeout_s, wait_for_ready=True
            )
        return info

    async def reach(self) -> v1.ModelInfo:
        """Calls `Describe` of a server that is said to run; tries a few times, and not for long.

        Raises:
            Failed: nothing answers there, or no such server; tells the address and the cause.
        """
        give_up = time.monotonic() + _REACH_S
        for tries_left in reversed(range(_REACH_TRIES)):
            try:
                timeout_s = max(give_up - time.monotonic(), _REACH_PAUSE_S)
                info: v1.ModelInfo = await self.stub.Describe(v1.DescribeRequest(), timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not tries_left:
                    raise Failed(f"grpc://{self.address}: {_cause(error)}") from error
                await asyncio.sleep(_REACH_PAUSE_S)
            else:
                return info
        raise AssertionError("the last try returns or raises")

    async def score(
        self,
        inputs: v1.Frame,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float = _TIMEOUT_S,
        **fields: Any,
    ) -> v1.ScoreReply:
        """Calls `Score`; any failure fails the case."""
        with self._failing("Score"):
            request = v1.ScoreRequest(inputs=inputs, **fields)
            reply: v1.ScoreReply = await self.stub.Score(
                request, timeout=timeout_s, metadata=tuple(metadata), wait_for_ready=True
            )
        return reply

    async def refused(self, inputs: v1.Frame, *, timeout_s: float = _TIMEOUT_S, **fields: Any) -> Refusal:
        """Calls `Score` and returns how it failed; an answer fails the case."""
        request = v1.ScoreRequest(inputs=inputs, **fields)
        try:
            reply = await self.stub.Score(request, timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        raise Failed(f"the call was answered with {reply.outputs.rows} rows instead of being refused")

    async def stream(self, requests: Sequence[v1.ScoreRequest]) -> list[v1.ScoreReply]:
        """Sends requests over one `ScoreStream` and returns what came until the server closed it."""
        with self._failing("ScoreStream"):
            call = self.stub.ScoreStream(_each(requests), timeout=_TIMEOUT_S, wait_for_ready=True)
            return [reply async for reply in call]

    @contextlib.contextmanager
    def _failing(self, method: str) -> Any:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            raise Failed(f"{method} failed: {refusal.status} {refusal.code} {refusal.details!r}") from error


async def _each(requests: Sequence[v1.ScoreRequest]) -> AsyncIterator[v1.ScoreRequest]:
    for request in requests:
        yield request


def _cause(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {_REACH_S:g} s: is this the address of a server of rendezvous.v1.Score?"
    if match := _CAUSE.search(details):
        cause = match[1]
        return f"{cause[0].lower()}{cause[1:]}: is the server running, and this its address?"
    return f"Describe failed: {error.code().name}: {details}: is this a server of rendezvous.v1.Score?"


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Returns how a call failed."""
    whole = None
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_METADATA_KEY and isinstance(value, bytes):
            try:
                whole = v1.Error.FromString(value)
            except DecodeError:
                raise Failed(f"{ERROR_METADATA_KEY} holds no Error") from None
    return Refusal(error.code().name, error.details() or "", whole)

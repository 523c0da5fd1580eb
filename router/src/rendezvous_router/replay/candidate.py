"""The model that history is scored with: at an address, or in this process."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import OverloadedError, RendezvousError, UnavailableError
from rendezvous_proto.ids import new_id
from rendezvous_sdk.calls import Attempts, channel_options
from rendezvous_sdk.credentials import Credentials, host_of
from rendezvous_sdk.grpc_errors import from_rpc
from rendezvous_sdk.model import Model
from rendezvous_sdk.options import ClientOptions
from rendezvous_sdk.origin import complete_info
from rendezvous_sdk.scoring import ParcelScorer
from rendezvous_sdk.thread import ModelThread

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.channel import CallTimedOutError, far_failure, reason_of
from rendezvous_router.replay.errors import CandidateGoneError

__all__ = ["Candidate", "LoadedCandidate", "RemoteCandidate"]

_log = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 256 << 20
_TIMEOUTS = 5
_STATUS = grpc.StatusCode
_REFUSALS = (_STATUS.UNAUTHENTICATED, _STATUS.PERMISSION_DENIED, _STATUS.UNIMPLEMENTED, _STATUS.NOT_FOUND)


class Candidate(Protocol):
    """What a replay asks. Belongs to the event loop."""

    async def describe(self) -> v1.ModelInfo:
        """Returns what the candidate says of itself.

        Raises:
            CandidateGoneError: it does not answer.
        """
        ...

    async def score(self, frame: v1.Frame) -> v1.Frame:
        """Returns as many rows as *frame* has.

        Raises:
            RendezvousError: the candidate fails on these rows, or refuses them.
            CandidateGoneError: it does not answer, whatever the rows.
        """
        ...

    async def close(self) -> None:
        """Lets go of it."""
        ...


class _Patience:
    """Counts calls that took too long, one after another; a candidate that hangs is not asked for ever."""

    def __init__(self, what: str, limit_s: float) -> None:
        self._what = what
        self._limit_s = limit_s
        self._in_a_row = 0

    def answered(self) -> None:
        """A call came back in time."""
        self._in_a_row = 0

    def timed_out(self, error: RendezvousError) -> None:
        """A call did not.

        Raises:
            CandidateGoneError: nor did those before it.
        """
        self._in_a_row += 1
        if self._in_a_row >= _TIMEOUTS:
            raise CandidateGoneError(
                f"{self._what} did not answer {self._in_a_row} calls in a row within {self._limit_s:g} s: if it is "
                "only slow, give it longer (--timeout) or fewer rows at a time (--rows)"
            ) from error


class RemoteCandidate:
    """A model that serves `Score` at an address, in whatever language; see `Candidate`.

    While it is not reachable or overloaded it is asked again, with growing pauses, for as long as a call may take.

    Args:
        address: where it is.
        timeout_s: limit of one call, retries included.
        credentials: key and certificates.

    Raises:
        InvalidRequestError: the key would travel in the clear, or a file cannot be read.
    """

    def __init__(self, address: FarAddress, *, timeout_s: float, credentials: Credentials) -> None:
        shown = replace(credentials, tls=True) if address.tls else credentials
        secure = shown.channel_credentials()
        shown.check_exposure(host_of(address.target), has_tls=secure is not None)
        self.address = address
        self._options = ClientOptions(timeout_s=timeout_s, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._metadata = shown.metadata
        self._patience = _Patience(f"the candidate at {address}", timeout_s)
        arguments = channel_options(self._options)
        self._channel = (
            grpc.aio.insecure_channel(address.target, arguments)
            if secure is None
            else grpc.aio.secure_channel(address.target, secure, arguments)
        )
        self._stub: Any = v1.ScoreStub(self._channel)  # type: ignore[no-untyped-call] # generated

    async def describe(self) -> v1.ModelInfo:
        """Asks `Describe`; a server without it says nothing of itself."""
        try:
            info: v1.ModelInfo = await self._asked(
                self._stub.Describe, v1.DescribeRequest(endpoint=self.address.model), silent=(_STATUS.UNIMPLEMENTED,)
            )
        except RendezvousError:
            return v1.ModelInfo()
        return info

    async def score(self, frame: v1.Frame) -> v1.Frame:
        """Asks `Score`, under an id of its own: the rows of several requests are one table."""
        request = v1.ScoreRequest(request_id=new_id(), endpoint=self.address.model, inputs=frame)
        reply: v1.ScoreReply = await self._asked(self._stub.Score, request)
        if reply.HasField("error"):
            raise RendezvousError.from_proto(reply.error)
        return reply.outputs

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def _asked(self, method: Any, request: Any, silent: Sequence[grpc.StatusCode] = ()) -> Any:
        attempts = Attempts(self._options, None)
        while True:
            try:
                reply = await method(request, timeout=attempts.left_s(), metadata=self._metadata)
            except grpc.RpcError as failure:
                await self._pause_after(failure, attempts, silent)
            else:
                self._patience.answered()
                return reply

    async def _pause_after(self, failure: grpc.RpcError, attempts: Attempts, silent: Sequence[grpc.StatusCode]) -> None:
        """Waits where it may be asked again, and raises what its failure means where it may not."""
        status, details = reason_of(failure)
        if status in _REFUSALS and status not in silent:
            raise CandidateGoneError(f"the candidate at {self.address} refuses ({status.name}): {details}") from failure
        error = far_failure(failure, from_rpc(failure), attempts.timeout_s)
        if isinstance(error, CallTimedOutError):
            self._patience.timed_out(error)
        else:
            self._patience.answered()
        try:
            pause_s = attempts.pause_after(error)
        except (UnavailableError, OverloadedError) as last:
            raise CandidateGoneError(
                f"the candidate at {self.address} did not answer for {attempts.timeout_s:g} s: {last.message}"
            ) from failure
        await asyncio.sleep(pause_s)


class LoadedCandidate:
    """A model in this process, in a thread of its own, by the code that serves it; see `Candidate`.

    Args:
        model: the model, not yet set up.
        name: its name.
        version: its version.
        timeout_s: time after which scoring one table is interrupted.
    """

    def __init__(self, model: Model, *, name: str, version: str, timeout_s: float) -> None:
        self._model = model
        self._info = complete_info(model.info, name=name, version=version, source=model.source)
        self._thread = ModelThread(timeout_s)
        self._patience = _Patience(f"{name}:{version}", timeout_s)
        self._scorer = ParcelScorer(
            model, endpoint="replay", name=name, version=version, replica="replay", limited=self._thread.limited
        )

    async def describe(self) -> v1.ModelInfo:
        """Sets the model up and returns what its author declared."""
        if self._model.setup is not None:
            await self._thread.submit(self._model.setup)
        return self._info

    async def score(self, frame: v1.Frame) -> v1.Frame:
        """Scores in the model's thread."""
        try:
            answer = await self._thread.submit(partial(self._scorer.score_request, frame))
        except RendezvousError as error:
            if "limit_s" in error.attributes:
                self._patience.timed_out(error)
            raise
        self._patience.answered()
        return answer

    async def close(self) -> None:
        """Closes the model; what it raises then changes nothing that was scored, and is logged."""
        if self._model.close is not None:
            try:
                await self._thread.submit(self._model.close)
            except Exception as error:  # noqa: BLE001 - the author's code may raise anything
                _log.warning("the model's close failed: %r", error)
        self._thread.stop()

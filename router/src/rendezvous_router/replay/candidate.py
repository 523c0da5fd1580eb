"""The model that history is scored with: at an address, or in this process."""

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ModelFailedError,
    OverloadedError,
    RendezvousError,
    TooLargeError,
    UnavailableError,
)
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
from rendezvous_router.bridge.channel import timed_out
from rendezvous_router.replay.errors import CandidateGoneError

__all__ = ["Candidate", "LoadedCandidate", "RemoteCandidate"]

_log = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 256 << 20
_TIMEOUTS = 5
_STATUS = grpc.StatusCode
_GRPC_STATUS = "grpc_status"
_PASSING = (UnavailableError, OverloadedError, TooLargeError)
_REFUSALS = (_STATUS.UNAUTHENTICATED, _STATUS.PERMISSION_DENIED, _STATUS.NOT_FOUND)


class _NotServedError(CandidateGoneError):
    """There is a gRPC server, but not of this method."""


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
            request = v1.DescribeRequest(endpoint=self.address.model)
            info: v1.ModelInfo = await self._asked(self._stub.Describe, request)
        except _NotServedError:
            return v1.ModelInfo()
        except RendezvousError as error:
            raise CandidateGoneError(f"the candidate at {self.address} says nothing of itself: {error}") from error
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

    async def _asked(self, method: Any, request: Any) -> Any:
        attempts = Attempts(self._options, None)
        lost: RendezvousError | None = None
        while True:
            try:
                reply = await method(request, timeout=attempts.left_s(), metadata=self._metadata)
            except grpc.aio.AioRpcError as failure:
                error = self._meaning(failure, lost)
                lost = error
                try:
                    pause_s = attempts.pause_after(error)
                except (UnavailableError, OverloadedError):
                    raise self._gone(error) from failure
                await asyncio.sleep(pause_s)
            else:
                self._patience.answered()
                return reply

    def _meaning(self, failure: grpc.aio.AioRpcError, lost: RendezvousError | None) -> RendezvousError:
        """Returns the error of a failed call; *lost*: that of the call before, when it was not reached then.

        Raises:
            CandidateGoneError: it refuses whatever it is asked, is not reached, or hangs.
        """
        status, details = failure.code(), " ".join((failure.details() or "").split())
        if status is _STATUS.UNIMPLEMENTED:
            raise _NotServedError(f"{self.address} does not serve rendezvous.v1.Score ({details})") from failure
        if status in _REFUSALS:
            raise CandidateGoneError(f"the candidate at {self.address} refuses ({status.name}): {details}") from failure
        error = from_rpc(failure)
        if _GRPC_STATUS not in error.attributes or isinstance(error, _PASSING):
            return error  # the model's own, or the connection's
        if status is not _STATUS.DEADLINE_EXCEEDED:
            return ModelFailedError(f"the candidate answered {status.name}: {details}", error.attributes)
        if lost is not None:  # its last attempt was cut short
            raise self._gone(lost) from failure
        late = timed_out(self._options.timeout_s)
        self._patience.timed_out(late)
        return late

    def _gone(self, error: RendezvousError) -> CandidateGoneError:
        limit_s = self._options.timeout_s
        return CandidateGoneError(f"the candidate at {self.address} did not answer for {limit_s:g} s: {error.message}")


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

"""Calls an endpoint, or a model directly: the same service, another address."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import InternalError, UnimplementedError

from rendezvous_sdk.answer import Answer
from rendezvous_sdk.calls import Attempts, build_request, channel_options
from rendezvous_sdk.grpc_errors import from_rpc
from rendezvous_sdk.options import ClientOptions

__all__ = ["Client"]


class Client:
    """A connection to a router or a model. Thread-safe; make one and keep it.

    Args:
        address: `host:port`.
        endpoint: endpoint asked; None where only one is served.
        options: deadlines, pauses, limits; None takes the defaults.
        credentials: TLS; None connects in the clear.
    """

    def __init__(
        self,
        address: str,
        endpoint: str | None = None,
        *,
        options: ClientOptions | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.address = address
        self.endpoint = endpoint or ""
        self._options = options or ClientOptions()
        arguments = channel_options(self._options)
        self._channel = (
            grpc.insecure_channel(address, arguments)
            if credentials is None
            else grpc.secure_channel(address, credentials, arguments)
        )
        self._stub: Any = v1.ScoreStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self._info: v1.ModelInfo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way end with UnavailableError."""
        self._channel.close()

    def describe(self, *, timeout: float | None = None, refresh: bool = False) -> v1.ModelInfo:
        """Returns what the endpoint says of itself; asked once, then remembered.

        Args:
            timeout: seconds, retries included; None takes `ClientOptions.timeout_s`.
            refresh: whether to ask again.

        Raises:
            RendezvousError: the leaf class of whatever went wrong.
        """
        if self._info is None or refresh:
            request = v1.DescribeRequest(endpoint=self.endpoint)
            self._info = self._call(self._stub.Describe, request, Attempts(self._options, timeout))
        return self._info

    def score(
        self,
        table: Any,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        context: Mapping[str, str] | None = None,
        explain: bool = False,
        force_model: str | None = None,
    ) -> Answer:
        """Scores the rows of a table.

        Sends it again, with the same request id, after UNAVAILABLE and OVERLOADED while there is time.

        Args:
            table: mapping of names to values, DataFrame, Arrow table, list of dicts, or `v1.Frame`. Columns
                are sent with the types that the endpoint declares, where nothing is lost.
            timeout: deadline, seconds, retries included; None takes `ClientOptions.timeout_s`.
            request_id: 1 to 64 of A-Z a-z 0-9 _ -; None makes one.
            context: for policies: sticky keys and the like.
            explain: whether every model's score is wanted too.
            force_model: model whose score is wanted, whatever the policy says.

        Returns:
            The answer, one row for each row sent.

        Raises:
            InvalidFrameError: the table cannot be encoded.
            NoAnswerError: no answer by the deadline.
            RendezvousError: the leaf class of whatever else went wrong.
        """
        attempts = Attempts(self._options, timeout)
        request = build_request(
            table,
            endpoint=self.endpoint,
            inputs=self._inputs(attempts),
            request_id=request_id,
            context=context,
            explain=explain,
            force_model=force_model,
        )
        return Answer(self._call(self._stub.Score, request, attempts))

    def stream(
        self,
        tables: Iterable[Any],
        *,
        timeout: float | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """Scores many tables over one call.

        No more than `ClientOptions.max_streamed` are unanswered at a time.

        Args:
            tables: each becomes a request. Read by another thread.
            timeout: seconds for the whole stream; None: no limit.
            context: of each request.

        Yields:
            The answers, in the order of the tables. A request that failed gives an `Answer` with `error`.

        Raises:
            RendezvousError: the stream as a whole ended early. Streams are not retried.
        """
        inputs = self._inputs(Attempts(self._options, None))
        sent: deque[str] = deque()
        free = threading.Semaphore(self._options.max_streamed)
        ended = threading.Event()
        failed: list[BaseException] = []

        def requests() -> Iterator[v1.ScoreRequest]:
            try:
                for table in tables:
                    request = build_request(table, endpoint=self.endpoint, inputs=inputs, context=context)
                    free.acquire()
                    if ended.is_set():
                        return
                    sent.append(request.request_id)
                    yield request
            except BaseException as error:  # gRPC would hide it: the caller gets it below
                failed.append(error)
                raise

        call = self._stub.ScoreStream(requests(), timeout=timeout)
        arrived: dict[str, v1.ScoreReply] = {}
        try:
            for reply in call:
                arrived[reply.request_id] = reply
                while sent and sent[0] in arrived:
                    free.release()
                    yield Answer(arrived.pop(sent.popleft()))
        except grpc.RpcError as error:
            raise (failed[0] if failed else from_rpc(error)) from error
        finally:
            ended.set()
            free.release()
            call.cancel()
        if failed:
            raise failed[0]
        if sent:
            raise InternalError(f"the stream ended with {len(sent)} requests unanswered")

    def _inputs(self, attempts: Attempts) -> list[v1.ColumnSpec]:
        if self._info is None:
            try:
                self.describe(timeout=attempts.left_s())
            except UnimplementedError:
                self._info = v1.ModelInfo()
        return list(self._info.signature.inputs) if self._info is not None else []

    def _call(self, method: Any, request: Any, attempts: Attempts) -> Any:
        while True:
            try:
                return method(request, timeout=attempts.left_s())
            except grpc.RpcError as failure:
                time.sleep(attempts.pause_after(from_rpc(failure)))

"""The same client for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import InternalError, RendezvousError, UnimplementedError

from rendezvous_sdk.answer import Answer
from rendezvous_sdk.calls import Attempts, build_request
from rendezvous_sdk.chunks import Chunk, ChunkedTable, is_passing
from rendezvous_sdk.client_spans import UNTRACED, ClientSpan, StreamSpans, trace_context
from rendezvous_sdk.grpc_errors import from_rpc
from rendezvous_sdk.outcome import Outcome, record_request
from rendezvous_sdk.progress import progress_of
from rendezvous_sdk.score_connection import ScoreConnection

__all__ = ["AsyncClient"]


class AsyncClient(ScoreConnection):
    """A connection to a router or a model. Belongs to one event loop; make one and keep it.

    Arguments and errors of its making: see `ScoreConnection`.
    """

    def _open(self, secure: grpc.ChannelCredentials | None, arguments: Sequence[tuple[str, Any]]) -> Any:
        if secure is None:
            return grpc.aio.insecure_channel(self.address, arguments)
        return grpc.aio.secure_channel(self.address, secure, arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls under way end with UnavailableError."""
        await self._channel.close()

    async def describe(self, *, timeout: float | None = None, refresh: bool = False) -> v1.ModelInfo:  # noqa: ASYNC109 - gRPC's own deadline
        """Returns what the endpoint says of itself; asked once, then remembered. See `Client.describe`."""
        if self._info is None or refresh:
            request = v1.DescribeRequest(endpoint=self.endpoint)
            self._info = await self._call(self._stub.Describe, request, Attempts(self._options, timeout))
        return self._info

    async def score(
        self,
        table: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline, retries included
        request_id: str | None = None,
        context: Mapping[str, str] | None = None,
        explain: bool = False,
        force_model: str | None = None,
        force_trace: bool = False,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> Answer:
        """Scores the rows of a table. Arguments, result and errors: `Client.score`.

        Cancelling the task cancels the call; the endpoint may score it all the same.
        """
        trace = trace_context(traceparent, tracestate)
        attempts = Attempts(self._options, timeout)
        request = build_request(
            table,
            endpoint=self.endpoint,
            inputs=await self._inputs(attempts),
            request_id=request_id,
            context=context,
            explain=explain,
            force_model=force_model,
            force_trace=force_trace,
        )
        with self._spans.call(request, trace) as span:
            reply = await self._call(self._stub.Score, request, attempts, span)
            span.answer(reply)
        return Answer(reply)

    async def record(
        self,
        outcomes: Outcome | Iterable[Outcome],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline
    ) -> list[str]:
        """Reports what turned out to be true. See `Client.record`."""
        request = record_request(outcomes, self.endpoint)
        reply: v1.RecordReply = await self._call(self._feedback.Record, request, Attempts(self._options, timeout))
        return list(reply.feedback_ids)

    async def stream(
        self,
        tables: Iterable[Any] | AsyncIterator[Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline
        context: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> AsyncIterator[Answer]:
        """Scores many tables over one call. Arguments, answers and errors: `Client.stream`."""
        spans = self._spans.stream(trace_context(traceparent, tracestate))
        inputs = await self._inputs(Attempts(self._options, None))
        sending = _Sending(tables, self._options.max_streamed, spans)
        requests = sending.requests(endpoint=self.endpoint, inputs=inputs, context=context)
        call = self._stub.ScoreStream(requests, timeout=timeout, metadata=self._authorization)
        try:
            async for reply in call:
                for answer in sending.take(reply):
                    yield answer
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if sending.failure is not None:
                raise sending.failure from None
            if isinstance(error, grpc.RpcError):
                typed = from_rpc(error, uses_tls=self._uses_tls)
                spans.close(typed)
                raise typed from error
            raise
        finally:
            call.cancel()
            spans.close()
        sending.check_complete()

    async def score_table(
        self,
        table: Any,
        *,
        chunk_rows: int = 1000,
        progress: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline
        context: Mapping[str, str] | None = None,
    ) -> Any:
        """Scores a large table, as `Client.score_table` does."""
        chunked = ChunkedTable(table, chunk_rows)
        fields = {
            "endpoint": self.endpoint,
            "inputs": await self._inputs(Attempts(self._options, None)),
            "context": context,
        }
        with progress_of(chunked.rows, progress) as advance:
            while untried := chunked.untried():
                try:
                    async for answer in self.stream(
                        (chunked.request(each, **fields) for each in untried), timeout=timeout
                    ):
                        advance(chunked.take(answer))
                except RendezvousError as error:
                    if not is_passing(error):
                        raise
                    if len(chunked.untried()) == len(untried):
                        break  # not one by one stream: now each by itself, with pauses
            for chunk in chunked.due():
                await self._score_chunk(chunk, chunked.request(chunk, **fields))
                advance(chunk.rows)
        return chunked.result(await self._signature())

    async def _score_chunk(self, chunk: Chunk, request: v1.ScoreRequest) -> None:
        with self._spans.call(request, ("", "")) as span:
            try:
                chunk.answer = Answer(await self._call(self._stub.Score, request, Attempts(self._options, None), span))
            except RendezvousError as error:
                chunk.error = error
            else:
                chunk.error = None
                span.answer(chunk.answer.reply)

    async def _signature(self) -> v1.Signature:
        await self._inputs(Attempts(self._options, None))
        return self._info.signature if self._info is not None else v1.Signature()

    async def _inputs(self, attempts: Attempts) -> list[v1.ColumnSpec]:
        if self._info is None:
            try:
                await self.describe(timeout=attempts.left_s())
            except UnimplementedError:
                self._info = v1.ModelInfo()
        return list(self._info.signature.inputs) if self._info is not None else []

    async def _call(self, method: Any, request: Any, attempts: Attempts, span: ClientSpan = UNTRACED) -> Any:
        while True:
            try:
                return await method(
                    request, timeout=attempts.left_s(), metadata=(*self._authorization, *(span.metadata or ()))
                )
            except grpc.RpcError as failure:
                error = from_rpc(failure, uses_tls=self._uses_tls)
                pause_s = attempts.pause_after(error)
                span.retry(error, pause_s)
                await asyncio.sleep(pause_s)


class _Sending:
    """The requests of one stream, and the answers put back in their order."""

    def __init__(self, tables: Iterable[Any] | AsyncIterator[Any], most: int, spans: StreamSpans) -> None:
        self.failure: Exception | None = None
        self._tables = tables
        self._spans = spans
        self._free = asyncio.Semaphore(most)
        self._sent: deque[str] = deque()
        self._arrived: dict[str, v1.ScoreReply] = {}

    async def requests(self, **fields: Any) -> AsyncIterator[v1.ScoreRequest]:
        try:
            async for table in _iterate(self._tables):
                request = build_request(table, **fields)
                await self._free.acquire()
                self._spans.start(request)
                self._sent.append(request.request_id)
                yield request
        except Exception as error:  # gRPC would hide it: the caller gets it from `stream`
            self.failure = error
            raise

    def take(self, reply: v1.ScoreReply) -> Iterator[Answer]:
        self._spans.answer(reply)
        self._arrived[reply.request_id] = reply
        while self._sent and self._sent[0] in self._arrived:
            self._free.release()
            yield Answer(self._arrived.pop(self._sent.popleft()))

    def check_complete(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._sent:
            raise InternalError(f"the stream ended with {len(self._sent)} requests unanswered")


async def _iterate(tables: Iterable[Any] | AsyncIterator[Any]) -> AsyncIterator[Any]:
    if isinstance(tables, Iterable):
        for table in tables:
            yield table
    else:
        async for table in tables:
            yield table

"""Calls an endpoint, or a model directly: the same service, another address."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

__all__ = ["Client"]


class Client(ScoreConnection):
    """A connection to a router or a model. Thread-safe; make one and keep it.

    Arguments and errors of its making: see `ScoreConnection`.
    """

    def _open(self, secure: grpc.ChannelCredentials | None, arguments: Sequence[tuple[str, Any]]) -> Any:
        if secure is None:
            return grpc.insecure_channel(self.address, arguments)
        return grpc.secure_channel(self.address, secure, arguments)

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
        force_trace: bool = False,
        traceparent: str | None = None,
        tracestate: str | None = None,
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
            force_trace: whether the request is to be traced, whatever the sampling says; see `Answer.trace_id`.
            traceparent: W3C trace context of the caller; None: the present span's where the process uses
                OpenTelemetry, else none.
            tracestate: what belongs to it.

        Returns:
            The answer, one row for each row sent.

        Raises:
            InvalidFrameError: the table cannot be encoded.
            InvalidRequestError: the id, the timeout or the trace context is malformed.
            NoAnswerError: no answer by the deadline.
            RendezvousError: the leaf class of whatever else went wrong.
        """
        trace = trace_context(traceparent, tracestate)
        attempts = Attempts(self._options, timeout)
        request = build_request(
            table,
            endpoint=self.endpoint,
            inputs=self._inputs(attempts),
            request_id=request_id,
            context=context,
            explain=explain,
            force_model=force_model,
            force_trace=force_trace,
        )
        with self._spans.call(request, trace) as span:
            reply = self._call(self._stub.Score, request, attempts, span)
            span.answer(reply)
        return Answer(reply)

    def record(self, outcomes: Outcome | Iterable[Outcome], *, timeout: float | None = None) -> list[str]:
        """Reports what turned out to be true: all outcomes are kept, or none.

        Sent again, with the same ids, after UNAVAILABLE and OVERLOADED while there is time; each counts once.

        Args:
            outcomes: one, or several, up to 10,000.
            timeout: deadline, seconds, retries included; None takes `ClientOptions.timeout_s`.

        Returns:
            Their ids, in their order, once they are on disk.

        Raises:
            InvalidRequestError: outcomes are wrong, and none was kept; the attributes `outcome.<i>` say what is wrong.
            TooLargeError: there are too many.
            UnavailableError: it is not known whether they were kept: record the same ones again.
            RendezvousError: the leaf class of whatever else went wrong.
        """
        request = record_request(outcomes, self.endpoint)
        reply: v1.RecordReply = self._call(self._feedback.Record, request, Attempts(self._options, timeout))
        return list(reply.feedback_ids)

    def stream(
        self,
        tables: Iterable[Any],
        *,
        timeout: float | None = None,
        context: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> Iterator[Answer]:
        """Scores many tables over one call.

        No more than `ClientOptions.max_streamed` are unanswered at a time.

        Args:
            tables: each becomes a request. Read by another thread.
            timeout: seconds for the whole stream; None: no limit.
            context: of each request.
            traceparent: of each request, as in `score`.
            tracestate: what belongs to it.

        Yields:
            The answers, in the order of the tables. A request that failed gives an `Answer` with `error`.

        Raises:
            RendezvousError: the stream as a whole ended early. Streams are not retried.
        """
        spans = self._spans.stream(trace_context(traceparent, tracestate))
        inputs = self._inputs(Attempts(self._options, None))
        sending = _Sending(tables, self._options.max_streamed, spans)
        call = self._stub.ScoreStream(
            sending.requests(endpoint=self.endpoint, inputs=inputs, context=context),
            timeout=timeout,
            metadata=self._authorization,
        )
        try:
            for reply in call:
                yield from sending.take(reply)
        except grpc.RpcError as error:
            typed = from_rpc(error, uses_tls=self._uses_tls)
            spans.close(typed)
            raise (sending.failure or typed) from error
        finally:
            sending.end()
            call.cancel()
            spans.close()
        sending.check_complete()

    def score_table(
        self,
        table: Any,
        *,
        chunk_rows: int = 1000,
        progress: bool = True,
        timeout: float | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Any:
        """Scores a large table: cut into requests that are streamed, many under way at one time.

        What fails in passing (OVERLOADED, UNAVAILABLE) is sent again with the same request id; the server is given
        the time that it asks for.

        Args:
            table: pandas DataFrame or pyarrow Table.
            chunk_rows: rows of one request; the endpoint has a limit, 10,000 unless it says otherwise.
            progress: whether to show a bar, on a terminal or in a notebook (extra `progress`).
            timeout: seconds for each of the streams that it takes; None: no limit.
            context: of each request.

        Returns:
            The output columns, a row for each row, in their order; of the same kind, a DataFrame with the same index.

        Raises:
            RowsFailedError: some rows have no answer; names their ranges, and has the answers of the others.
            InvalidRequestError: *table* is something else.
            RendezvousError: nothing can be scored: the key, the endpoint, the columns.
        """
        chunked = ChunkedTable(table, chunk_rows)
        fields = {
            "endpoint": self.endpoint,
            "inputs": self._inputs(Attempts(self._options, None)),
            "context": context,
        }
        with progress_of(chunked.rows, progress) as advance:
            while untried := chunked.untried():
                try:
                    for answer in self.stream((chunked.request(each, **fields) for each in untried), timeout=timeout):
                        advance(chunked.take(answer))
                except RendezvousError as error:
                    if not is_passing(error):
                        raise
                    if len(chunked.untried()) == len(untried):
                        break  # not one by one stream: now each by itself, with pauses
            for chunk in chunked.due():
                self._score_chunk(chunk, chunked.request(chunk, **fields))
                advance(chunk.rows)
        return chunked.result(self._signature())

    def _score_chunk(self, chunk: Chunk, request: v1.ScoreRequest) -> None:
        with self._spans.call(request, ("", "")) as span:
            try:
                chunk.answer = Answer(self._call(self._stub.Score, request, Attempts(self._options, None), span))
            except RendezvousError as error:
                chunk.error = error
            else:
                chunk.error = None
                span.answer(chunk.answer.reply)

    def _signature(self) -> v1.Signature:
        self._inputs(Attempts(self._options, None))
        return self._info.signature if self._info is not None else v1.Signature()

    def _inputs(self, attempts: Attempts) -> list[v1.ColumnSpec]:
        if self._info is None:
            try:
                self.describe(timeout=attempts.left_s())
            except UnimplementedError:
                self._info = v1.ModelInfo()
        return list(self._info.signature.inputs) if self._info is not None else []

    def _call(self, method: Any, request: Any, attempts: Attempts, span: ClientSpan = UNTRACED) -> Any:
        while True:
            try:
                return method(
                    request, timeout=attempts.left_s(), metadata=(*self._authorization, *(span.metadata or ()))
                )
            except grpc.RpcError as failure:
                error = from_rpc(failure, uses_tls=self._uses_tls)
                pause_s = attempts.pause_after(error)
                span.retry(error, pause_s)
                time.sleep(pause_s)


class _Sending:
    """The requests of one stream, made in gRPC's thread, and the answers put back in their order."""

    def __init__(self, tables: Iterable[Any], most: int, spans: StreamSpans) -> None:
        self.failure: BaseException | None = None
        self._tables = tables
        self._spans = spans
        self._free = threading.Semaphore(most)
        self._ended = threading.Event()
        self._sent: deque[str] = deque()
        self._arrived: dict[str, v1.ScoreReply] = {}

    def requests(self, **fields: Any) -> Iterator[v1.ScoreRequest]:
        try:
            for table in self._tables:
                request = build_request(table, **fields)
                self._free.acquire()
                if self._ended.is_set():
                    return
                self._spans.start(request)
                self._sent.append(request.request_id)
                yield request
        except GeneratorExit:  # gRPC wants no more of them: the stream's own error says why
            raise
        except BaseException as error:  # gRPC would hide it: the caller gets it from `stream`
            self.failure = error
            raise

    def take(self, reply: v1.ScoreReply) -> Iterator[Answer]:
        self._spans.answer(reply)
        self._arrived[reply.request_id] = reply
        while self._sent and self._sent[0] in self._arrived:
            self._free.release()
            yield Answer(self._arrived.pop(self._sent.popleft()))

    def end(self) -> None:
        self._ended.set()
        self._free.release()

    def check_complete(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._sent:
            raise InternalError(f"the stream ended with {len(self._sent)} requests unanswered")

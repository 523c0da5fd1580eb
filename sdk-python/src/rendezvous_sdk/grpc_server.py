"""The service `Score` for one model, with health and reflection.

Requests are parsed here rather than by grpc, so that bytes which are no `ScoreRequest` get a clear answer, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NoReturn, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ExpiredError,
    InternalError,
    InvalidFrameError,
    OverloadedError,
    RendezvousError,
    UnavailableError,
    UnknownEndpointError,
    UnknownModelError,
    shown,
)
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import check_name

from rendezvous_sdk.grpc_errors import status_of, trailing_metadata
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.requests import parse_describe_request, parse_score_request, request_id_of
from rendezvous_sdk.score_spans import SERVICE, CallSpan, CallSpans
from rendezvous_sdk.scoring import ParcelScorer, unix_us
from rendezvous_sdk.thread import ModelThread

__all__ = ["SERVICE", "GrpcServer"]

_STREAMED_AT_ONCE = 64
_PING_INTERVAL_MS = 5_000

_MOST_WAITING = 1024

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcServer:
    """Serves one model over gRPC. Belongs to the event loop; one to a process.

    Args:
        scorer: scores; used in *thread* only.
        thread: the model's thread.
        options: how to serve.
        info: what `Describe` answers.
    """

    def __init__(self, *, scorer: ParcelScorer, thread: ModelThread, options: ServeOptions, info: v1.ModelInfo) -> None:
        self.port = 0
        self._options = options
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # By default a second process shares the port in silence, and clients see half of each.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_INTERVAL_MS),
            ]
        )
        self._servicer = _ScoreServicer(scorer=scorer, thread=thread, options=options, info=info)
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self) -> None:
        """Listens and reports SERVING.

        Raises:
            UnavailableError: the port is taken.
        """
        address = f"{self._options.grpc_host}:{self._options.grpc_port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {address}: the port is taken or not allowed; choose another, or 0 for a free one",
                {"address": address},
            ) from error
        self._servicer.spans.set_port(self.port)
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Reports NOT_SERVING, refuses new calls, lets running ones end within *grace_s*."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(grace_s)

    async def set_serving(self, is_serving: bool) -> None:
        """Sets what the health service answers; a model that may not read its postbox is not SERVING."""
        status = health_pb2.HealthCheckResponse
        await self._set_health(status.SERVING if is_serving else status.NOT_SERVING)

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


class _ScoreServicer:
    def __init__(self, *, scorer: ParcelScorer, thread: ModelThread, options: ServeOptions, info: v1.ModelInfo) -> None:
        self._scorer = scorer
        self._thread = thread
        self._options = options
        self._info = info
        self.spans = CallSpans(
            endpoint=options.endpoint, name=options.name, version=options.version, host=options.grpc_host
        )

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the service's methods, which take and give bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Describe": grpc.unary_unary_rpc_method_handler(self._describe),
                "Score": grpc.unary_unary_rpc_method_handler(self._score_one),
                "ScoreStream": grpc.stream_stream_rpc_method_handler(self._score_stream),
            },
        )

    async def _describe(self, raw: bytes, context: _Context) -> bytes:
        try:
            self._check_addressed(parse_describe_request(raw).endpoint)
        except RendezvousError as error:
            await _abort(context, error)
        return self._info.SerializeToString()

    async def _score_one(self, raw: bytes, context: _Context) -> bytes:
        request, refusal = _parse(raw)
        with self.spans.call("Score", request, _trace_context(context)) as span:
            try:
                if refusal is not None:
                    raise refusal
                reply = await self._score(request, context.time_remaining(), span)
            except RendezvousError as error:
                span.fail(error)
                await _abort(context, error)
        return reply.SerializeToString()

    async def _score_stream(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        replies: asyncio.Queue[v1.ScoreReply | None] = asyncio.Queue()
        free = asyncio.Semaphore(_STREAMED_AT_ONCE)
        reading = asyncio.create_task(self._read_stream(requests, replies, free, _trace_context(context)))
        try:
            while (reply := await replies.get()) is not None:
                yield reply.SerializeToString()
                free.release()  # not before it was sent: a client that does not read is not read from either
            await asyncio.wait([reading])
            if (error := reading.exception()) is not None:
                _log.error("a stream of requests could not be read", exc_info=error)
                await _abort(context, InternalError("the stream could not be read to its end: see the server's log"))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_stream(
        self,
        requests: AsyncIterator[bytes],
        replies: "asyncio.Queue[v1.ScoreReply | None]",
        free: asyncio.Semaphore,
        trace: tuple[str, str],
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for raw in requests:
                    await free.acquire()
                    group.create_task(self._answer_streamed(raw, replies, trace))
        finally:
            replies.put_nowait(None)

    async def _answer_streamed(
        self,
        raw: bytes,
        replies: "asyncio.Queue[v1.ScoreReply | None]",
        trace: tuple[str, str],
    ) -> None:
        received = unix_us()
        request, refusal = _parse(raw)
        with self.spans.call("ScoreStream", request, trace) as span:
            try:
                if refusal is not None:
                    raise refusal
                reply = await self._score(request, None, span)
            except RendezvousError as error:
                span.fail(error)
                reply = v1.ScoreReply(
                    request_id=request.request_id or request_id_of(raw),
                    model=self._options.name,
                    version=self._options.version,
                    error=error.to_proto(),
                    timing=v1.Timing(received_unix_us=received, started_unix_us=received, finished_unix_us=unix_us()),
                    traceparent=span.traceparent,
                )
        replies.put_nowait(reply)

    async def _score(self, request: v1.ScoreRequest, remaining_s: float | None, span: CallSpan) -> v1.ScoreReply:
        received = unix_us()
        self._check(request, remaining_s)
        request_id = request.request_id or new_id()
        started, outputs, finished = await self._run(request.inputs, request_id, span)
        reply = v1.ScoreReply(
            request_id=request_id,
            model=self._options.name,
            version=self._options.version,
            outputs=outputs,
            timing=v1.Timing(received_unix_us=received, started_unix_us=started, finished_unix_us=finished),
            traceparent=span.traceparent,
        )
        span.answer(reply)
        return reply

    async def _run(self, inputs: v1.Frame, request_id: str, span: CallSpan) -> tuple[int, v1.Frame, int]:
        if (waiting := self._thread.waiting) >= _MOST_WAITING:
            raise OverloadedError(
                f"{waiting} requests wait for the model; the limit is {_MOST_WAITING}: try again later",
                {"actual": waiting, "limit": _MOST_WAITING},
            )
        try:
            score = partial(self._scorer.score_request, inputs, request_id=request_id, span=span.span)
            return await self._thread.submit(partial(_timed, score))
        except RendezvousError:
            raise
        except Exception as error:
            _log.exception("a request failed outside of the model", extra={"request_id": request_id})
            raise InternalError("a fault of the model's server: see its log") from error

    def _check(self, request: v1.ScoreRequest, remaining_s: float | None) -> None:
        self._check_addressed(request.endpoint)
        if request.request_id:
            check_name("request id", request.request_id)
        forced = request.diagnostics.force_model
        if forced and forced != self._options.name:
            raise UnknownModelError(
                f"model {shown(forced)!r} was asked for; here is only {self._options.name!r}", {"model": shown(forced)}
            )
        if request.inputs.rows < 1:
            raise InvalidFrameError(
                f"the request has {request.inputs.rows} rows: send at least 1", {"rows": request.inputs.rows}
            )
        if remaining_s is not None and remaining_s <= 0:
            raise ExpiredError("the deadline had passed when the model received the request")

    def _check_addressed(self, endpoint: str) -> None:
        if endpoint not in ("", self._options.endpoint, self._options.name):
            raise UnknownEndpointError(
                f"endpoint {shown(endpoint)!r} is not served here; here is model {self._options.name!r} "
                f"of endpoint {self._options.endpoint!r}",
                {"endpoint": shown(endpoint), "served": self._options.endpoint},
            )


def _parse(raw: bytes) -> tuple[v1.ScoreRequest, RendezvousError | None]:
    """Returns the request, or an empty one and why it cannot be read."""
    try:
        return parse_score_request(raw), None
    except RendezvousError as error:
        return v1.ScoreRequest(), error


def _timed(score: Callable[[], v1.Frame]) -> tuple[int, v1.Frame, int]:
    started = unix_us()
    outputs = score()
    return started, outputs, unix_us()


def _trace_context(context: _Context) -> tuple[str, str]:
    """Returns `traceparent` and `tracestate` of a call's metadata, empty where it has none."""
    traceparent = tracestate = ""
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent":
            traceparent = str(value)
        elif key == "tracestate":
            tracestate = str(value)
    return traceparent, tracestate


async def _abort(context: _Context, error: RendezvousError) -> NoReturn:
    await context.abort(status_of(error), error.message, trailing_metadata(error))
    raise cast("Exception", error)  # abort has raised

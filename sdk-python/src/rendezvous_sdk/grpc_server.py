"""The service `Score` for one model, with health and reflection."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import NoReturn, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ExpiredError,
    InvalidFrameError,
    RendezvousError,
    UnavailableError,
    UnknownEndpointError,
    UnknownModelError,
)
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import check_name

from rendezvous_sdk.grpc_errors import status_of, trailing_metadata
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.scoring import ParcelScorer, unix_us
from rendezvous_sdk.thread import ModelThread
from rendezvous_sdk.traces import ScoredSpan, trace_scored

__all__ = ["SERVICE", "GrpcServer"]

SERVICE = "rendezvous.v1.Score"
_STREAMED_AT_ONCE = 64
_PING_INTERVAL_MS = 5_000

_Context = grpc.aio.ServicerContext[Message, Message]


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
        servicer = _ScoreServicer(scorer=scorer, thread=thread, options=options, info=info)
        v1.add_ScoreServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call] # generated
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
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Reports NOT_SERVING, refuses new calls, lets running ones end within *grace_s*."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(grace_s)

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


class _ScoreServicer(v1.ScoreServicer):
    def __init__(self, *, scorer: ParcelScorer, thread: ModelThread, options: ServeOptions, info: v1.ModelInfo) -> None:
        self._scorer = scorer
        self._thread = thread
        self._options = options
        self._info = info

    async def Describe(self, request: v1.DescribeRequest, context: _Context) -> v1.ModelInfo:  # noqa: N802 - gRPC
        try:
            self._check_addressed(request.endpoint)
        except RendezvousError as error:
            await _abort(context, error)
        return self._info

    async def Score(self, request: v1.ScoreRequest, context: _Context) -> v1.ScoreReply:  # noqa: N802 - gRPC
        try:
            return await self._score(request, context.time_remaining(), _trace_context(context))
        except RendezvousError as error:
            await _abort(context, error)

    async def ScoreStream(  # noqa: N802 - gRPC
        self,
        requests: AsyncIterator[v1.ScoreRequest],
        context: _Context,
    ) -> AsyncIterator[v1.ScoreReply]:
        replies: asyncio.Queue[v1.ScoreReply | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read_stream(requests, replies, _trace_context(context)))
        try:
            while (reply := await replies.get()) is not None:
                yield reply
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_stream(
        self,
        requests: AsyncIterator[v1.ScoreRequest],
        replies: "asyncio.Queue[v1.ScoreReply | None]",
        trace: tuple[str, str],
    ) -> None:
        free = asyncio.Semaphore(_STREAMED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for request in requests:
                await free.acquire()
                group.create_task(self._answer_streamed(request, replies, free, trace))
        replies.put_nowait(None)

    async def _answer_streamed(
        self,
        request: v1.ScoreRequest,
        replies: "asyncio.Queue[v1.ScoreReply | None]",
        free: asyncio.Semaphore,
        trace: tuple[str, str],
    ) -> None:
        received = unix_us()
        try:
            reply = await self._score(request, None, trace)
        except RendezvousError as error:
            reply = v1.ScoreReply(
                request_id=request.request_id,
                model=self._options.name,
                version=self._options.version,
                error=error.to_proto(),
                timing=v1.Timing(received_unix_us=received, started_unix_us=received, finished_unix_us=unix_us()),
            )
            self._trace(reply, request, trace)
        replies.put_nowait(reply)
        free.release()

    async def _score(
        self, request: v1.ScoreRequest, remaining_s: float | None, trace: tuple[str, str]
    ) -> v1.ScoreReply:
        received = unix_us()
        self._check(request, remaining_s)
        request_id = request.request_id or new_id()
        started, outputs, finished = await self._thread.submit(partial(_timed_score, self._scorer, request.inputs))
        reply = v1.ScoreReply(
            request_id=request_id,
            model=self._options.name,
            version=self._options.version,
            outputs=outputs,
            timing=v1.Timing(received_unix_us=received, started_unix_us=started, finished_unix_us=finished),
        )
        self._trace(reply, request, trace)
        return reply

    def _trace(self, reply: v1.ScoreReply, request: v1.ScoreRequest, of_call: tuple[str, str]) -> None:
        traceparent, tracestate = (request.traceparent, request.tracestate) if request.traceparent else of_call
        if not traceparent:
            return
        span = ScoredSpan(
            endpoint=self._options.endpoint,
            model=self._options.name,
            version=self._options.version,
            started_unix_us=reply.timing.started_unix_us,
            finished_unix_us=reply.timing.finished_unix_us,
            request_id=reply.request_id,
            rows=request.inputs.rows,
            error=reply.error if reply.HasField("error") else None,
        )
        reply.traceparent = trace_scored(traceparent, tracestate, span)

    def _check(self, request: v1.ScoreRequest, remaining_s: float | None) -> None:
        self._check_addressed(request.endpoint)
        if request.request_id:
            check_name("request id", request.request_id)
        forced = request.diagnostics.force_model
        if forced and forced != self._options.name:
            raise UnknownModelError(
                f"model {forced!r} was asked for; here is only {self._options.name!r}", {"model": forced}
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
                f"endpoint {endpoint!r} is not served here; here is model {self._options.name!r} "
                f"of endpoint {self._options.endpoint!r}",
                {"endpoint": endpoint, "served": self._options.endpoint},
            )


def _timed_score(scorer: ParcelScorer, frame: v1.Frame) -> tuple[int, v1.Frame, int]:
    started = unix_us()
    outputs = scorer.score_request(frame)
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

"""The gRPC front door: `Score` and `Feedback` of `rendezvous.v1`, Open Inference, health, reflection.

Thin: it moves bytes and maps errors.

Requests are parsed here rather than by grpc, so that bytes which are no `ScoreRequest` get a clear answer, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rendezvous_proto.errors import (
    InternalError,
    RendezvousError,
)
from rendezvous_proto.v1 import ScoreReply
from rendezvous_sdk.requests import parse_describe_request, parse_score_request, request_id_of

from rendezvous_router.app import METHOD
from rendezvous_router.feedback.service import SERVICE as FEEDBACK_SERVICE
from rendezvous_router.feedback.service import FeedbackService
from rendezvous_router.oip.service import SERVICE as INFERENCE
from rendezvous_router.oip.service import InferenceService
from rendezvous_router.options import RouterOptions
from rendezvous_router.reception import SCORE, Reception
from rendezvous_router.refusal import refuse_call
from rendezvous_router.tls import ServerTls

SERVICE = "rendezvous.v1.Score"
"""Full name of the service."""
SERVICES = (SERVICE, FEEDBACK_SERVICE, INFERENCE)
"""What is served for requests."""
STREAM_METHOD = "rendezvous.v1.Score/ScoreStream"
"""Its method for many requests."""
STREAM_WINDOW = 1024
"""Requests of one stream that may be in flight; then the door reads no further, and HTTP/2 holds the client back."""
KEEPALIVE_MIN_MS = 10_000
"""Clients may ping an idle connection this often without being sent away."""

_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]


class Door:
    """Serves routers over gRPC.

    Args:
        reception: says whose router answers.
        options: where to listen, and what to take.
        tls: encrypts the port; None: it is served in the clear.
        reuse_port: share the port with other workers (SO_REUSEPORT).
    """

    def __init__(
        self, reception: Reception, options: RouterOptions, *, tls: ServerTls | None = None, reuse_port: bool = False
    ) -> None:
        self._reception = reception
        self._options = options
        self._tls = tls
        self._reuse_port = reuse_port
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._streams: set[asyncio.Event] = set()

    async def open(self) -> int:
        """Listens, and returns the port. Says that it does not serve until `set_serving` says otherwise.

        Raises:
            RuntimeError: the port is taken.
        """
        options = self._options
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(self._reuse_port)),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_MIN_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        reception = self._reception
        server.add_generic_rpc_handlers(
            (self._handler(), FeedbackService(reception).handler(), InferenceService(reception).handler())
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = f"{options.host}:{options.grpc_port}"
        port = (
            server.add_insecure_port(address)
            if self._tls is None
            else server.add_secure_port(address, self._tls.grpc_credentials())
        )
        await server.start()
        self._server = server
        await self.set_serving(False)
        return int(port)

    async def set_serving(self, is_serving: bool) -> None:
        """Sets what the health service answers."""
        status = health_pb2.HealthCheckResponse
        for service in ("", *SERVICES):
            await self._health.set(service, status.SERVING if is_serving else status.NOT_SERVING)

    async def close(self, grace_s: float) -> None:
        """Refuses new calls, and gives those in progress *grace_s* seconds."""
        await self._health.enter_graceful_shutdown()
        for stream in self._streams:
            stream.set()
        if self._server is not None:
            await self._server.stop(grace_s)

    def _handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Describe": grpc.unary_unary_rpc_method_handler(self._describe),
                "Score": grpc.unary_unary_rpc_method_handler(self._score),
                "ScoreStream": grpc.stream_stream_rpc_method_handler(self._score_stream),
            },
        )

    async def _describe(self, raw: bytes, context: Context) -> bytes:
        try:
            router = self._reception.admit(_metadata(context, "authorization")).demand(SCORE)
            return router.describe(parse_describe_request(raw).endpoint).SerializeToString()
        except RendezvousError as error:
            return refuse_call(context, error)

    async def _score(self, raw: bytes, context: Context) -> bytes:
        try:
            answer = self._submit(raw, context, METHOD)
            reply = await asyncio.shield(answer)
        except RendezvousError as error:
            return refuse_call(context, error)
        return reply.SerializeToString()

    async def _score_stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        stream = _Stream(self, requests, context)
        self._streams.add(stream.draining)
        try:
            async for reply in stream.replies():
                yield reply
        finally:
            self._streams.discard(stream.draining)
            stream.cancel()

    def _submit(self, raw: bytes, context: Context, method: str) -> "asyncio.Future[ScoreReply]":
        shown: dict[str, str | bytes] = dict(context.invocation_metadata() or ())
        traceparent, tracestate = str(shown.get("traceparent", "")), str(shown.get("tracestate", ""))
        router = self._reception.admit(_text(shown.get("authorization"))).demand(SCORE)
        try:
            request = parse_score_request(raw)
        except RendezvousError as error:
            router.refuse_unread(error, method=method, traceparent=traceparent, tracestate=tracestate)
            raise
        try:
            if request.traceparent:  # its own, in a stream
                traceparent, tracestate = request.traceparent, request.tracestate
            return router.submit(
                request,
                size_bytes=len(raw),
                remaining_s=context.time_remaining(),
                traceparent=traceparent,
                tracestate=tracestate,
                method=method,
            )
        except RendezvousError:
            raise
        except Exception as error:
            _log.exception("a request failed inside the router")
            raise InternalError("a fault of the router: see its log, and please report it") from error


class _Stream:
    """One ScoreStream call: reads on while answers are awaited, and writes them as they come."""

    def __init__(self, door: Door, requests: AsyncIterator[bytes], context: Context) -> None:
        self.draining = asyncio.Event()
        self._door = door
        self._context = context
        self._requests = requests
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(STREAM_WINDOW)
        self._open = 0
        self._is_read = False
        self._reader = asyncio.create_task(self._read())
        self._drainer = asyncio.create_task(self._drain())

    async def replies(self) -> AsyncIterator[bytes]:
        """Yields serialized replies until all requests of the stream are answered."""
        while (reply := await self._ready.get()) is not None:
            yield reply
            self._room.release()  # not before it was sent: a client that does not read is not read from either
        if self._reader.done() and not self._reader.cancelled() and (error := self._reader.exception()) is not None:
            raise error

    def cancel(self) -> None:
        """Stops reading; what was accepted stays accepted."""
        self._reader.cancel()
        self._drainer.cancel()

    async def _read(self) -> None:
        try:
            async for raw in self._requests:
                await self._room.acquire()
                self._open += 1
                try:
                    answer = self._door._submit(raw, self._context, STREAM_METHOD)  # noqa: SLF001 # the stream is a part of the door
                except RendezvousError as error:
                    self._put(_error_reply(request_id_of(raw), error))
                    continue
                answer.add_done_callback(partial(self._take, raw))
        finally:
            self._end()

    async def _drain(self) -> None:
        await self.draining.wait()
        self._reader.cancel()
        self._end()

    def _take(self, raw: bytes, answer: "asyncio.Future[ScoreReply]") -> None:
        if answer.cancelled():
            error: BaseException | None = InternalError("the answer was cancelled")
        else:
            error = answer.exception()
        if error is None:
            self._put(answer.result())
        elif isinstance(error, RendezvousError):
            self._put(_error_reply(request_id_of(raw), error))
        else:
            self._put(_error_reply(request_id_of(raw), InternalError("a fault of the router: see its log")))

    def _put(self, reply: ScoreReply) -> None:
        self._open -= 1
        self._ready.put_nowait(reply.SerializeToString())
        if self._is_read and not self._open:
            self._ready.put_nowait(None)

    def _end(self) -> None:
        if not self._is_read:
            self._is_read = True
            if not self._open:
                self._ready.put_nowait(None)


def _metadata(context: Context, key: str) -> str | None:
    return next((_text(value) for name, value in context.invocation_metadata() or () if name == key), None)


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _error_reply(request_id: str, error: RendezvousError) -> ScoreReply:
    return ScoreReply(request_id=request_id, error=error.to_proto())

"""One process that serves one model: start, wait for a signal, drain."""

import asyncio
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from nats import errors
from rendezvous_proto.postbox import MAX_PARCEL_BYTES

from rendezvous_sdk.counters import Counters
from rendezvous_sdk.grpc_server import GrpcServer
from rendezvous_sdk.logs import add_log_fields
from rendezvous_sdk.model import Model
from rendezvous_sdk.nats_connection import Connection, connect
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.origin import complete_info
from rendezvous_sdk.postbox import PostboxReader
from rendezvous_sdk.registration import Registration
from rendezvous_sdk.scoring import ParcelScorer, unix_us
from rendezvous_sdk.signals import drain_on_signals
from rendezvous_sdk.span_export import SpanExport, start_span_export
from rendezvous_sdk.tasks import end_tasks
from rendezvous_sdk.thread import ModelThread

__all__ = ["Replica", "run_replica"]

_log = logging.getLogger(__name__)

_DRAIN_LIMIT_S = 9.0
_GRPC_GRACE_S = 3.0
_FLUSH_TIMEOUT_S = 2
_SPANS_LIMIT_S = 2.0
_MAX_PAYLOAD_SHARE = 0.95


def new_replica_name() -> str:
    """Returns a name for this process: host, process id and a random part."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:32]
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


class Replica:
    """One served model in one process.

    Args:
        model: the model, not yet set up.
        options: how to serve it.
    """

    def __init__(self, model: Model, options: ServeOptions) -> None:
        self.name = new_replica_name()
        self.options = options
        self.counters = Counters()
        self._model = model
        self._thread = ModelThread(options.scoring_limit_s)
        self._grpc: GrpcServer | None = None
        self._reader: PostboxReader | None = None
        self._registration: Registration | None = None
        self._nc: Connection | None = None
        self._spans: SpanExport | None = None
        self._closed = asyncio.Event()
        self._is_welcome = True
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def grpc_address(self) -> str:
        """Where gRPC is served; empty when it is not."""
        return f"{self.options.grpc_host}:{self._grpc.port}" if self._grpc is not None else ""

    async def start(self) -> None:
        """Sets the model up and opens both doors; waits for NATS and for the stream as long as it takes.

        Raises:
            UnavailableError: the gRPC port is taken.
            Exception: whatever the model's `setup` raises.
        """
        if self._model.setup is not None:
            await self._thread.submit(self._model.setup)
        options = self.options
        # Not before: an author may set up OpenTelemetry in `setup`.
        self._spans = start_span_export(
            {
                "service.name": options.name,
                "service.namespace": options.endpoint,
                "service.version": options.version,
                "service.instance.id": self.name,
            }
        )
        info = complete_info(self._model.info, name=options.name, version=options.version, source=self._model.source)
        scorer = ParcelScorer(
            self._model,
            endpoint=options.endpoint,
            name=options.name,
            version=options.version,
            replica=self.name,
            max_rows=options.max_rows,
            enricher=options.enricher,
            limited=self._thread.limited,
        )
        if options.grpc:
            self._grpc = GrpcServer(scorer=scorer, thread=self._thread, options=options, info=info)
            await self._grpc.start()
        if not options.postbox:
            return
        self._nc = await connect(
            options.nats,
            name=f"model {options.endpoint}/{options.name}:{options.version} {self.name}",
            on_closed=self._closed.set,
            on_reconnected=partial(self._tell_health, is_serving=True),
            on_refused=partial(self._tell_health, is_serving=False),
            credentials=options.credentials,
        )
        self._tell_health(is_serving=True)
        scorer.max_bytes = min(MAX_PARCEL_BYTES, int(self._nc.max_payload * _MAX_PAYLOAD_SHARE))
        self._reader = PostboxReader(
            self._nc, scorer=scorer, thread=self._thread, options=options, counters=self.counters
        )
        self._registration = Registration(
            self._nc, info=info, options=options, counters=self.counters, status=self._fixed_status()
        )
        await self._reader.consumer.wait_until_ensured()
        self._registration.start()
        await self._registration.wait_registered()  # known before it reads
        await self._reader.start()
        self._nc.reconnect_listeners.append(self._registration.register_again)

    async def wait_failed(self) -> None:
        """Returns when the connection was closed for good; raises when reading the postbox failed."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._closed.wait())]
        if self._reader is not None:
            waits.append(asyncio.create_task(self._reader.wait_failed()))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(*waits)

    async def stop(self) -> None:
        """Drains: reads nothing more, finishes and publishes what is being scored, closes everything."""
        stopping = [self._stop_postbox()]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(_GRPC_GRACE_S))
        await asyncio.gather(*stopping)
        if self._model.close is not None:
            await self._thread.submit(self._model.close)
        self._thread.stop()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close, _SPANS_LIMIT_S)

    async def _stop_postbox(self) -> None:
        if self._reader is not None:
            await self._reader.stop()
        if self._registration is not None:
            await self._registration.stop()
        if self._nc is not None and not self._nc.is_closed:
            try:
                await self._nc.flush(_FLUSH_TIMEOUT_S)
            except (errors.Error, TimeoutError) as error:
                _log.warning("the last scores may not have left: %r", error)
            await self._nc.close()

    def _tell_health(self, *, is_serving: bool) -> None:
        if self._grpc is not None and is_serving != self._is_welcome:
            self._is_welcome = is_serving
            task = asyncio.create_task(self._grpc.set_serving(is_serving))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def _fixed_status(self) -> dict[str, object]:
        return {
            "replica": self.name,
            "grpc": self.grpc_address,
            "pid": os.getpid(),
            "started_unix_us": unix_us(),
        }


async def run_replica(
    model: Model, options: ServeOptions, *, on_ready: Callable[[Replica], None], parent_fd: int | None = None
) -> int:
    """Serves until SIGTERM or SIGINT, or until the parent process is gone, then drains.

    A second signal ends the process at once.

    Args:
        model: the model.
        options: how to serve it.
        on_ready: called once everything is open.
        parent_fd: a pipe whose other end the parent holds; its end means that the parent is gone.

    Returns:
        Exit status: 0 after a drain, 1 when serving failed or the drain took more than 9 seconds.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop, parent_fd)
    replica = Replica(model, options)
    add_log_fields(endpoint=options.endpoint, model=options.name, version=options.version, replica=replica.name)
    status = 0
    serving = asyncio.create_task(_serve_until_failed(replica, on_ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        status = 1
        _log_failure(serving)
    await end_tasks(serving, stopping)
    try:
        async with asyncio.timeout(_DRAIN_LIMIT_S):
            await replica.stop()
    except TimeoutError:
        _log.error("not drained within %g s: what is still being scored comes again elsewhere", _DRAIN_LIMIT_S)
        status = 1
    return status


async def _serve_until_failed(replica: Replica, on_ready: Callable[[Replica], None]) -> None:
    await replica.start()
    on_ready(replica)
    await replica.wait_failed()


def _log_failure(serving: "asyncio.Task[None]") -> None:
    error = None if serving.cancelled() else serving.exception()
    if error is not None:
        _log.error("serving failed: %s: %s", type(error).__name__, error, exc_info=error)
    else:
        _log.error("the connection to NATS was closed for good")


def _stop_on_signals(stop: asyncio.Event, parent_fd: int | None) -> None:
    drain_on_signals(stop)
    if parent_fd is not None:
        loop = asyncio.get_running_loop()

        def parent_gone() -> None:
            loop.remove_reader(parent_fd)
            stop.set()

        loop.add_reader(parent_fd, parent_gone)

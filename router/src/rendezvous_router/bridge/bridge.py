"""A bridge's life: find the model server, wait for the endpoint, serve, drain."""

import asyncio
import logging
import os
import time
from functools import partial
from typing import Any

from nats import errors
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidSpecError, UnavailableError
from rendezvous_sdk.consumer import ModelConsumer
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.health_door import HealthDoor
from rendezvous_sdk.nats_connection import Connection, connect
from rendezvous_sdk.registration import Registration
from rendezvous_sdk.replica import new_replica_name
from rendezvous_sdk.scoring import unix_us
from rendezvous_sdk.tasks import end_tasks
from rendezvous_sdk.thread import ModelThread

from rendezvous_router.bridge.address import OIP_GRPC, OIP_HTTP, SCORE
from rendezvous_router.bridge.errors import BridgeError, FarWaitError
from rendezvous_router.bridge.far import Far, FarInfo
from rendezvous_router.bridge.far_oip_grpc import OipGrpcFar
from rendezvous_router.bridge.far_oip_http import OipHttpFar
from rendezvous_router.bridge.far_score import ScoreFar
from rendezvous_router.bridge.lane import COMPONENT, Lane
from rendezvous_router.bridge.options import BridgeOptions
from rendezvous_router.bridge.plan import Plan, make_plan
from rendezvous_router.bridge.reader import BridgeReader
from rendezvous_router.bridge.watch import INTERVAL_S, FarWatch
from rendezvous_router.enrichment_plan import signature_of
from rendezvous_router.spec_store import SpecStore

__all__ = ["Bridge", "open_far"]

_log = logging.getLogger(__name__)

_DESCRIBE_TIMEOUT_S = 5.0
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 2.0
_REPEAT_LOG_S = 15.0
_FLUSH_TIMEOUT_S = 2
_NO_SUCH_CONSUMER = 10014
"""`err_code` of nats-server where the stream is there and the consumer is not."""
_ROUTER_SDK = "rendezvous-router"
"""What a router calls itself in `Describe`; it tells no language."""


def open_far(options: BridgeOptions) -> Far:
    """Returns the model server, not yet asked anything."""
    to = options.to
    if to.scheme == OIP_GRPC:
        return OipGrpcFar(
            to,
            mapping=options.mapping,
            max_message_bytes=options.max_message_bytes,
            credentials=options.far_credentials,
        )
    if to.scheme == OIP_HTTP:
        return OipHttpFar(
            to,
            mapping=options.mapping,
            connections=options.concurrency + 1,
            max_message_bytes=options.max_message_bytes,
            credentials=options.far_credentials,
        )
    if options.mapping.parameters:
        raise BridgeError("mapping: parameters: the service Score has none; they belong to oip+grpc and oip+http")
    return ScoreFar(to, max_message_bytes=options.max_message_bytes, credentials=options.far_credentials)


class Bridge:
    """One process that reads a postbox on behalf of a model server. Belongs to the event loop.

    Args:
        options: what is joined to what, and how.
    """

    def __init__(self, options: BridgeOptions) -> None:
        self.replica = new_replica_name()
        self.options = options
        self.counters = Counters()
        self._far = open_far(options)
        self._asking = ModelThread()
        self._lanes: list[Lane] = []
        self._nc: Connection | None = None
        self._reader: BridgeReader | None = None
        self._watch: FarWatch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._registration: Registration | None = None
        self._closed = asyncio.Event()
        self._info = v1.ModelInfo()
        self._door: HealthDoor | None = None

    @property
    def far_address(self) -> str:
        """Where the model is: `host:port` if it implements `Score`, else its whole address."""
        to = self.options.to
        return to.target if to.scheme == SCORE else str(to)

    async def start(self) -> None:
        """Waits for the model server, for NATS and for the endpoint, as long as it takes; then serves.

        Raises:
            BridgeError: the model server, the endpoint and the mapping do not fit together.
            UnavailableError: the port of gRPC health is taken.
        """
        options = self.options
        if options.grpc_port is not None:
            self._door = await HealthDoor.open(options.grpc_host, options.grpc_port, self._is_well)
        far_info = await self._wait_until_described()
        _refuse_loop(far_info.info, options)
        self._nc = await connect(
            options.nats,
            name=f"bridge {options.endpoint}/{options.name}:{options.version} {self.replica}",
            on_closed=self._closed.set,
        )
        reader = self._reader = await self._make_reader(far_info)
        self._watch = FarWatch(
            check=self._check,
            step_back=reader.close,
            come_back=reader.open,
            heard_at=lambda: max(lane.answered_at for lane in self._lanes),
        )
        self._registration = Registration(
            self._nc,
            info=self._info,
            options=options.serving(),
            counters=self.counters,
            status=self._fixed_status(),
            changing=self._status,
        )
        self._registration.start()
        await self._registration.wait_registered()  # known before it reads
        self._nc.reconnect_listeners.append(self._registration.register_again)
        self._watching = asyncio.create_task(self._watch.run(), name="bridge-watch")

    async def wait_failed(self) -> None:
        """Returns when the connection was closed for good; raises what ended the serving, a fault of the bridge."""
        assert self._reader is not None, "called after start"
        assert self._watching is not None, "called after start"
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._closed.wait()),
            asyncio.create_task(self._reader.wait_failed()),
        ]
        try:
            done, _ = await asyncio.wait((*waits, self._watching), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(*waits)

    async def stop(self) -> None:
        """Drains: reads nothing more, hands back what waits, finishes and publishes what is being scored."""
        if self._door is not None:
            await self._door.close()
        await end_tasks(self._watching)
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
        self._asking.stop()
        for lane in self._lanes:
            lane.stop()
        self._far.close()

    async def _wait_until_described(self) -> FarInfo:
        pause_s, logged_at = _FIRST_PAUSE_S, -_REPEAT_LOG_S
        while True:
            try:
                return await self._asking.submit(partial(self._far.describe, _DESCRIBE_TIMEOUT_S))
            except FarWaitError as error:
                if time.monotonic() - logged_at >= _REPEAT_LOG_S:
                    logged_at = time.monotonic()
                    _log.warning("waiting for the model server: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _make_reader(self, far_info: FarInfo) -> BridgeReader:
        assert self._nc is not None, "connected before"
        options = self.options
        await _AwaitedStream(self._nc, options.serving()).wait_until_ensured()
        plan = make_plan(options.mapping, far_info, await self._read_signature(self._nc))
        max_rows = min(options.max_rows, far_info.max_rows or options.max_rows)
        self._lanes = [
            Lane(self._far, plan=plan, options=options, replica=self.replica, max_rows=max_rows)
            for _ in range(options.concurrency)
        ]
        reader = BridgeReader(
            self._nc, lanes=self._lanes, options=options.serving(), counters=self.counters, on_lost=self._lose
        )
        await reader.start()
        self._info = _bridged_info(far_info.info, plan, options)
        return reader

    async def _read_signature(self, nc: Connection) -> v1.Signature:
        """Returns the endpoint's columns; none where it is not specified, or not readably."""
        try:
            found = await SpecStore(nc).get(self.options.endpoint)
        except InvalidSpecError as error:
            _log.warning("columns are taken as they come: %s", error)
            return v1.Signature()
        return v1.Signature() if found is None else signature_of(found[0], self.options.name)

    def _lose(self, error: UnavailableError) -> None:
        assert self._watch is not None, "made before the postbox is read"
        self._watch.lose(error)

    async def _check(self) -> None:
        await self._asking.submit(partial(self._far.check, INTERVAL_S))

    def _is_well(self) -> bool:
        return self._nc is not None and self._nc.is_connected and self._watch is not None and self._watch.is_up

    def _status(self) -> dict[str, object]:
        return {} if self._watch is None else self._watch.status

    def _fixed_status(self) -> dict[str, object]:
        to = self.options.to
        return {
            "replica": self.replica,
            "grpc": self.far_address,
            "far": str(to),
            "pid": os.getpid(),
            "started_unix_us": unix_us(),
        }


class _AwaitedStream(ModelConsumer):
    """Waits for the endpoint as models do, but makes no consumer: a bridge that is refused leaves none behind."""

    async def _ensure(self, asked: JetStreamContext) -> None:
        """Returns if the endpoint's stream is there; raises as `ModelConsumer.ensure` does."""
        try:
            await asked.consumer_info(self.stream, self.name)
        except NotFoundError as error:
            if error.err_code != _NO_SUCH_CONSUMER:
                raise


def _refuse_loop(far: v1.ModelInfo, options: BridgeOptions) -> None:
    """Raises BridgeError where the model server is a router that would send each parcel here again."""
    if far.sdk == _ROUTER_SDK and not far.language and far.name == options.endpoint:
        raise BridgeError(
            f"{options.to} is a router of endpoint {options.endpoint} itself: each parcel would come back as a new "
            "request, without end; give the address of the model's server"
        )


def _bridged_info(far: v1.ModelInfo, plan: Plan, options: BridgeOptions) -> v1.ModelInfo:
    """Returns what is registered: the model as it tells of itself, by the name that it has here."""
    info = v1.ModelInfo()
    info.CopyFrom(far)
    info.name, info.version = options.name, options.version
    info.signature.CopyFrom(plan.signature)
    info.sdk = f"{COMPONENT.component} {COMPONENT.version}" + (f" ({far.sdk})" if far.sdk else "")
    return info

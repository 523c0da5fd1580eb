"""One router: its desks, its postbox, its life from start to drain."""

import asyncio
import logging
import os
import secrets
import time
from typing import Any

from rendezvous.mailbox import Mailbox
from rendezvous.spec import EndpointSpec
from rendezvous_proto.errors import InternalError, RendezvousError, UnavailableError
from rendezvous_proto.ids import new_id
from rendezvous_proto.keys import Key
from rendezvous_proto.postbox import check_name
from rendezvous_proto.v1 import ModelInfo, ScoreReply, ScoreRequest
from rendezvous_sdk.tasks import end_tasks
from rendezvous_sdk.traces import is_traceparent

from rendezvous_router.admission import budget_s, check_size, forced_model, no_endpoint
from rendezvous_router.arrivals import Arrivals
from rendezvous_router.calls import CallBook
from rendezvous_router.clock import Clock
from rendezvous_router.desk import Desk, DeskRoom
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.feedback.recorder import Recorder
from rendezvous_router.journal import Journal
from rendezvous_router.ledger import Ledger
from rendezvous_router.left_decisions import write_left
from rendezvous_router.limits import Gate, TenantLimits
from rendezvous_router.options import RouterOptions
from rendezvous_router.parcels import Request
from rendezvous_router.postbox import Postbox
from rendezvous_router.repeats import Repeats, content_of
from rendezvous_router.spec_watch import SpecWatch
from rendezvous_router.status import desk_status, report_status
from rendezvous_router.streams import ensure_streams
from rendezvous_router.tally import EndpointTally
from rendezvous_router.telemetry.fleet_watch import FleetWatch
from rendezvous_router.telemetry.spans import SpanBook
from rendezvous_router.telemetry.tracing import Tracing

METHOD = "rendezvous.v1.Score/Score"
"""The method through which requests come, unless the door says otherwise."""

FOLD_S = 0.25
"""How often values wait at most to be counted into histograms."""

_log = logging.getLogger(__name__)
_ROUTER_ID_BYTES = 6


class Router:
    """Takes requests for all endpoints and answers them. Made by `Router.start`; belongs to one event loop."""

    def __init__(
        self, options: RouterOptions, postbox: Postbox, tracing: Tracing | None, gate: Gate | None = None
    ) -> None:
        self.options = options
        self.gate = gate or Gate(workers=options.workers)
        self.postbox = postbox
        self._journals = None if options.journal is None else options.journal / self.gate.tenant
        journal = None if self._journals is None else Journal(self._journals, postbox.router)
        self.ledger = Ledger(postbox.write, journal, postbox.has_lost)
        self.desks: dict[str, Desk] = {}
        self.is_draining = False
        self.in_flight = 0
        self.grpc_address = ""
        self.rest_address = ""
        self.fleet = FleetWatch(postbox.client)
        self.recorder = Recorder(self)
        self._loop = asyncio.get_running_loop()
        self._spans = SpanBook(tracing, self.gate.tenant) if tracing is not None else None
        self._calls = CallBook(tracing, self._spans)
        self._room = DeskRoom(self._loop, Clock(self._loop), postbox, self.ledger, self._spans)
        self._repeats = Repeats(
            window_s=options.repeat_window_s, entries=options.repeat_entries, most_bytes=options.repeat_bytes
        )
        self._leaving: dict[str, Desk] = {}
        self._arrivals = Arrivals(self.desks, self._leaving, self._room)
        self._watch = SpecWatch(postbox.client, on_spec=self._adopt, on_gone=self._abandon)
        self._tasks: list[asyncio.Task[Any]] = []
        self._started_unix_us = time.time_ns() // 1000

    @classmethod
    async def start(
        cls,
        options: RouterOptions,
        router_id: str = "",
        tracing: Tracing | None = None,
        gate: Gate | None = None,
        key: Key | None = None,
    ) -> "Router":
        """Connects, learns the endpoints and gets ready for requests. Waits for nats-server as long as it takes.

        Args:
            options: how to run.
            router_id: id of this life; empty: a new one.
            tracing: samples requests and takes their spans; None: nothing is traced. The caller closes it.
            gate: the tenant's limits, and its room beside the other tenants of the process; None: no limits, no others.
            key: opens the tenant's account in NATS; None: nobody is asked for one.

        Raises:
            nats.errors.Error: NATS refuses the key.
        """
        postbox = await Postbox.open(options.nats_url, router=router_id or new_router_id(), key=key)
        router = cls(options, postbox, tracing, gate)
        try:
            await postbox.hear_scores(router._arrivals.take_message)
            await router._watch.start()
        except BaseException:  # cancelled, too: nobody else knows of the connection yet
            try:
                await router._watch.stop()
            finally:
                await postbox.close()
            raise
        router.ledger.start()
        router._tasks = [
            asyncio.create_task(router._arrivals.sweep(), name="sweep"),
            asyncio.create_task(report_status(postbox, router.status), name="status"),
            asyncio.create_task(router._fold_often(), name="fold"),
            asyncio.create_task(router.fleet.run(router.desks), name="fleet"),
        ]
        if router._journals is not None:
            router._tasks.append(asyncio.create_task(write_left(router._journals, postbox), name="left"))
        return router

    @property
    def router_id(self) -> str:
        """Id of this life of the router; its return address in the postbox."""
        return self.postbox.router

    @property
    def nowhere(self) -> EndpointTally:
        """Requests that found no endpoint."""
        return self._calls.nowhere

    def serve_at(self, address: str, *, rest: str = "") -> None:
        """Says where the front doors listen: gRPC's host and port, REST's URL; for the status and for spans."""
        self.grpc_address, self.rest_address = address, rest
        if self._spans is not None:
            self._spans.serve_at(address)

    async def drain(self) -> None:
        """Refuses new requests, answers the accepted ones, writes the decisions, and disconnects."""
        self.is_draining = True
        give_up = time.monotonic() + self.options.drain_s
        while (self.in_flight or self.recorder.in_flight) and time.monotonic() < give_up:  # noqa: ASYNC110 # as said below
            # Answers end in callbacks that know nothing of draining, and each ends by its deadline.
            await asyncio.sleep(0.005)
        await self._watch.stop()
        await end_tasks(*self._tasks)
        self._arrivals.close()
        self.fold()
        await self.ledger.close(timeout_s=max(1.0, give_up - time.monotonic()))
        await self.postbox.close()

    def describe(self, name: str) -> ModelInfo:
        """Returns what endpoint *name* is; empty: the only one there is.

        Raises:
            UnknownEndpointError: there is none of that name, or several and no name.
        """
        return self.find_desk(name).endpoint.info

    def submit(
        self,
        message: ScoreRequest,
        *,
        size_bytes: int,
        remaining_s: float | None,
        traceparent: str = "",
        tracestate: str = "",
        method: str = METHOD,
    ) -> "asyncio.Future[ScoreReply]":
        """Accepts a request.

        Args:
            message: the request.
            size_bytes: its size on the wire.
            remaining_s: seconds to the client's deadline; None: it has none.
            traceparent: W3C trace context of the client, or empty.
            tracestate: the same, vendors' part.
            method: through which it came, `package.Service/Method`.

        Returns:
            The reply to be. Shared between retries: shield it from cancellation.

        Raises:
            RendezvousError: the request is refused, and nothing was kept of it.
        """
        now = time.monotonic()
        if traceparent and not is_traceparent(traceparent):
            traceparent = tracestate = ""
        call = self._calls.begin(message, traceparent, tracestate, method)
        desk: Desk | None = None
        try:
            desk = self.find_desk(message.endpoint)
            self.check_admission()
            check_size(message, desk.endpoint.spec, size_bytes)
            known = self._find_repeat(message, desk.endpoint, size_bytes, now)
            if known is not None:
                self._calls.share(desk, call, known, now)
                return known
            self.gate.check(desk.endpoint, message.inputs.rows, size_bytes, now)
            self.gate.check_room(desk.endpoint, self.in_flight, desk.in_flight, self.options.max_in_flight)
            self.gate.take(desk.endpoint, message.inputs.rows, size_bytes, now)
            request = self._accept(message, desk.endpoint, remaining_s, now)
        except Exception as error:
            # No name for what is raised: this frame would hold it, and it this frame. Under a flood of refusals such
            # cycles are all that the garbage collector finds, and it stops everybody for 100 ms to do so.
            if isinstance(error, RendezvousError):
                self._calls.refuse(desk, call, error, now)
            else:
                self._calls.refuse(desk, call, InternalError("a fault of the router: see its log"), now)
            raise
        request.method, request.trace = method, call.trace
        request.traceparent, request.tracestate = traceparent, tracestate
        if message.request_id:
            self._repeats.remember(desk.endpoint.name, message.request_id, content_of(message), now, request.answer)
        desk.take_request(request, size_bytes)
        return request.answer

    def set_tenant_limits(self, limits: TenantLimits) -> None:
        """Replaces what the tenant may use, from now on."""
        self.gate.set_limits(limits)

    def refuse_unread(self, error: RendezvousError, *, method: str, traceparent: str, tracestate: str) -> None:
        """Counts and traces a request that could not even be read."""
        if traceparent and not is_traceparent(traceparent):
            traceparent = tracestate = ""
        call = self._calls.begin(ScoreRequest(), traceparent, tracestate, method)
        self._calls.refuse(None, call, error, time.monotonic())

    def _accept(
        self,
        message: ScoreRequest,
        endpoint: Endpoint,
        remaining_s: float | None,
        now: float,
    ) -> Request:
        force = forced_model(message, endpoint)
        # Whole nanoseconds, which the record holds exactly: see `Request.elapse`.
        budget = round(budget_s(endpoint, remaining_s, self.options.answer_margin_ms / 1e3) * 1e9) / 1e9
        inputs = endpoint.inputs.accept(message.inputs)
        request_id = message.request_id or new_id()
        return Request(
            request_id=request_id,
            message=message,
            endpoint=endpoint,
            inputs=inputs,
            rows=inputs.frame.rows,
            accepted_at=now,
            accepted_unix_us=time.time_ns() // 1000,
            deadline_at=now + budget,
            answer=self._new_answer(),
            mailbox=Mailbox(
                endpoint.policy,
                request_id=request_id,
                opened_at=0.0,
                deadline=budget,
                rows=inputs.frame.rows,
                context=message.context,
                force=force,
            ),
        )

    def _new_answer(self) -> "asyncio.Future[ScoreReply]":
        answer: asyncio.Future[ScoreReply] = self._loop.create_future()
        self.in_flight += 1
        self.gate.enter()
        answer.add_done_callback(self._count_out)
        return answer

    def _count_out(self, answer: "asyncio.Future[ScoreReply]") -> None:
        self.in_flight -= 1
        self.gate.leave()
        if not answer.cancelled():
            answer.exception()  # looked at: a client that went away is no unhandled error

    def _find_repeat(
        self, message: ScoreRequest, endpoint: Endpoint, size_bytes: int, now: float
    ) -> "asyncio.Future[ScoreReply] | None":
        """Returns the answer (to be) of which *message* is a retry, if it is one; that costs all but its rows.

        It costs that also where the content differs, and so is refused: it was read and compared.
        """
        if not message.request_id:
            return None
        check_name("request id", message.request_id)
        if not self._repeats.knows(endpoint.name, message.request_id, now):
            return None
        self.gate.check(endpoint, 0, size_bytes, now)
        self.gate.take(endpoint, 0, size_bytes, now)
        return self._repeats.find(endpoint.name, message.request_id, content_of(message), now)

    def check_admission(self) -> None:
        """Checks that something can be taken now.

        Raises:
            UnavailableError: the router is shutting down, or not connected to nats-server.
        """
        if self.is_draining:
            raise UnavailableError("this router is shutting down: retry, another one will answer")
        if not self.postbox.is_connected:
            raise UnavailableError("the postbox (nats-server) cannot be reached: retry with the same request id")

    def find_desk(self, name: str) -> Desk:
        """Returns the desk of endpoint *name*; empty: the only one there is.

        Raises:
            UnknownEndpointError, InvalidRequestError: there is none of that name, or several and no name.
        """
        desk = self.desks.get(name)
        if desk is not None:
            return desk
        if not name and len(self.desks) == 1:
            return next(iter(self.desks.values()))
        raise no_endpoint(name, self.desks)

    async def _adopt(self, spec: EndpointSpec, revision: int) -> None:
        await ensure_streams(self.postbox.client, spec)
        endpoint = compile_endpoint(spec, revision)
        desk = self.desks.get(spec.endpoint)
        if desk is None:
            self.desks[spec.endpoint] = Desk(endpoint, self._room)
        else:
            desk.adopt(endpoint)
        _log.info("revision %d in force", revision, extra={"endpoint": spec.endpoint})

    def _abandon(self, name: str) -> None:
        # What the desk has accepted it answers all the same.
        desk = self.desks.pop(name, None)
        self.gate.forget(name)
        if desk is not None:
            self._leaving[name] = desk
            _log.info("deleted", extra={"endpoint": name})

    def fold(self) -> None:
        """Counts what the histograms of the tallies hold into their buckets."""
        self.nowhere.fold()
        for desk in tuple(self.desks.values()):
            desk.tally.fold()

    async def _fold_often(self) -> None:
        while True:
            await asyncio.sleep(FOLD_S)
            self.fold()

    def status(self) -> dict[str, object]:
        """Returns what the router writes about itself (docs/protocol.md, bucket `rv_routers`)."""
        return {
            "router": self.router_id,
            "grpc": self.grpc_address,
            "rest": self.rest_address,
            "pid": os.getpid(),
            "started_unix_us": self._started_unix_us,
            "draining": self.is_draining,
            "endpoints": {name: desk_status(desk) for name, desk in self.desks.items()},
        }


def new_router_id() -> str:
    """Returns an id for one life of a router."""
    return secrets.token_hex(_ROUTER_ID_BYTES)

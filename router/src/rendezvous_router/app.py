"""One router: its desks, its postbox, its life from start to drain."""

import asyncio
import difflib
import logging
import os
import secrets
import time

import msgspec
from google.protobuf.message import DecodeError
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError
from nats.js.kv import KeyValue
from rendezvous.mailbox import Mailbox
from rendezvous.spec import EndpointSpec
from rendezvous_proto.errors import (
    ExpiredError,
    InvalidFrameError,
    InvalidRequestError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
    UnknownEndpointError,
    UnknownModelError,
)
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import ROUTERS_BUCKET, ROUTERS_REFRESH_S, ROUTERS_TTL_S, check_name
from rendezvous_proto.v1 import ModelInfo, ParcelScore, ScoreReply, ScoreRequest
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.clock import Clock
from rendezvous_router.desk import Desk, DeskRoom
from rendezvous_router.endpoint import Endpoint, compile_endpoint
from rendezvous_router.late import LateBook
from rendezvous_router.ledger import Ledger
from rendezvous_router.options import RouterOptions
from rendezvous_router.parcels import OpenParcel, Request
from rendezvous_router.postbox import Postbox
from rendezvous_router.repeats import Repeats
from rendezvous_router.scores import take_score
from rendezvous_router.spec_watch import SpecWatch
from rendezvous_router.streams import ensure_streams

SWEEP_S = 0.25
"""How often parcels past their deadline are moved from the desks to the book of late scores."""
CONTEXT_ENTRIES = 64
"""Entries of a request's context at most."""

_log = logging.getLogger(__name__)
_ROUTER_ID_BYTES = 6


class Router:
    """Takes requests for all endpoints and answers them. Made by `Router.start`; belongs to one event loop."""

    def __init__(self, options: RouterOptions, postbox: Postbox) -> None:
        self.options = options
        self.postbox = postbox
        self.is_draining = False
        self.in_flight = 0
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger(postbox.write)
        self._room = DeskRoom(self._loop, Clock(self._loop), postbox, self._ledger)
        self._desks: dict[str, Desk] = {}
        self._repeats = Repeats(window_s=options.repeat_window_s, entries=options.repeat_entries)
        self._late = LateBook()
        self._watch = SpecWatch(postbox.client, on_spec=self._adopt, on_gone=self._abandon)
        self._tasks: list[asyncio.Task[None]] = []
        self._started_unix_us = time.time_ns() // 1000
        self.grpc_address = ""

    @classmethod
    async def start(cls, options: RouterOptions) -> "Router":
        """Connects, learns the endpoints and gets ready for requests. Waits for nats-server as long as it takes."""
        postbox = await Postbox.open(options.nats_url, router=secrets.token_hex(_ROUTER_ID_BYTES))
        router = cls(options, postbox)
        await postbox.hear_scores(router.take_message)
        await router._watch.start()
        router._ledger.start()
        router._tasks = [
            asyncio.create_task(router._sweep(), name="sweep"),
            asyncio.create_task(router._report(), name="status"),
        ]
        return router

    @property
    def router_id(self) -> str:
        """Id of this life of the router; its return address in the postbox."""
        return self.postbox.router

    async def drain(self) -> None:
        """Refuses new requests, answers the accepted ones, writes the decisions, and disconnects."""
        self.is_draining = True
        give_up = time.monotonic() + self.options.drain_s
        while self.in_flight and time.monotonic() < give_up:  # noqa: ASYNC110 # as said below
            # Answers end in callbacks that know nothing of draining, and each ends by its deadline.
            await asyncio.sleep(0.005)
        await self._watch.stop()
        await end_tasks(*self._tasks)
        await self._ledger.close(timeout_s=max(1.0, give_up - time.monotonic()))
        await self.postbox.close()

    def describe(self, name: str) -> ModelInfo:
        """Returns what endpoint *name* is; empty: the only one there is.

        Raises:
            UnknownEndpointError: there is none of that name, or several and no name.
        """
        return self._desk(name).endpoint.info

    def submit(
        self,
        message: ScoreRequest,
        *,
        size_bytes: int,
        content: int,
        remaining_s: float | None,
        traceparent: str = "",
        tracestate: str = "",
    ) -> "asyncio.Future[ScoreReply]":
        """Accepts a request.

        Args:
            message: the request.
            size_bytes: its size on the wire.
            content: hash of its bytes; a retry has the same.
            remaining_s: seconds to the client's deadline; None: it has none.
            traceparent: W3C trace context of the client, or empty.
            tracestate: the same, vendors' part.

        Returns:
            The reply to be. Shared between retries: shield it from cancellation.

        Raises:
            RendezvousError: the request is refused, and nothing was kept of it.
        """
        desk = self._desk(message.endpoint)
        endpoint = desk.endpoint
        try:
            self._check_admission(desk)
            now = time.monotonic()
            if message.request_id:
                check_name("request id", message.request_id)
                known = self._repeats.find(endpoint.name, message.request_id, content, now)
                if known is not None:
                    return known
            request = self._accept(message, endpoint, size_bytes, remaining_s, now)
        except Exception:
            desk.tally.refused += 1
            raise
        request.traceparent, request.tracestate = traceparent, tracestate
        if message.request_id:
            self._repeats.remember(endpoint.name, message.request_id, content, now, request.answer)
        desk.take_request(request, size_bytes)
        return request.answer

    def _accept(
        self,
        message: ScoreRequest,
        endpoint: Endpoint,
        size_bytes: int,
        remaining_s: float | None,
        now: float,
    ) -> Request:
        _check_size(message, endpoint.spec, size_bytes)
        force = message.diagnostics.force_model or None
        if force is not None and force not in endpoint.roles:
            raise _unknown_model(force, endpoint)
        budget_s = self._budget_s(endpoint, remaining_s)
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
            deadline_at=now + budget_s,
            answer=self._new_answer(),
            mailbox=Mailbox(
                endpoint.policy,
                request_id=request_id,
                opened_at=now,
                deadline=now + budget_s,
                rows=inputs.frame.rows,
                context=message.context,
                force=force,
            ),
        )

    def _budget_s(self, endpoint: Endpoint, remaining_s: float | None) -> float:
        budget_s = endpoint.policy.deadline_s
        if remaining_s is not None and remaining_s <= 0:
            raise ExpiredError(
                f"the deadline had passed {-remaining_s * 1e3:.0f} ms before the request arrived: allow more time",
                {"remaining_ms": round(remaining_s * 1e3)},
            )
        if remaining_s is not None:
            budget_s = min(budget_s, remaining_s)
        return budget_s - min(self.options.answer_margin_ms / 1e3, budget_s / 10)

    def _new_answer(self) -> "asyncio.Future[ScoreReply]":
        answer: asyncio.Future[ScoreReply] = self._loop.create_future()
        self.in_flight += 1
        answer.add_done_callback(self._count_out)
        return answer

    def _count_out(self, answer: "asyncio.Future[ScoreReply]") -> None:
        self.in_flight -= 1
        if not answer.cancelled():
            answer.exception()  # looked at: a client that went away is no unhandled error

    def _check_admission(self, desk: Desk) -> None:
        if self.is_draining:
            raise UnavailableError("this router is shutting down: retry, another one will answer")
        if not self.postbox.is_connected:
            raise UnavailableError("the postbox (nats-server) cannot be reached: retry with the same request id")
        limit = desk.endpoint.spec.limits.max_in_flight
        if desk.in_flight >= limit:
            raise _overloaded(f"endpoint {desk.endpoint.name}", desk.in_flight, limit, "limits.max_in_flight")
        if self.in_flight >= self.options.max_in_flight:
            raise _overloaded("this router", self.in_flight, self.options.max_in_flight, "--max-in-flight")

    def _desk(self, name: str) -> Desk:
        desk = self._desks.get(name)
        if desk is not None:
            return desk
        if not name and len(self._desks) == 1:
            return next(iter(self._desks.values()))
        known = sorted(self._desks)
        if not name:
            raise InvalidRequestError(
                f"endpoint: not given, and there are {len(known)} to choose from: name one",
                {"known": ",".join(known)},
            )
        near = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise UnknownEndpointError(f"endpoint {name[:80]!r} does not exist here{hint}", {"endpoint": name[:80]})

    def take_message(self, subject: str, payload: bytes) -> None:
        """Takes a score from the postbox; what fits nothing is counted against the model of its subject."""
        now = time.monotonic()
        _, name, _, model, _ = subject.split(".")
        desk = self._desks.get(name)
        if desk is None:
            return
        try:
            message = ParcelScore.FromString(payload)
        except DecodeError:
            self._stray(desk, model, "is not a ParcelScore")
            return
        if message.model != model:
            self._stray(desk, model, "names another model than its subject")
            return
        parcel = self._room.parcels.get(message.parcel_id)
        if parcel is None:
            self._take_late(desk, message)
            return
        if model not in parcel.endpoint.roles:
            return  # retired, or not applied yet: it scores along and is kept in the record, and that is no fault
        if parcel.endpoint.name != name or model in parcel.scores:
            taken = parcel.scores.get(model)
            if message.delivery > 1 or (taken is not None and taken.message.delivery > 1):
                return  # a parcel delivered again is scored again, as the protocol has it, in whatever order
            self._stray(desk, model, "answers a parcel twice, or one of another endpoint")
            return
        taken = take_score(message, parcel, now)
        parcel.scores[model] = taken
        desk.take_score(taken, parcel)
        if len(parcel.scores) == len(parcel.endpoint.roles) and not parcel.undecided and parcel.is_kept:
            self._close(parcel)

    def _take_late(self, desk: Desk, message: ParcelScore) -> None:
        late = self._late.take(message.parcel_id, message.model)
        if late:
            desk.tally.model(message.model).late += late
        elif late is None and message.delivery <= 1 and message.model in desk.endpoint.roles:
            self._stray(desk, message.model, "answers no parcel of this router")

    def _close(self, parcel: OpenParcel) -> None:
        del self._room.parcels[parcel.parcel_id]
        parcel.close()

    def _stray(self, desk: Desk, model: str, what: str) -> None:
        tally = desk.tally.model(model if model in desk.endpoint.roles else "?")
        tally.stray += 1
        if tally.stray & (tally.stray - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a flood must not flood the log
            _log.warning("endpoint %s, model %s: a score %s (%d so far)", desk.endpoint.name, model, what, tally.stray)

    async def _adopt(self, spec: EndpointSpec, revision: int) -> None:
        await ensure_streams(self.postbox.client, spec)
        endpoint = compile_endpoint(spec, revision)
        desk = self._desks.get(spec.endpoint)
        if desk is None:
            self._desks[spec.endpoint] = Desk(endpoint, self._room)
        else:
            desk.adopt(endpoint)
        _log.info("endpoint %s: revision %d in force", spec.endpoint, revision)

    def _abandon(self, name: str) -> None:
        # What the desk has accepted it answers all the same: its requests' wakes and answers lead to it.
        if self._desks.pop(name, None) is not None:
            _log.info("endpoint %s: deleted", name)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            self._late.expire(now)
            for parcel in [parcel for parcel in self._room.parcels.values() if parcel.closes_at + SWEEP_S < now]:
                self._late.enter(parcel, now)
                self._close(parcel)

    async def _report(self) -> None:
        bucket: KeyValue | None = None
        while True:
            try:
                bucket = bucket or await _open_status_bucket(self.postbox)
                await bucket.put(self.router_id, msgspec.json.encode(self.status()))
            except (NatsError, OSError, TimeoutError) as error:
                _log.debug("status not written: %s", error)
            await asyncio.sleep(ROUTERS_REFRESH_S)

    def status(self) -> dict[str, object]:
        """Returns what the router writes about itself (docs/protocol.md, bucket `rv_routers`)."""
        return {
            "router": self.router_id,
            "grpc": self.grpc_address,
            "pid": os.getpid(),
            "started_unix_us": self._started_unix_us,
            "draining": self.is_draining,
            "endpoints": {name: _desk_status(desk) for name, desk in self._desks.items()},
        }


def _desk_status(desk: Desk) -> dict[str, object]:
    tally = desk.tally
    return {
        "revision": desk.endpoint.revision,
        "in_flight": desk.in_flight,
        "requests": tally.requests,
        "answered": tally.answered,
        "refused": tally.refused,
        "unavailable": tally.unavailable,
        "no_answer": tally.no_answer,
        "rules": dict(tally.rules),
        "models": {name: model.to_dict() for name, model in tally.models.items()},
    }


async def _open_status_bucket(postbox: Postbox) -> KeyValue:
    js = postbox.client.jetstream()
    try:
        return await js.key_value(ROUTERS_BUCKET)
    except BucketNotFoundError:
        return await js.create_key_value(KeyValueConfig(bucket=ROUTERS_BUCKET, ttl=ROUTERS_TTL_S, history=1))


def _check_size(message: ScoreRequest, spec: EndpointSpec, size_bytes: int) -> None:
    limits = spec.limits
    if size_bytes > limits.max_bytes:
        raise TooLargeError(
            f"request of {size_bytes} bytes: the limit of endpoint {spec.endpoint} is {limits.max_bytes} bytes; "
            "send fewer rows to a request",
            {"limit": limits.max_bytes, "actual": size_bytes},
        )
    rows = message.inputs.rows
    if rows < 1:
        raise InvalidFrameError(f"inputs: rows = {rows}: a request has at least 1 row", {"actual": rows, "limit": 1})
    if rows > limits.max_rows:
        raise TooLargeError(
            f"request of {rows} rows: the limit of endpoint {spec.endpoint} is {limits.max_rows} rows; "
            "send several requests, or use ScoreStream",
            {"limit": limits.max_rows, "actual": rows},
        )
    if message.context and len(message.context) > CONTEXT_ENTRIES:
        raise InvalidRequestError(
            f"context of {len(message.context)} entries: the limit is {CONTEXT_ENTRIES}",
            {"limit": CONTEXT_ENTRIES, "actual": len(message.context)},
        )


def _overloaded(who: str, actual: int, limit: int, setting: str) -> OverloadedError:
    return OverloadedError(
        f"{who} has {actual} requests in flight, the limit ({setting}) is {limit}: "
        "retry after a moment, with the same request id",
        {"limit": limit, "actual": actual},
    )


def _unknown_model(name: str, endpoint: Endpoint) -> UnknownModelError:
    known = sorted(endpoint.roles)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
    return UnknownModelError(
        f"endpoint {endpoint.name} has no model {name[:80]!r} to be forced{hint}", {"model": name[:80]}
    )

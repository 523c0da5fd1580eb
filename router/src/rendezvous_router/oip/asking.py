"""An inference request, whichever door it came through: asked of the router, and its answer as tensors."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.json_format import MessageToJson
from rendezvous_proto import v1
from rendezvous_proto.errors import InternalError, RendezvousError, UnknownModelError, shown
from rendezvous_proto.v1 import ScoreReply

from rendezvous_router.app import Router
from rendezvous_router.aside import do_aside
from rendezvous_router.oip.inputs import Tensor, frame_of
from rendezvous_router.oip.outputs import check_wanted, pick_outputs
from rendezvous_router.oip.parameters import Value, Wishes, legal_id, read_wishes
from rendezvous_router.oip.target import Target, find_target

__all__ = ["Answer", "Ask", "Trace", "ask"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True, kw_only=True)
class Trace:
    """The trace context of a request; empty where the client has none."""

    traceparent: str = ""
    """W3C `traceparent`."""
    tracestate: str = ""
    """W3C `tracestate`."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Ask:
    """A request of the protocol, its tensors unread."""

    name: str
    """`model_name`."""
    version: str
    """`model_version`; empty: any."""
    id: str
    """`id`; empty: none."""
    parameters: Mapping[str, Value]
    """Parameters of the request."""
    tensors: Sequence[Tensor]
    """Inputs."""
    wanted: Sequence[str]
    """Names of the outputs that are wanted; none: all."""
    size_bytes: int
    """Size of the request as received."""
    method: str
    """Through which it came, for telemetry."""
    remaining_s: float | None = None
    """Seconds to the client's deadline, where the call itself has one."""
    trace: Trace = Trace()
    """Trace context."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Answer:
    """The answer to an `Ask`."""

    version: str
    """`model_version`: revision of the endpoint's specification, or version of the single model."""
    columns: Sequence[v1.Column]
    """Outputs, in the order in which they were asked for, with companions of missing values."""
    rows: int
    """Their rows."""
    size_bytes: int
    """Size of the outputs, all of them."""
    parameters: Mapping[str, str | int]
    """Who answered, by which rule, how long it took: text and whole numbers only, which every client can read."""


async def ask(router: Router, request: Ask) -> Answer:
    """Returns the answer to *request*.

    Args:
        router: of the caller's tenant.
        request: what is asked.

    Raises:
        RendezvousError: it is refused, or there is no answer.

    Cancellation: the request goes on in the router; only its answer is not waited for.
    """
    try:
        target = find_target(router, request.name, request.version)
        wishes = read_wishes(request.parameters)
        check_wanted(request.wanted, target.endpoint.spec.outputs, target.what)
        message = await do_aside(request.size_bytes, _message, request, target, wishes)
    except RendezvousError as error:
        trace = request.trace
        router.refuse_unread(error, method=request.method, traceparent=trace.traceparent, tracestate=trace.tracestate)
        raise
    reply = await asyncio.shield(_submit(router, request, message, wishes))
    if target.model and request.version and reply.version != request.version:
        raise UnknownModelError(
            f"model {target.model} of {target.what} answered in version {shown(reply.version)}, "
            f"asked was version {shown(request.version)}: ask for that, or for none",
            {"expected": shown(request.version), "actual": shown(reply.version)},
        )
    return Answer(
        version=reply.version if target.model else str(reply.decision.spec_revision),
        columns=pick_outputs(reply.outputs, request.wanted),
        rows=reply.outputs.rows,
        size_bytes=reply.outputs.ByteSize(),
        parameters=_parameters(reply, wishes),
    )


def _message(request: Ask, target: Target, wishes: Wishes) -> v1.ScoreRequest:
    endpoint = target.endpoint
    message = v1.ScoreRequest(
        request_id=legal_id(request.id),
        endpoint=endpoint.name,
        inputs=frame_of(request.tensors, endpoint.spec.inputs, target.what),
    )
    if wishes.context:
        message.context.update(wishes.context)
    if target.model:
        message.diagnostics.force_model = target.model
    if wishes.explain:
        message.diagnostics.explain = True
    return message


def _submit(router: Router, request: Ask, message: v1.ScoreRequest, wishes: Wishes) -> "asyncio.Future[ScoreReply]":
    remaining = [each for each in (request.remaining_s, wishes.timeout_s) if each is not None]
    try:
        return router.submit(
            message,
            size_bytes=request.size_bytes,
            remaining_s=min(remaining, default=None),
            traceparent=request.trace.traceparent,
            tracestate=request.trace.tracestate,
            method=request.method,
        )
    except RendezvousError:
        raise
    except Exception as error:
        _log.exception("a request failed inside the router")
        raise InternalError("a fault of the router: see its log, and please report it") from error


def _parameters(reply: ScoreReply, wishes: Wishes) -> dict[str, str | int]:
    decision = reply.decision
    told: dict[str, str | int] = {
        "rendezvous_request_id": reply.request_id,
        "rendezvous_rule": decision.rule,
        "rendezvous_model": reply.model,
        "rendezvous_version": reply.version,
        "rendezvous_spec_revision": decision.spec_revision,
        "rendezvous_decided_after_us": decision.decided_after_us,
        "rendezvous_deadline_left_us": decision.deadline_left_us,
    }
    if len(decision.models) > 1:
        told["rendezvous_models"] = ",".join(decision.models)
    if reply.traceparent:
        told["rendezvous_traceparent"] = reply.traceparent
    if wishes.explain:
        told["rendezvous_decision"] = MessageToJson(decision, preserving_proto_field_name=True, indent=None)
    return told

"""The spans of a sampled request, drawn from what the desk noted, when nothing more can happen to it.

One trace for each request::

    rendezvous.v1.Score/Score          SERVER, the router; the decision is an event and attributes of it
      publish rv.{endpoint}.raw        PRODUCER, only with enrichers: the same as below, for each stage of them
        score {enricher}               CONSUMER, as below
      publish rv.{endpoint}.input      PRODUCER, from the seal of its parcel to JetStream's acknowledgement
        score {model}                  CONSUMER, by the model's own OpenTelemetry, or drawn here from the score's timing
      late {model}                     INTERNAL, from the deadline to a score that came after it
      lost {model}                     INTERNAL, a score that never came

A parcel joins several traces: the publish span of its first sampled request links to those of the others, and theirs to
it. Names are of bounded number; ids are attributes. Sources: OpenTelemetry's semantic conventions for RPC and
messaging, as of version 1.40.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue
from rendezvous_proto.errors import InvalidRequestError, RendezvousError
from rendezvous_proto.postbox import consumer_name, input_subject, raw_subject
from rendezvous_proto.v1 import ItemScore, ParcelScore

from rendezvous_router.enriching import Way
from rendezvous_router.limits import DEFAULT_TENANT
from rendezvous_router.parcels import OpenParcel, Request
from rendezvous_router.tally import error_name, system_of
from rendezvous_router.telemetry.noted import Call, WaitedFor
from rendezvous_router.telemetry.sending import Sent, place_scoring, wait_for, wall_ns
from rendezvous_router.telemetry.tracing import RequestTrace, Tracing, context_of_span

Attributes = dict[str, AttributeValue]

TEMPLATE = "rv.{endpoint}.input"
"""The postbox's subject, as the conventions' `messaging.destination.template`."""
RAW_TEMPLATE = "rv.{endpoint}.raw"
"""The same, of parcels for enrichers, whatever their stage."""
LINKS = 128
"""Links of one span at most, as OpenTelemetry limits them."""
_SCOPE = InstrumentationScope("rendezvous_router")
_SERVER_FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""gRPC statuses that are the server's fault: the conventions mark only these as errors of a server span."""


class SpanBook:
    """Draws the spans of requests and hands them to *tracing*.

    Args:
        tracing: takes them.
        tenant: whose requests.
    """

    def __init__(self, tracing: Tracing, tenant: str = DEFAULT_TENANT) -> None:
        self._tracing = tracing
        self._tenant = tenant
        self._host, self._port = "", 0
        self._resources: dict[tuple[str, str, str, str], Resource] = {}

    def serve_at(self, address: str) -> None:
        """Says where the front door listens, host and port."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    def draw_call(self, call: Call, error: RendezvousError | None, took_s: float) -> None:
        """Draws a request that travelled in no parcel of its own: refused, or a retry that shares an answer.

        Args:
            call: the request.
            error: what it was answered, if not outputs.
            took_s: since its arrival until now, seconds.
        """
        assert call.trace is not None, "only sampled requests are drawn"
        attributes = self._call(call.method, error)
        attributes |= {"rendezvous.tenant": self._tenant, "rendezvous.endpoint": call.endpoint}
        attributes["rendezvous.request_id"] = call.request_id
        if call.is_repeat:
            attributes["rendezvous.repeat"] = True
        now_ns = time.time_ns()
        self._end_server(call.trace, call.method, attributes, now_ns - round(took_s * 1e9), now_ns, (), error)

    def draw_unsealed(self, request: Request) -> None:
        """Draws a request that ended before it got into a parcel."""
        self._draw_server(request)

    def trace_stage(self, trace: RequestTrace) -> RequestTrace:
        """Returns the ids of a sampled request for a stage of enrichers: its way there is a span of its own."""
        return replace(trace, publish=self._tracing.new_span(trace.trace_id))

    def draw_parcel(self, parcel: OpenParcel) -> None:
        """Draws every sampled request of a parcel that is to be closed."""
        if parcel.way is not None:
            self._draw_way(parcel, parcel.way)
        traced = [
            (index, request, request.trace)
            for index, request in enumerate(parcel.requests)
            if request.trace is not None
        ]
        if not traced:
            return
        contexts = [trace.publish for _, _, trace in traced]
        for index, request, trace in traced:
            self._draw_server(request)
            others = contexts[1 : LINKS + 1] if trace.publish is contexts[0] else contexts[:1]
            sent = Sent(parcel.parcel_id, len(parcel.request_ids), parcel.sealed_at, parcel.kept_at)
            self._draw_publish(request, trace, sent, others)
            for taken in parcel.scores.values():
                arrived_ns = wall_ns(request, taken.arrived_at)
                waited = wait_for(index, request, trace, sent)
                scored = self._draw_score(waited, taken.message, arrived_ns)
                if taken.arrived_at > request.deadline_at:
                    self._draw_late(waited, taken.message, scored, arrived_ns)

    def _draw_way(self, parcel: OpenParcel, way: Way) -> None:
        """Draws the stages of a parcel's way through the enrichers, and the requests that ended there."""
        for request in way.ended:
            if request.trace is not None:
                self._draw_server(request)
        for asking in way.askings:
            sent = Sent(parcel.parcel_id, len(asking.requests), asking.sealed_at, asking.kept_at, asking.stage)
            pairs = zip(asking.requests, asking.traces, strict=True)
            traced = [(index, request, trace) for index, (request, trace) in enumerate(pairs) if trace is not None]
            contexts = [trace.publish for _, _, trace in traced]
            for index, request, trace in traced:
                others = contexts[1 : LINKS + 1] if trace.publish is contexts[0] else contexts[:1]
                self._draw_publish(request, trace, sent, others)
                waited = wait_for(index, request, trace, sent)
                for taken in asking.scores.values():
                    self._draw_score(waited, taken.message, wall_ns(request, taken.arrived_at))

    def waited_for(self, parcel: OpenParcel) -> list[WaitedFor]:
        """Returns what is needed to draw scores of *parcel* that come after it was closed."""
        sent = Sent(parcel.parcel_id, len(parcel.request_ids), parcel.sealed_at, parcel.kept_at)
        return [
            wait_for(index, request, request.trace, sent)
            for index, request in enumerate(parcel.requests)
            if request.trace is not None
        ]

    def draw_late(self, waited: Sequence[WaitedFor], score: ParcelScore, arrived_ns: int) -> None:
        """Draws a score that came when its parcel was closed already."""
        for each in waited:
            if each.index < len(score.items):
                scored = self._draw_score(each, score, arrived_ns)
                self._draw_late(each, score, scored, arrived_ns)

    def draw_lost(self, waited: Sequence[WaitedFor], endpoint: str, model: str) -> None:
        """Draws a score that never came."""
        for each in waited:
            trace = each.trace
            self._end(
                f"lost {model}",
                self._tracing.new_span(trace.trace_id),
                trace.server,
                SpanKind.INTERNAL,
                _of_model(endpoint, model, each.request_id),
                (each.sealed_ns, each.deadline_ns),
                links=[Link(trace.publish)],
                status=Status(StatusCode.ERROR, "no score within a minute of the deadline"),
            )

    def _draw_server(self, request: Request) -> None:
        trace = request.trace
        assert trace is not None, "only sampled requests are drawn"
        error = request.outcome if isinstance(request.outcome, RendezvousError) else None
        attributes = self._call(request.method, error)
        attributes |= {
            "rendezvous.tenant": self._tenant,
            "rendezvous.endpoint": request.endpoint.name,
            "rendezvous.request_id": request.request_id,
            "rendezvous.rows": request.rows,
            "rendezvous.spec.revision": request.endpoint.revision,
        }
        if request.parcel is not None:
            attributes["rendezvous.parcel_id"] = request.parcel.parcel_id
        events = []
        decision = request.mailbox.decision if request.mailbox is not None else None
        if decision is not None:
            decided_at = request.accepted_at + decision.decided_at
            decided: Attributes = {
                "rendezvous.decision.rule": decision.rule,
                "rendezvous.decision.model": decision.models[0] if decision.models else "",
                "rendezvous.decision.models": decision.models,
                "rendezvous.deadline.left_ms": round((request.deadline_at - decided_at) * 1e3, 3),
                "rendezvous.spec.revision": request.endpoint.revision,
            }
            attributes |= decided
            decided["rendezvous.decision.reason"] = decision.reason
            events = [Event("rendezvous.decision", decided, timestamp=wall_ns(request, decided_at))]
        ended_ns = wall_ns(request, request.ended_at)
        self._end_server(trace, request.method, attributes, request.accepted_unix_us * 1000, ended_ns, events, error)

    def _draw_publish(self, request: Request, trace: RequestTrace, sent: Sent, others: Sequence[SpanContext]) -> None:
        endpoint = request.endpoint.name
        attributes: Attributes = {
            **_messaging(endpoint, "publish", "send", sent.stage),
            "messaging.batch.message_count": sent.requests,
            "rendezvous.parcel_id": sent.parcel_id,
            "rendezvous.endpoint": endpoint,
        }
        is_kept = bool(sent.kept_at)
        kept_at = sent.kept_at if is_kept else request.ended_at
        self._end(
            f"publish {_template(sent.stage)}",
            trace.publish,
            trace.server,
            SpanKind.PRODUCER,
            attributes,
            (wall_ns(request, sent.sealed_at), wall_ns(request, max(kept_at, sent.sealed_at))),
            links=[Link(context) for context in others],
            status=Status() if is_kept else Status(StatusCode.ERROR, "JetStream did not acknowledge the parcel"),
        )

    def _draw_score(self, waited: WaitedFor, score: ParcelScore, arrived_ns: int) -> SpanContext:
        """Returns the span in which a model scored; draws it for a model that drew none itself."""
        item = score.items[waited.index] if waited.index < len(score.items) else ItemScore()
        context = context_of_span(item.traceparent)
        if context is not None and context.span_id != waited.trace.publish.span_id:
            return context
        attributes: Attributes = {
            **_messaging(waited.endpoint, "score", "process", waited.stage),
            **_of_model(waited.endpoint, score.model, waited.request_id),
            "messaging.consumer.group.name": _consumer_of(score),
            "rendezvous.version": score.version,
            "rendezvous.rows": waited.rows,
            "rendezvous.delivery": score.delivery,
        }
        status = Status()
        if item.HasField("error"):
            attributes["error.type"] = error_name(item.error.code)
            status = Status(StatusCode.ERROR, item.error.message)
        start_ns, end_ns = place_scoring(score, waited.sealed_ns, arrived_ns)
        if start_ns != score.timing.started_unix_us * 1000:
            attributes["rendezvous.clock"] = "shifted"
        scored = self._tracing.new_span(waited.trace.trace_id)
        self._end(
            f"score {score.model}",
            scored,
            waited.trace.publish,
            SpanKind.CONSUMER,
            attributes,
            (start_ns, end_ns),
            status=status,
            resource=self._resource_of(waited.endpoint, score),
        )
        return scored

    def _draw_late(self, waited: WaitedFor, score: ParcelScore, scored: SpanContext, arrived_ns: int) -> None:
        trace = waited.trace
        attributes = _of_model(waited.endpoint, score.model, waited.request_id)
        attributes["rendezvous.late_ms"] = round((arrived_ns - waited.deadline_ns) / 1e6, 3)
        self._end(
            f"late {score.model}",
            self._tracing.new_span(trace.trace_id),
            trace.server,
            SpanKind.INTERNAL,
            attributes,
            (min(waited.deadline_ns, arrived_ns), arrived_ns),
            links=[Link(scored)],
        )

    def _call(self, method: str, error: RendezvousError | None) -> Attributes:
        attributes: Attributes = {
            "rpc.system.name": system_of(method),
            "rpc.method": method,
            "rpc.response.status_code": error.facts.grpc_status if error is not None else "OK",
            "server.address": self._host,
            "server.port": self._port,
        }
        if error is not None:
            attributes["error.type"] = error.code.name
        return attributes

    def _end_server(
        self,
        trace: RequestTrace,
        method: str,
        attributes: Attributes,
        start_ns: int,
        end_ns: int,
        events: Sequence[Event],
        error: RendezvousError | None,
    ) -> None:
        is_fault = error is not None and error.facts.grpc_status in _SERVER_FAULTS
        self._end(
            method,
            trace.server,
            trace.parent,
            SpanKind.SERVER,
            attributes,
            (start_ns, end_ns),
            events=events,
            status=Status(StatusCode.ERROR, error.message) if error is not None and is_fault else Status(),
        )

    def _end(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        times_ns: tuple[int, int],
        *,
        links: Sequence[Link] = (),
        events: Sequence[Event] = (),
        status: Status | None = None,
        resource: Resource | None = None,
    ) -> None:
        span = ReadableSpan(
            name,
            context,
            parent,
            resource or self._tracing.resource,
            attributes,
            events,
            links,
            kind,
            status=status or Status(),
            start_time=times_ns[0],
            end_time=times_ns[1],
            instrumentation_scope=_SCOPE,
        )
        self._tracing.end(span)

    def _resource_of(self, endpoint: str, score: ParcelScore) -> Resource:
        key = (endpoint, score.model, score.version, score.replica)
        resource = self._resources.get(key)
        if resource is None:
            if len(self._resources) > 1000:  # replicas come and go
                self._resources.clear()
            resource = self._resources[key] = Resource(
                {
                    "service.name": score.model,
                    "service.namespace": endpoint,
                    "service.version": score.version,
                    "service.instance.id": score.replica,
                    "rendezvous.drawn_by": "router",
                }
            )
        return resource


def _consumer_of(score: ParcelScore) -> str:
    """Returns the consumer of the model's version; empty where a model names a version that cannot be one."""
    try:
        return consumer_name(score.model, score.version)
    except InvalidRequestError:
        return ""


def _template(stage: int) -> str:
    return RAW_TEMPLATE if stage else TEMPLATE


def _messaging(endpoint: str, operation: str, kind: str, stage: int) -> Attributes:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.template": _template(stage),
        "messaging.destination.name": raw_subject(endpoint, stage) if stage else input_subject(endpoint),
    }


def _of_model(endpoint: str, model: str, request_id: str) -> Attributes:
    return {"rendezvous.endpoint": endpoint, "rendezvous.model": model, "rendezvous.request_id": request_id}

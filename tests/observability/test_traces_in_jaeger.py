"""A request to three models of three languages, one of them late, as a real Jaeger shows it."""

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from tests.observability.expressions import fill_in_link, panel_links
from tests.observability.servers import JaegerServer
from tests.observability.traces import wait_for_spans
from tests.support.languages import require_language
from tests.support.otlp import ReceivedSpan
from tests.support.stack import Stack
from toolchains.languages import R_LIBRARY, ROOT
from toolchains.programs import PROBE_JAR, Program

ECHO = ROOT / "tests" / "observability" / "echo"
PROGRAMS: Mapping[str, Program] = {
    "python": Program(command=[sys.executable, str(ECHO / "echo.py")]),
    "java": Program(command=["java", "-cp", str(PROBE_JAR), str(ECHO / "Echo.java")]),
    "r": Program(command=["Rscript", str(ECHO / "echo.R")], env={"R_LIBS": str(R_LIBRARY)}),
}
DRAWN_BY_ROUTER = {"r"}
"""Languages without an OpenTelemetry SDK: their spans come from the score's timing."""
DEADLINE_MS = 1000
LATE_MS = 1600
METHOD = "rendezvous.v1.Score/Score"
TEMPLATE = "rv.{endpoint}.input"
PUBLISH = f"publish {TEMPLATE}"
TOLERANCE_NS = 1_000_000
"""Clocks are read in microseconds here and nanoseconds there; one machine has one clock."""


def spec(late: str) -> dict[str, Any]:
    """Returns an endpoint that serves the models in order, all but the *late* one in time."""
    prompt = [language for language in PROGRAMS if language != late]
    return {
        "endpoint": "echo",
        "inputs": [{"name": "x", "type": "FP64"}],
        "outputs": [{"name": "y", "type": "FP64"}],
        "models": {
            prompt[0]: {"role": "champion"},
            prompt[1]: {"role": "challenger"},
            late: {"role": "challenger"},
        },
        "policy": {
            "deadline": f"{DEADLINE_MS}ms",
            "steps": [{"until": f"{DEADLINE_MS - 100}ms", "take": "best", "of": prompt}],
            "otherwise": "error",
        },
    }


async def ask(stack: Stack, jaeger: JaegerServer, *numbers: float) -> list[tuple[str, Any]]:
    """Asks all numbers at once by a client with OpenTelemetry; returns each trace's id and answer."""
    command = [sys.executable, str(ECHO / "client.py"), stack.address, "echo", *map(str, numbers)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **jaeger.environment}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return [(trace_id, answer) for trace_id, answer in json.loads(said)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("late", PROGRAMS)
async def test_every_request_is_a_whole_trace_in_jaeger(stack: Stack, jaeger: JaegerServer, late: str) -> None:
    """Client, router, postbox, three models and the decision: of one request, of a failed one, of many in parcels."""
    for language in PROGRAMS:
        require_language(language)
    await stack.apply(spec(late))
    stack.start_router(env=jaeger.environment)
    for language, program in PROGRAMS.items():
        delay = {"ECHO_DELAY_MS": str(LATE_MS)} if language == late else {}
        stack.start_program(program, name=language, endpoint="echo", env={**jaeger.environment, **delay})
    await ask(stack, jaeger, 0.0)  # wakes everything up

    [(trace_id, answer)] = await ask(stack, jaeger, 1.0)
    assert answer == 1.0
    trace = Trace(whole(jaeger, trace_id, late), trace_id)
    check_trace(trace, late)
    check_search(jaeger, trace, late)

    [(trace_id, answer)] = await ask(stack, jaeger, -1.0)
    assert answer == "NO_ANSWER"
    spans = wait_for_spans(jaeger, trace_id, lambda spans: len(scores(spans)) == len(PROGRAMS) and is_closed(spans))
    check_failure(Trace(spans, trace_id))

    asked = await ask(stack, jaeger, *[float(number) for number in range(2, 14)])
    check_parcels([Trace(whole(jaeger, trace_id, late), trace_id) for trace_id, _ in asked])


def whole(jaeger: JaegerServer, trace_id: str, late: str) -> list[ReceivedSpan]:
    """Returns the spans of a trace that ends with a late score."""
    return wait_for_spans(
        jaeger,
        trace_id,
        lambda spans: len(scores(spans)) == len(PROGRAMS) and is_closed(spans) and has(spans, f"late {late}"),
    )


def scores(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    """Returns the models' spans."""
    return [span for span in spans if span.name.startswith("score ")]


def has(spans: Sequence[ReceivedSpan], name: str) -> bool:
    """Whether there is a span of that name."""
    return any(span.name == name for span in spans)


def is_closed(spans: Sequence[ReceivedSpan]) -> bool:
    """Whether the caller's, the client's and the router's spans are there."""
    return {"submit form", PUBLISH} <= {span.name for span in spans} and {"CLIENT", "SERVER"} <= {
        span.kind for span in spans
    }


class Trace:
    """A whole trace, its spans by what they are."""

    def __init__(self, spans: Sequence[ReceivedSpan], trace_id: str) -> None:
        self.spans = spans
        self.trace_id = trace_id
        self.form = self.one("submit form", "INTERNAL")
        self.client = self.one(METHOD, "CLIENT")
        self.server = self.one(METHOD, "SERVER")
        self.publish = self.one(PUBLISH, "PRODUCER")
        self.scores = {language: self.one(f"score {language}", "CONSUMER") for language in PROGRAMS}

    def one(self, name: str, kind: str) -> ReceivedSpan:
        """Returns the only span of a name and kind."""
        found = [span for span in self.spans if (span.name, span.kind) == (name, kind)]
        assert len(found) == 1, f"{kind} {name}: {len(found)} in {[(span.kind, span.name) for span in self.spans]}"
        return found[0]


def check_trace(trace: Trace, late: str) -> None:
    """Checks the trace of a request that was answered."""
    tardy = trace.one(f"late {late}", "INTERNAL")
    assert len(trace.spans) == 4 + len(PROGRAMS) + 1
    assert {span.trace_id for span in trace.spans} == {trace.trace_id}
    check_family(trace)
    assert tardy.parent_id == trace.server.span_id
    assert tardy.links == ((trace.trace_id, trace.scores[late].span_id),)
    check_services(trace)
    assert tardy.resource["service.name"] == "rendezvous-router"
    check_attributes(trace)
    check_decision(trace, late)
    check_times(trace, tardy, late)
    assert {span.status for span in trace.spans} <= {"UNSET", "OK"}


def check_search(jaeger: JaegerServer, trace: Trace, late: str) -> None:
    """Checks that the guide's searches and the dashboards' links find the trace."""
    request_id = trace.server.attributes["rendezvous.request_id"]
    champion = trace.server.attributes["rendezvous.decision.model"]
    assert jaeger.search("rendezvous-router", {"rendezvous.request_id": request_id}) == {trace.trace_id}
    assert trace.trace_id in jaeger.search("rendezvous-router", {}, operation=f"late {late}")
    assert trace.trace_id not in jaeger.search("rendezvous-router", {"rendezvous.decision.rule": "otherwise"})
    links = list(panel_links())
    assert len(links) > 20
    for link in sorted(set(links)):
        span = trace.server if "service=rendezvous-router" in link else trace.scores[champion]
        about = {"__field.labels.rendezvous_endpoint": "echo", "__field.labels.rendezvous_model": champion}
        times = {"__from": span.start_ns // 1_000_000 - 60_000, "__to": span.end_ns // 1_000_000 + 60_000}
        filled = fill_in_link(link, {"jaeger": jaeger.query, **about, **times})
        assert trace.trace_id in jaeger.found_at(filled.replace("/search?", "/api/traces?")), filled


def check_family(trace: Trace) -> None:
    """Checks who is whose child."""
    assert trace.form.parent_id == ""
    for parent, child in pairwise((trace.form, trace.client, trace.server, trace.publish)):
        assert child.parent_id == parent.span_id, f"{child.kind} {child.name}"
    for span in trace.scores.values():
        assert span.parent_id == trace.publish.span_id, span.name


def check_services(trace: Trace) -> None:
    """Checks which service each span is of, and that the router draws for those who cannot."""
    assert trace.client.resource["service.name"] == "form"
    assert {span.resource["service.name"] for span in (trace.server, trace.publish)} == {"rendezvous-router"}
    for language, span in trace.scores.items():
        resource = span.resource
        assert (resource["service.name"], resource["service.namespace"]) == (language, "echo")
        assert resource["service.version"] == span.attributes["rendezvous.version"]
        assert resource["service.instance.id"], language
        assert (span.scope == trace.server.scope) == (language in DRAWN_BY_ROUTER), f"{language}: {span.scope}"
    instances = {span.resource["service.instance.id"] for span in trace.scores.values()}
    assert len(instances) == len(PROGRAMS)


def check_attributes(trace: Trace) -> None:
    """Checks what RPC and messaging spans say of themselves."""
    request_id = trace.server.attributes["rendezvous.request_id"]
    for span in (trace.client, trace.server):
        expected = {"rpc.system.name": "grpc", "rpc.method": METHOD, "rpc.response.status_code": "OK"}
        check_has(span, {**expected, "server.address": "127.0.0.1"})
        assert isinstance(span.attributes["server.port"], int)
    check_has(trace.server, {"rendezvous.endpoint": "echo", "rendezvous.rows": 1})
    postbox = {
        "messaging.system": "nats",
        "messaging.destination.template": TEMPLATE,
        "messaging.destination.name": "rv.echo.input",
    }
    sent = {"messaging.operation.name": "publish", "messaging.operation.type": "send"}
    check_has(trace.publish, {**postbox, **sent, "messaging.batch.message_count": 1})
    taken = {"messaging.operation.name": "score", "messaging.operation.type": "process"}
    for language, span in trace.scores.items():
        version = span.attributes["rendezvous.version"]
        about = {"rendezvous.endpoint": "echo", "rendezvous.model": language, "rendezvous.request_id": request_id}
        group = {"messaging.consumer.group.name": f"{language}__{version}"}
        check_has(span, {**postbox, **taken, **group, **about, "rendezvous.rows": 1, "rendezvous.delivery": 1})


def check_has(span: ReceivedSpan, expected: Mapping[str, object]) -> None:
    """Checks some attributes of a span, all at once so that a failure shows all that differ."""
    actual = {name: span.attributes.get(name) for name in expected}
    assert actual == dict(expected), f"{span.resource['service.name']}: {span.kind} {span.name}"


def check_decision(trace: Trace, late: str) -> None:
    """Checks that the server's span says, as attributes and as an event, what was decided."""
    champion = next(language for language in PROGRAMS if language != late)
    decided = {
        "rendezvous.decision.rule": "steps[0].best",
        "rendezvous.decision.model": champion,
        "rendezvous.decision.models": [champion],
        "rendezvous.spec.revision": 1,
    }
    check_has(trace.server, decided)
    [event] = trace.server.events
    assert event.name == "rendezvous.decision"
    assert {name: event.attributes.get(name) for name in decided} == decided
    left_ms = trace.server.attributes["rendezvous.deadline.left_ms"]
    assert event.attributes["rendezvous.deadline.left_ms"] == left_ms
    took_ms = (event.time_ns - trace.server.start_ns) / 1e6
    assert took_ms + left_ms == pytest.approx(DEADLINE_MS, abs=6)  # of which the router keeps 5 ms for the way back
    assert trace.server.attributes["rendezvous.parcel_id"] == trace.publish.attributes["rendezvous.parcel_id"]


def check_times(trace: Trace, tardy: ReceivedSpan, late: str) -> None:
    """Checks that spans lie inside of one another, and where the late one lies."""
    for outer, inner in pairwise((trace.form, trace.client, trace.server)):
        assert is_within(inner, outer), f"{inner.name} is not within {outer.name}"
    assert trace.server.start_ns - TOLERANCE_NS <= trace.publish.start_ns <= trace.publish.end_ns
    deadline_ns = trace.server.start_ns + DEADLINE_MS * 1_000_000
    assert trace.server.end_ns < deadline_ns
    assert trace.server.start_ns <= trace.server.events[0].time_ns <= trace.server.end_ns
    for language, span in trace.scores.items():
        assert trace.publish.start_ns - TOLERANCE_NS <= span.start_ns <= span.end_ns, language
        assert (span.end_ns > deadline_ns) == (language == late), language
    slept_ms = (trace.scores[late].end_ns - trace.scores[late].start_ns) / 1e6
    assert LATE_MS - 5 < slept_ms < LATE_MS + 5000  # sleep ends late on a loaded machine, never early
    assert abs(tardy.start_ns - deadline_ns) < 6_000_000
    assert tardy.end_ns >= trace.scores[late].end_ns - TOLERANCE_NS


def is_within(inner: ReceivedSpan, outer: ReceivedSpan) -> bool:
    """Whether a span lies inside of another, as far as clocks can tell."""
    return outer.start_ns - TOLERANCE_NS <= inner.start_ns and inner.end_ns <= outer.end_ns + TOLERANCE_NS


def check_failure(trace: Trace) -> None:
    """Checks the trace of a request on which all models failed."""
    check_family(trace)
    check_services(trace)
    for span in trace.scores.values():
        assert (span.status, span.attributes["error.type"]) == ("ERROR", "MODEL_FAILED"), span.name
    for span in (trace.client, trace.server):
        assert span.attributes["error.type"] == "NO_ANSWER", span.kind
        assert span.attributes["rpc.response.status_code"] != "OK", span.kind
    assert trace.client.status == "ERROR"
    check_has(trace.server, {"rendezvous.decision.rule": "none", "rendezvous.decision.model": ""})


def check_parcels(traces: Sequence[Trace]) -> None:
    """Checks that the requests of a parcel are linked: those of its first request with each other's."""
    parcels: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        check_family(trace)
        parcels[trace.publish.attributes["rendezvous.parcel_id"]].append(trace)
    shared = [members for members in parcels.values() if len(members) > 1]
    assert shared, "no two of the requests shared a parcel"
    for members in parcels.values():
        counts = {trace.publish.attributes["messaging.batch.message_count"] for trace in members}
        assert counts == {len(members)}
    for members in shared:
        contexts = {(trace.trace_id, trace.publish.span_id) for trace in members}
        first = max(members, key=lambda trace: len(trace.publish.links))
        own = (first.trace_id, first.publish.span_id)
        assert set(first.publish.links) == contexts - {own}
        assert all(trace.publish.links == (own,) for trace in members if trace is not first)

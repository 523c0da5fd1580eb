"""What a trace shows of a request: every span, its parent, its links, its times; and what is not traced."""

import asyncio
import json
import subprocess
import time
from typing import Any

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame
from rendezvous_sdk import AsyncClient

from tests.support.otlp import OtlpReceiver, ReceivedSpan
from tests.support.processes import script
from tests.support.stack import ENDPOINT, Stack

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CLIENT_SPAN}-01"
METHOD = "rendezvous.v1.Score/Score"
LATE_SPEC: dict[str, Any] = {
    **ENDPOINT,
    "policy": {"deadline": "400ms", "steps": [{"take": "best", "of": ["first"]}], "otherwise": "error"},
}


def request(request_id: str, **fields: Any) -> v1.ScoreRequest:
    """Returns a request of one row."""
    table = {"a": [1.5], "b": [2], "tag": ["x"]}
    types = {"a": "FP64", "b": "INT64", "tag": "STRING"}
    return v1.ScoreRequest(request_id=request_id, endpoint="sum", inputs=encode_frame(table, types=types), **fields)


async def ask(stack: Stack, message: v1.ScoreRequest, traceparent: str = "", timeout_s: float = 5.0) -> v1.ScoreReply:
    """Sends one request."""
    metadata = (("traceparent", traceparent),) if traceparent else ()
    async with grpc.aio.insecure_channel(stack.address) as channel:
        reply: v1.ScoreReply = await v1.ScoreStub(channel).Score(message, timeout=timeout_s, metadata=metadata)
        return reply


def named(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    """Returns the one span of a name."""
    (span,) = [span for span in spans if span.name == name]
    return span


def names(spans: list[ReceivedSpan]) -> list[str]:
    """Returns the spans' names, sorted."""
    return sorted(span.name for span in spans)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_one_trace_shows_the_whole_request(stack: Stack, protocol: Any) -> None:
    """Front door, postbox, every model, the late one too, and the decision with its reason, in one trace."""
    await stack.apply(LATE_SPEC)
    with OtlpReceiver(protocol) as receiver:
        stack.start_router(env=receiver.environment)
        for name in ("first", "second"):
            stack.start_model(f"tests.support.models:{name}")
        stack.start_model("tests.support.models:slow", name="third")
        reply = await ask(stack, request("r-1"), SAMPLED)
        spans = receiver.spans(lambda spans: "late third" in names(spans))
    assert names(spans) == [
        "late third",
        "publish rv.{endpoint}.input",
        METHOD,
        "score first",
        "score second",
        "score third",
    ]
    assert {span.trace_id for span in spans} == {TRACE}
    server, publish = named(spans, METHOD), named(spans, "publish rv.{endpoint}.input")
    assert (server.kind, server.parent_id, server.status) == ("SERVER", CLIENT_SPAN, "UNSET")
    assert (publish.kind, publish.parent_id) == ("PRODUCER", server.span_id)
    assert reply.traceparent == f"00-{TRACE}-{server.span_id}-01"
    assert server.resource["service.name"] == "rendezvous-router"
    decided = {
        "rendezvous.decision.rule": "steps[0].best",
        "rendezvous.decision.model": "first",
        "rendezvous.decision.models": ["first"],
        "rendezvous.spec.revision": 1,
    }
    assert decided.items() <= server.attributes.items()
    assert {"rpc.system.name": "grpc", "rpc.method": METHOD, "rpc.response.status_code": "OK"}.items() <= (
        server.attributes.items()
    )
    assert server.attributes["server.port"] == stack.grpc_port
    (event,) = server.events
    assert event.name == "rendezvous.decision"
    assert decided.items() <= event.attributes.items()
    assert 0 < event.attributes["rendezvous.deadline.left_ms"] < 400
    assert server.start_ns <= event.time_ns <= server.end_ns
    assert server.start_ns <= publish.start_ns <= publish.end_ns <= server.end_ns
    for model in ("first", "second", "third"):
        score = named(spans, f"score {model}")
        assert (score.kind, score.parent_id) == ("CONSUMER", publish.span_id)
        assert score.resource["service.name"] == model
        assert score.attributes["messaging.system"] == "nats"
        assert score.attributes["messaging.operation.type"] == "process"
        assert publish.start_ns <= score.start_ns <= score.end_ns
    late = named(spans, "late third")
    assert late.parent_id == server.span_id
    assert late.links == ((TRACE, named(spans, "score third").span_id),)
    assert late.start_ns == pytest.approx(server.start_ns + 400e6, abs=41e6)
    assert late.attributes["rendezvous.late_ms"] == pytest.approx(200, abs=150)


async def test_what_the_sampler_leaves_out_is_not_drawn_unless_it_is_forced(stack: Stack) -> None:
    """The client's own flag and the sampler decide, `force_trace` overrules both; the answer says what was drawn."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        stack.start_router(env={**receiver.environment, "OTEL_TRACES_SAMPLER": "parentbased_always_off"})
        stack.start_model("tests.support.models:first")
        unsampled = SAMPLED[:-1] + "0"
        assert (await ask(stack, request("r-1"), unsampled)).traceparent == unsampled
        assert not (await ask(stack, request("r-2"))).traceparent
        assert not (await ask(stack, request("r-3"), "nonsense")).traceparent
        forced = await ask(stack, request("r-4", diagnostics=v1.Diagnostics(force_trace=True)))
        followed = await ask(stack, request("r-5"), SAMPLED)
        spans = receiver.spans(lambda spans: len([span for span in spans if span.name == METHOD]) == 2)
    servers = {span.attributes["rendezvous.request_id"]: span for span in spans if span.name == METHOD}
    assert sorted(servers) == ["r-4", "r-5"]
    assert forced.traceparent == f"00-{servers['r-4'].trace_id}-{servers['r-4'].span_id}-01"
    assert followed.traceparent == f"00-{TRACE}-{servers['r-5'].span_id}-01"


async def test_requests_of_one_parcel_have_whole_traces_of_their_own_that_link(stack: Stack) -> None:
    """Each request of a joined parcel has its own publish and score spans; the publish spans link to each other."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        stack.start_router(env=receiver.environment)
        stack.start_model("tests.support.models:steady", name="first")
        async with grpc.aio.insecure_channel(stack.address) as channel:
            stub = v1.ScoreStub(channel)
            await stub.Score(request("first"), timeout=5)
            await asyncio.gather(*[stub.Score(request(f"r-{number}"), timeout=5) for number in range(39)])
        spans = receiver.spans(lambda spans: names(spans).count("score first") == 40)
    publish = {span.trace_id: span for span in spans if span.name.startswith("publish")}
    scores = {span.trace_id: span for span in spans if span.name == "score first"}
    assert len(publish) == len(scores) == 40
    assert all(scores[trace].parent_id == span.span_id for trace, span in publish.items())
    by_parcel: dict[str, list[ReceivedSpan]] = {}
    for span in publish.values():
        by_parcel.setdefault(span.attributes["rendezvous.parcel_id"], []).append(span)
    joined = [members for members in by_parcel.values() if len(members) > 1]
    assert joined, "forty requests at once travelled one by one"
    for members in joined:
        ids = {(span.trace_id, span.span_id) for span in members}
        heads = [span for span in members if len(span.links) == len(members) - 1 and len(members) > 2]
        assert {span.attributes["messaging.batch.message_count"] for span in members} == {len(members)}
        assert all(set(span.links) < ids for span in members)
        assert len(members) == 2 or len(heads) == 1


async def test_a_client_that_has_its_request_traced_learns_which_trace_to_look_for(stack: Stack) -> None:
    """By the client's `force_trace` and the command line's `--trace`, with the sampler off."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        stack.start_router(env={**receiver.environment, "OTEL_TRACES_SAMPLER": "always_off"})
        stack.start_model("tests.support.models:first")
        async with AsyncClient(stack.address, endpoint="sum") as client:
            table = {"a": [1.5], "b": [2], "tag": ["x"]}
            assert not (await client.score(table)).trace_id
            answer = await client.score(table, force_trace=True)
        rows = stack.folder / "rows.csv"
        rows.write_text("a,b,tag\n1.5,2,x\n")
        command = [script("rendezvous"), "score", "sum", str(rows), "--address", stack.address, "--trace", "--json"]
        scored = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        (record,) = json.loads(scored.stdout)
        spans = receiver.spans(lambda spans: names(spans).count("score first") == 2)
    assert {span.trace_id for span in spans} == {answer.trace_id, record["trace_id"]}


async def test_a_model_that_names_itself_oddly_costs_no_trace(stack: Stack) -> None:
    """A score without an endpoint and with a version that cannot be one is drawn, and all that comes after it."""
    await stack.apply(LATE_SPEC)
    with OtlpReceiver() as receiver:
        stack.start_router(env=receiver.environment)
        stack.start_faulty("nameless")
        for number in range(4):
            await ask(stack, request(f"r-{number}"))
        spans = receiver.spans(lambda spans: names(spans).count(METHOD) == 4)
    scores = [span for span in spans if span.name == "score first"]
    assert len(scores) == 4
    assert {span.attributes["rendezvous.endpoint"] for span in scores} == {"sum"}


async def test_an_orderly_end_loses_no_spans(stack: Stack) -> None:
    """What was answered while a model was silent is drawn when the router is told to end."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        router = stack.start_router(env=receiver.environment)
        stack.start_model("tests.support.models:first")
        for number in range(5):
            await ask(stack, request(f"r-{number}"))
        assert router.stop() == 0
        spans = receiver.spans(lambda spans: names(spans).count(METHOD) == 5)
    assert names(spans).count("score first") == 5


async def test_a_retry_that_shares_an_answer_is_drawn_when_it_is_given(stack: Stack) -> None:
    """Its span lasts as long as it waited, and ends as the first attempt did."""
    spec = {**ENDPOINT, "policy": {"deadline": "400ms", "steps": [{"take": "first"}], "otherwise": "error"}}
    await stack.apply(spec)
    with OtlpReceiver() as receiver:
        stack.start_router(env=receiver.environment)
        ended = await asyncio.gather(ask(stack, request("r")), ask(stack, request("r")), return_exceptions=True)
        assert all(isinstance(error, grpc.aio.AioRpcError) for error in ended)
        spans = receiver.spans(lambda spans: names(spans).count(METHOD) == 2)
    (repeat,) = [span for span in spans if span.attributes.get("rendezvous.repeat")]
    assert repeat.attributes["error.type"] == "NO_ANSWER"
    assert repeat.status == "ERROR"
    assert repeat.end_ns - repeat.start_ns > 200e6


async def test_refused_and_unanswered_requests_are_traced_with_their_error(stack: Stack) -> None:
    """A refusal has a span with the code, not marked as the server's fault; a missed deadline is marked as one."""
    spec = {**ENDPOINT, "policy": {"deadline": "150ms", "steps": [{"take": "first"}], "otherwise": "error"}}
    await stack.apply(spec)
    with OtlpReceiver() as receiver:
        stack.start_router(env=receiver.environment)
        for message in (
            v1.ScoreRequest(endpoint="sum", request_id="bad", inputs=v1.Frame(rows=1)),
            v1.ScoreRequest(endpoint="elsewhere", request_id="lost"),
            request("silence"),
        ):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(stack, message)
        spans = receiver.spans(lambda spans: names(spans).count(METHOD) == 3)
    found = {span.attributes["error.type"]: span for span in spans if span.name == METHOD}
    assert {span.attributes["rendezvous.request_id"] for span in found.values()} == {"bad", "lost", "silence"}
    expected = {"SIGNATURE_MISMATCH": "UNSET", "UNKNOWN_ENDPOINT": "UNSET", "NO_ANSWER": "ERROR"}
    assert {code: span.status for code, span in found.items()} == expected
    assert found["NO_ANSWER"].attributes["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


async def test_a_flood_of_malformed_trace_state_is_not_logged(stack: Stack) -> None:
    """What is no `tracestate` is dropped without a word; the trace goes on."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        router = stack.start_router(env=receiver.environment)
        stack.start_model("tests.support.models:first")
        for number, state in enumerate(["no state at all", "x" * 600, "a=b,,=", "rojo=00f067aa0ba902b7"]):
            metadata = (("traceparent", SAMPLED), ("tracestate", state))
            async with grpc.aio.insecure_channel(stack.address) as channel:
                await v1.ScoreStub(channel).Score(request(f"r-{number}"), timeout=5, metadata=metadata)
        receiver.spans(lambda spans: names(spans).count(METHOD) == 4)
    assert "tracestate" not in router.log.read_text().lower()
    assert "state at all" not in router.log.read_text()


async def test_without_a_collector_everything_is_answered(stack: Stack) -> None:
    """A collector that is not there costs no request, and the router ends in time."""
    await stack.apply(ENDPOINT)
    router = stack.start_router(env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    stack.start_model("tests.support.models:first")
    for number in range(20):
        assert (await ask(stack, request(f"r-{number}"))).model == "first"
    started = time.monotonic()
    assert router.stop() == 0
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "use grpc or"),
    ],
    ids=["exporter", "protocol"],
)
async def test_what_cannot_be_exported_is_told_at_the_start(stack: Stack, env: dict[str, str], message: str) -> None:
    """Variables that ask for what there is not end the router at once, with their name and what to write."""
    with pytest.raises((AssertionError, RuntimeError)):
        stack.start_router(env=env)
    assert message in next(stack.folder.glob("router-*.log")).read_text()

"""Spans of served models, as a collector receives them."""

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.span_export import start_span_export

from tests.support.otlp import OtlpReceiver, Protocol

NEVER = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}


def _traceparent(*, sampled: bool = True) -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{int(sampled):02x}"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_parcel_of_several_traces(
    router: Any, nats_server: NatsServer, start_model: Callable[..., Any], protocol: Protocol
) -> None:
    """Each sampled request has its span, which arrives at the latest when the replica drains.

    It is a child of the request's own, with the attributes of the conventions, linked to the others of its table; the
    author's own span stands below the first; an unsampled request is answered with its own context.
    """
    with OtlpReceiver(protocol) as receiver:
        variables = {**receiver.environment, **NEVER, "OTEL_RESOURCE_ATTRIBUTES": "service.version=7,zone=a"}
        served = start_model("halve_traced", "--nats", nats_server.url, "--name", "m", variables=variables)
        replica = served.wait_ready()[4]
        traces = [_traceparent(sampled=False), _traceparent(), "", _traceparent()]
        parcel_id = await router.send(*({"x": [float(x)]} for x in range(4)), traces=traces)
        score = (await router.wait_scores({parcel_id}))[parcel_id]
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        own, *spans = sorted(receiver.spans(), key=lambda span: (span.name, span.start_ns))
    answered = [item.traceparent for item in score.items]
    assert [answered[0], answered[2]] == [traces[0], ""]
    by_trace = {span.trace_id: span for span in spans}
    for index in (1, 3):
        _, trace_id, parent_id, _ = traces[index].split("-")
        span = by_trace[trace_id]
        assert (span.name, span.kind, span.parent_id, span.status) == ("score m", "CONSUMER", parent_id, "UNSET")
        assert answered[index] == f"00-{trace_id}-{span.span_id}-01"
        assert span.attributes == {
            "messaging.system": "nats",
            "messaging.operation.name": "score",
            "messaging.operation.type": "process",
            "messaging.destination.template": "rv.{endpoint}.input",
            "messaging.destination.name": "rv.e.input",
            "messaging.consumer.group.name": "m__1",
            "rendezvous.endpoint": "e",
            "rendezvous.model": "m",
            "rendezvous.version": "1",
            "rendezvous.request_id": score.items[index].request_id,
            "rendezvous.rows": 1,
            "rendezvous.delivery": 1,
        }
        wanted = {"service.name": "m", "service.namespace": "e", "service.version": "7", "zone": "a"}
        assert {**wanted, "service.instance.id": replica}.items() <= span.resource.items()
    first, last = (by_trace[traces[index].split("-")[1]] for index in (1, 3))
    assert len(spans) == 2
    assert first.links == ((last.trace_id, last.span_id),)
    assert last.links == ((first.trace_id, first.span_id),)
    assert (own.name, own.trace_id, own.parent_id) == ("look up", first.trace_id, first.span_id)
    assert first.start_ns <= own.start_ns <= own.end_ns <= first.end_ns


async def test_a_failing_request(router: Any, nats_server: NatsServer, start_model: Callable[..., Any]) -> None:
    """A request that fails has the status and the error's code, its log event the ids; the others have neither."""
    with OtlpReceiver() as receiver:
        variables = {**receiver.environment, "OTEL_SERVICE_NAME": "mine", "RENDEZVOUS_LOG_FORMAT": "json"}
        served = start_model("halve_traced", "--nats", nats_server.url, "--name", "m", variables=variables)
        served.wait_ready()
        parcel_id = await router.send({"x": [1.0]}, {"x": [-1.0]}, traces=[_traceparent(), _traceparent()])
        score = (await router.wait_scores({parcel_id}))[parcel_id]
        spans = receiver.spans(lambda spans: sum(span.name == "score m" for span in spans) == 2)
    by_request = {span.attributes["rendezvous.request_id"]: span for span in spans if span.name == "score m"}
    good, bad = (by_request[item.request_id] for item in score.items)
    assert (good.status, good.attributes.get("error.type")) == ("UNSET", None)
    assert (bad.status, bad.attributes["error.type"]) == ("ERROR", "MODEL_FAILED")
    assert bad.message == "the model raised ValueError: x is negative"
    assert bad.resource["service.name"] == "mine"
    (event,) = [json.loads(line) for line in served.lines if "failed on one request" in line]
    ids = {"trace_id": bad.trace_id, "span_id": bad.span_id}
    expected = {"parcel_id": parcel_id, "request_id": score.items[1].request_id, "error_code": "MODEL_FAILED", **ids}
    assert expected.items() <= event.items()
    assert {"endpoint": "e", "model": "m", "version": "1"}.items() <= event.items()
    attempts = [span.parent_id for span in spans if span.name == "look up"]
    assert set(attempts) == {good.span_id, bad.span_id}


def _call(address: str, *, metadata: list[tuple[str, str]], x: float = 1.0) -> v1.ScoreReply:
    with grpc.insecure_channel(address) as channel:
        request = v1.ScoreRequest(request_id="r-1", inputs=encode_frame({"x": [x]}))
        reply: v1.ScoreReply = v1.ScoreStub(channel).Score(request, metadata=metadata, timeout=20)
        return reply


def test_over_grpc(start_model: Callable[..., Any]) -> None:
    """A call's span is of kind SERVER with gRPC's attributes; the author's is its child; an error is its outcome."""
    traceparent = _traceparent()
    with OtlpReceiver() as receiver:
        served = start_model("halve_traced", "--no-postbox", "--name", "m", variables=receiver.environment)
        address = served.wait_ready()[5]
        reply = _call(address, metadata=[("traceparent", traceparent)])
        own, span = receiver.spans(lambda spans: len(spans) == 2)
        receiver.clear()
        with pytest.raises(grpc.RpcError):
            _call(address, metadata=[("traceparent", traceparent)], x=-1.0)
        failed = receiver.spans(lambda spans: len(spans) == 2)[-1]
        receiver.clear()
        assert _call(address, metadata=[]).traceparent == ""
        _, root = receiver.spans(lambda spans: len(spans) == 2)
    _, trace_id, parent_id, _ = traceparent.split("-")
    assert (span.name, span.kind, span.status) == ("rendezvous.v1.Score/Score", "SERVER", "UNSET")
    assert (span.trace_id, span.parent_id) == (trace_id, parent_id)
    assert reply.traceparent == f"00-{trace_id}-{span.span_id}-01"
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "rendezvous.v1.Score/Score",
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
        "server.port": int(address.rpartition(":")[2]),
        "rendezvous.endpoint": "e",
        "rendezvous.model": "m",
        "rendezvous.version": "1",
        "rendezvous.request_id": "r-1",
        "rendezvous.rows": 1,
    }
    assert own.parent_id == span.span_id
    assert span.start_ns <= own.start_ns <= own.end_ns <= span.end_ns
    assert (failed.status, failed.attributes["error.type"]) == ("ERROR", "MODEL_FAILED")
    assert failed.attributes["rpc.response.status_code"] == "INTERNAL"
    assert (root.parent_id, root.kind) == ("", "SERVER")


def test_each_request_of_a_stream(start_model: Callable[..., Any]) -> None:
    """Each request of a stream has a span of its own, below its own context; a failed one is answered with it too."""
    sent = [_traceparent(), _traceparent(), _traceparent(sampled=False)]
    with OtlpReceiver() as receiver:
        served = start_model("halve", "--no-postbox", variables=receiver.environment)
        requests = [
            v1.ScoreRequest(request_id=f"r-{index}", inputs=encode_frame({"x": [x]}), traceparent=text)
            for index, (text, x) in enumerate(zip(sent, (1.0, -1.0, 1.0), strict=True))
        ]
        with grpc.insecure_channel(served.wait_ready()[5]) as channel:
            replies = {reply.request_id: reply for reply in v1.ScoreStub(channel).ScoreStream(iter(requests))}
        spans = receiver.spans(lambda spans: len(spans) == 2)
    by_trace = {span.trace_id: span for span in spans}
    for index, code in ((0, None), (1, "MODEL_FAILED")):
        _, trace_id, parent_id, _ = sent[index].split("-")
        span = by_trace[trace_id]
        assert (span.name, span.parent_id) == ("rendezvous.v1.Score/ScoreStream", parent_id)
        assert span.attributes.get("error.type") == code
        assert replies[f"r-{index}"].traceparent == f"00-{trace_id}-{span.span_id}-01"
    assert replies["r-2"].traceparent == sent[2]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_nothing_is_imported_when_off(start_model: Callable[..., Any], variables: dict[str, str]) -> None:
    """Where the variables do not ask for traces, OpenTelemetry is not even imported, and contexts are answered."""
    served = start_model("imported", "--no-postbox", variables=variables)
    traceparent = _traceparent()
    reply = _call(served.wait_ready()[5], metadata=[("traceparent", traceparent)])
    assert list(reply.outputs.columns[0].values) == [0]
    assert reply.traceparent == traceparent


async def test_an_author_s_own_provider(router: Any, nats_server: NatsServer, start_model: Callable[..., Any]) -> None:
    """A provider that the author has set up stays, whatever the variables say, and gets our spans."""
    with OtlpReceiver() as theirs, OtlpReceiver() as unused:
        variables = {**unused.environment, "OWN_ENDPOINT": theirs.endpoint}
        served = start_model("OwnProvider", "--nats", nats_server.url, "--name", "m", variables=variables)
        served.wait_ready()
        await router.wait_scores({await router.send({"x": [1.0]}, traces=[_traceparent()])})
        (span,) = theirs.spans(lambda spans: spans)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        assert unused.spans() == []
    assert (span.name, span.resource["service.name"]) == ("score m", "the-author-s")
    assert not [line for line in served.lines if "Overriding" in line]


def test_a_collector_that_does_not_answer(start_model: Callable[..., Any]) -> None:
    """A replica drains in time though the collector takes no span, and says that spans were lost."""
    with OtlpReceiver() as receiver:
        endpoint = receiver.endpoint
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **NEVER}
    served = start_model("halve", "--no-postbox", variables=variables)
    _call(served.wait_ready()[5], metadata=[("traceparent", _traceparent())])
    started = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(20) == 0
    assert time.monotonic() - started < 6
    assert "the last spans did not leave within 2 s" in "".join(served.lines)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTEL_TRACES_EXPORTER": "pigeon"}, "OTEL_TRACES_EXPORTER is 'pigeon': use otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json': use grpc or http/protobuf",
        ),
    ],
)
def test_variables_that_are_not_understood(
    caplog: pytest.LogCaptureFixture, variables: dict[str, str], expected: str
) -> None:
    """One warning names the variable, its value and what is allowed."""
    with caplog.at_level(logging.WARNING):
        assert start_span_export({}, variables) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"no traces, though OTEL_TRACES_EXPORTER asks for them: {expected}"
    ]


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.grpc"])
def test_a_package_that_is_missing(missing: str) -> None:
    """Where traces are asked for without the packages, one warning tells what to install."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.span_export import start_span_export
configure_logs()
assert start_span_export({{}}) is None
"""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "RENDEZVOUS_LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert event["level"] == "warning"
    assert event["event"].startswith("no traces, though OTEL_EXPORTER_OTLP_ENDPOINT asks for them: ")
    assert event["event"].endswith("; pip install 'rendezvous-sdk[otel]'")

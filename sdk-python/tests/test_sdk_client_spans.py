"""Spans of the clients, in a process that has set up OpenTelemetry, and what travels with their requests."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, ModelFailedError, RendezvousError, UnavailableError
from rendezvous_proto.frames import encode_frame
from rendezvous_sdk import AsyncClient, Client
from rendezvous_sdk.client_spans import ClientSpans
from rendezvous_sdk.grpc_errors import status_of, trailing_metadata
from rendezvous_sdk.traces import is_sampled

from tests.support.otlp import OtlpReceiver, ReceivedSpan

PRELUDE = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from rendezvous_sdk import AsyncClient, Client

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("program")
address, explicit = sys.argv[1:]
"""

SYNCHRONOUS = """
with tracer.start_as_current_span("program"), Client(address, "e") as client:
    client.score({"x": [1.0, 2.0]}, request_id="unary")
    client.score({"x": [1.0]}, request_id="explicit", traceparent=explicit, tracestate="a=1")
    answers = list(client.stream([{"x": [1.0]}, {"x": [-1.0]}]))
"""

ASYNCHRONOUS = """
async def call():
    async with AsyncClient(address, "e") as client:
        await client.score({"x": [1.0, 2.0]}, request_id="unary")
        await client.score({"x": [1.0]}, request_id="explicit", traceparent=explicit, tracestate="a=1")
        return [answer async for answer in client.stream([{"x": [1.0]}, {"x": [-1.0]}])]

with tracer.start_as_current_span("program"):
    answers = asyncio.run(call())
"""


class Answering(v1.ScoreServicer):
    """Answers what it is asked, and keeps the trace context that came; refuses the first two calls."""

    def __init__(self) -> None:
        self.came: dict[str, tuple[str, str]] = {}
        self.refusals = 2
        self.refusal: RendezvousError = UnavailableError("not now")

    def Describe(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Tells a name."""
        assert not _of(context)[0], "Describe has no trace context"
        return v1.ModelInfo(name="e")

    def Score(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Answers one row."""
        if self.refusals:
            self.refusals -= 1
            error = self.refusal
            context.set_trailing_metadata(trailing_metadata(error))
            context.abort(status_of(error), error.message)
        self.came[request.request_id] = _of(context)
        return v1.ScoreReply(request_id=request.request_id, outputs=encode_frame({"y": [1.0]}))

    def ScoreStream(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - the service's name
        """Answers each request; with an error where x is negative."""
        for request in requests:
            self.came[request.request_id] = (request.traceparent, request.tracestate)
            reply = v1.ScoreReply(request_id=request.request_id)
            if request.inputs.columns[0].values[7] & 0x80:  # negative
                reply.error.code, reply.error.message = v1.ErrorCode.ERROR_CODE_MODEL_FAILED, "negative"
            yield reply


def _of(context: Any) -> tuple[str, str]:
    metadata = dict(context.invocation_metadata())
    return metadata.get("traceparent", ""), metadata.get("tracestate", "")


@pytest.fixture
def answering() -> Iterator[tuple[Answering, str]]:
    """The service and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    servicer = Answering()
    v1.add_ScoreServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def _traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _run(code: str, address: str, explicit: str) -> list[ReceivedSpan]:
    with OtlpReceiver() as receiver:
        done = subprocess.run(
            [sys.executable, "-c", f"{PRELUDE}{code}\nprovider.shutdown()", address, explicit],
            env={**os.environ, **receiver.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return receiver.spans(lambda spans: len(spans) == 5)


@pytest.mark.parametrize("code", [SYNCHRONOUS, ASYNCHRONOUS], ids=["Client", "AsyncClient"])
def test_each_request_has_a_client_span(answering: tuple[Answering, str], code: str) -> None:
    """Calls and the requests of a stream: a span below the program's, whose context travels; retries are events.

    A context that is passed goes before the present span.
    """
    servicer, address = answering
    explicit = _traceparent()
    spans = _run(code, address, explicit)
    (program,) = [span for span in spans if span.name == "program"]
    by_request = {span.attributes["rendezvous.request_id"]: span for span in spans if span is not program}
    assert set(by_request) == set(servicer.came)
    for request_id, span in by_request.items():
        assert servicer.came[request_id][0].startswith(f"00-{span.trace_id}-{span.span_id}-0")
        assert is_sampled(servicer.came[request_id][0])
        assert span.kind == "CLIENT"
    unary = by_request.pop("unary")
    assert (unary.name, unary.status, unary.parent_id) == ("rendezvous.v1.Score/Score", "UNSET", program.span_id)
    assert unary.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "rendezvous.v1.Score/Score",
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
        "server.port": int(address.partition(":")[2]),
        "rendezvous.endpoint": "e",
        "rendezvous.request_id": "unary",
        "rendezvous.rows": 2,
    }
    assert [event.name for event in unary.events] == ["rendezvous.retry"] * 2
    assert unary.events[0].attributes["error.type"] == "UNAVAILABLE"
    passed = by_request.pop("explicit")
    assert (passed.trace_id, passed.parent_id) == tuple(explicit.split("-")[1:3])
    assert servicer.came["explicit"][1] == "a=1"
    good, bad = sorted(by_request.values(), key=lambda span: span.start_ns)
    assert {good.parent_id, bad.parent_id} == {program.span_id}
    assert (good.name, good.attributes["rpc.response.status_code"]) == ("rendezvous.v1.Score/ScoreStream", "OK")
    assert (bad.status, bad.attributes["error.type"], bad.message) == ("ERROR", "MODEL_FAILED", "negative")


def test_a_call_that_fails(answering: tuple[Answering, str]) -> None:
    """A call without an answer has the status and the code of its error."""
    servicer, address = answering
    servicer.refusals, servicer.refusal = 4, ModelFailedError("no such customer")
    code = """
from rendezvous_proto.errors import ModelFailedError
with Client(address) as client:
    for number in range(4):
        try:
            client.score({"x": [1.0]})
        except ModelFailedError:
            continue
        raise AssertionError
tracer.start_span("program").end()
"""
    spans = [span for span in _run(code, address, _traceparent()) if span.name != "program"]
    for span in spans:
        assert (span.status, span.attributes["error.type"]) == ("ERROR", "MODEL_FAILED")
        assert span.attributes["rpc.response.status_code"] == "INTERNAL"
        assert (span.parent_id, span.message) == ("", "no such customer")


@pytest.mark.parametrize("is_async", [False, True])
def test_without_opentelemetry(answering: tuple[Answering, str], is_async: bool) -> None:
    """What the caller passes travels unchanged; nothing does where nothing is passed."""
    servicer, address = answering
    explicit = _traceparent()

    async def call() -> None:
        async with AsyncClient(address) as client:
            await client.score({"x": [1.0]}, request_id="none")
            await client.score({"x": [1.0]}, request_id="passed", traceparent=explicit, tracestate="a=1")
            _ = [answer async for answer in client.stream([{"x": [1.0]}], traceparent=explicit)]

    if is_async:
        asyncio.run(call())
    else:
        with Client(address) as client:
            client.score({"x": [1.0]}, request_id="none")
            client.score({"x": [1.0]}, request_id="passed", traceparent=explicit, tracestate="a=1")
            _ = list(client.stream([{"x": [1.0]}], traceparent=explicit))
    assert servicer.came.pop("none") == ("", "")
    assert servicer.came.pop("passed") == (explicit, "a=1")
    assert list(servicer.came.values()) == [(explicit, "")]


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ({"traceparent": "00-1-2-3"}, "traceparent is '00-1-2-3'"),
        ({"tracestate": "a=1"}, "tracestate is 'a=1'"),
        ({"traceparent": _traceparent(), "tracestate": "a=ä"}, "tracestate is 'a=ä'"),
    ],
)
def test_a_malformed_context_is_refused(
    answering: tuple[Answering, str], passed: dict[str, Any], expected: str
) -> None:
    """What could not travel is refused before anything is sent."""
    with Client(answering[1]) as client, pytest.raises(InvalidRequestError, match=expected):
        client.score({"x": [1.0]}, **passed)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("credit.example:8001", "credit.example", 8001),
        ("[::1]:8001", "::1", 8001),
        ("dns:///credit.example:8001", "credit.example", 8001),
        ("ipv4:10.0.0.1:8001", "10.0.0.1", 8001),
        ("unix:/run/credit.sock", "unix:/run/credit.sock", None),
    ],
)
def test_address_and_port(address: str, host: str, port: int | None) -> None:
    """The server's address and port are told apart, whatever form gRPC takes them in."""
    attributes = ClientSpans(address, "")._attributes
    assert (attributes["server.address"], attributes.get("server.port")) == (host, port)

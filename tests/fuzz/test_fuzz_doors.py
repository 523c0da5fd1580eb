"""A running router, both doors and a lying model: no fault, no hang, no growth, whatever comes over the wire."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import grpc
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rendezvous_router.nats_server import NatsServer

from tests.fuzz import material
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import seeds_of
from tests.rest.conftest import echo_spec, sum_spec
from tests.support.regular import undisturbed
from tests.support.stack import Stack

EXAMPLES = 120
"""Of each kind of request in the short run."""
SECONDS = float(os.environ.get("RENDEZVOUS_FUZZ_SECONDS", "0"))
"""Time of the long run, all kinds together; 0: the short one."""
ANSWER_S = 6.0
"""Longest time to an answer: the endpoints' deadline is 5 s."""
GRPC = ("Score", "Describe", "ScoreStream", "ModelInfer", "ModelReady", "ModelMetadata")
INFERENCE = "/inference.GRPCInferenceService/"
FINE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What may become of a request over gRPC, beside an answer."""
DOCUMENTED = {504}
"""What of 5xx may: a deadline in the request that is over."""
REST = {
    "json": ("/v1/endpoints/{}/score", {"content-type": "application/json"}),
    "csv": ("/v1/endpoints/{}/score", {"content-type": "text/csv"}),
    "arrow": ("/v1/endpoints/{}/score", {"content-type": "application/vnd.apache.arrow.stream"}),
    "packed": ("/v1/endpoints/{}/score", {"content-type": "application/json"}),
    "infer_body": ("/v2/models/{}/infer", {"content-type": "application/octet-stream"}),
}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A router with the endpoints of the seeds; `sum` has an honest model, and one that lies."""
    folder = tmp_path_factory.mktemp("fuzz")
    server = NatsServer(store=folder / "nats")
    server.start()
    stack = Stack(folder, server)
    try:
        liar = {**sum_spec(), "models": {"plus": {"role": "champion"}, "liar": {"role": "shadow"}}}
        for spec in (echo_spec(), liar):
            asyncio.run(stack.apply(spec))
        stack.start_router()
        stack.start_model("tests.rest.echo_models:echo", endpoint="echo")
        stack.start_model("tests.rest.echo_models:plus")
        stack.start_faulty("mutated", name="liar")
        with undisturbed(stack, grown_mib=1 << 20):
            time.sleep(0.5)  # what is loaded with the first requests is not charged to anybody
        yield stack
    finally:
        stack.stop()
        server.stop()


def _search(strategy: st.SearchStrategy[bytes], ask: Callable[[bytes], None], kinds: int) -> None:
    until = time.monotonic() + SECONDS / kinds

    @given(octets=strategy)
    @settings(
        max_examples=EXAMPLES,
        derandomize=not SECONDS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def search(octets: bytes) -> None:
        ask(octets)

    search()
    while time.monotonic() < until:
        search()


KINDS = len(GRPC) + len(REST) + 1


@pytest.mark.parametrize("method", GRPC)
def test_grpc(doors: Stack, method: str) -> None:
    """Bytes that are no message, and messages that lie: an answer or a refusal from the table, within the deadline."""
    seeds = seeds_of("infer_request" if method.startswith("Model") else "score_request")
    path = (INFERENCE if method.startswith("Model") else "/rendezvous.v1.Score/") + method
    with undisturbed(doors), grpc.insecure_channel(doors.address) as channel:

        def call(octets: bytes) -> None:
            if method == "ScoreStream":
                for _ in channel.stream_stream(path)(iter([octets] * 3), timeout=ANSWER_S):
                    pass
            else:
                channel.unary_unary(path)(octets, timeout=ANSWER_S)

        def ask(octets: bytes) -> None:
            refused: list[grpc.RpcError] = []
            try:
                call(octets)
            except grpc.RpcError as error:
                refused.append(error)
            for each in refused:
                assert each.code() in FINE, each
                assert each.details() != "Deadline Exceeded", "no answer within the deadline"

        _search(mutated(seeds), ask, KINDS)


@pytest.mark.parametrize("kind", REST)
def test_rest(doors: Stack, kind: str) -> None:
    """Bodies of each kind, and heads that lie about them: an answer or a problem, no 5xx but a deadline's."""
    path, fixed = REST[kind]
    has_line = kind in ("packed", "infer_body")
    with undisturbed(doors), requests.Session() as http:

        def ask(octets: bytes) -> None:
            headers, body = dict(fixed), octets
            if has_line:
                line, _, body = octets.partition(b"\n")
                name = "content-encoding" if kind == "packed" else "inference-header-content-length"
                shown = "".join(letter for letter in line.decode("latin-1")[:8000] if "!" <= letter <= "~")
                headers |= {name: shown} if shown else {}
            for endpoint in ("echo", "sum"):
                answer = http.post(doors.rest + path.format(endpoint), data=body, headers=headers, timeout=ANSWER_S)
                assert answer.status_code < 500 or answer.status_code in DOCUMENTED, answer.text
                assert len(answer.content) < 100 * len(octets) + 100_000

        _search(mutated(seeds_of(kind)), ask, KINDS)


def test_what_is_hardly_http(doors: Stack) -> None:
    """Bytes that are hardly HTTP: an answer that is no 5xx, or the end of the connection."""
    import socket  # noqa: PLC0415 # of this test alone

    place = urlsplit(doors.rest)
    head = (
        b"POST /v1/endpoints/sum/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    )
    body = material.json_bodies()[1]
    seeds = [
        head + b"content-length: %d\r\n\r\n" % len(body) + body,
        head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        b"GET /openapi.json?x=%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /v2/models/echo%2fecho/ready HTTP/1.0\r\nauthorization: Bearer rv_a_b\r\n\r\n",
    ]
    with undisturbed(doors):

        def ask(octets: bytes) -> None:
            with socket.create_connection((place.hostname, place.port or 0), timeout=ANSWER_S) as wire:
                wire.sendall(octets)
                wire.shutdown(socket.SHUT_WR)
                answer = wire.recv(4096) if octets else b""
            assert not answer or answer.startswith(b"HTTP/1.1 "), answer
            assert answer[9:10] in (b"", b"1", b"2", b"3", b"4"), answer

        _search(mutated(seeds), ask, KINDS)

"""The router's page: what a scrape and a probe read there, and that OTLP pushes the same."""

import asyncio
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from prometheus_client.parser import text_string_to_metric_families
from rendezvous_proto import v1
from rendezvous_proto.postbox import REPLICAS_BUCKET
from rendezvous_router.telemetry.metrics import METRICS, Kind
from rendezvous_router.telemetry.page import Page
from rendezvous_router.telemetry.prometheus import Exposition
from rendezvous_sdk import AsyncClient

from tests.support.otlp import OtlpReceiver
from tests.support.stack import ENDPOINT, Stack, eventually

TABLE = {"a": [1.5], "b": [2], "tag": ["x"]}
SPEC: dict[str, Any] = {
    **ENDPOINT,
    "policy": {"deadline": "400ms", "steps": [{"take": "best", "of": ["first"]}], "otherwise": "error"},
}

Samples = dict[tuple[str, tuple[str, ...]], float]


def fetch(address: str, path: str) -> tuple[int, str]:
    """Returns status and text of a page."""
    try:
        with urllib.request.urlopen(address + path, timeout=5) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


TENANT = "rendezvous_tenant"


def key(name: str, *labels: str) -> tuple[str, tuple[str, ...]]:
    """Returns the key of a sample, whatever the order of its labels."""
    return name, tuple(sorted(labels))


def scrape(stack: Stack) -> Samples:
    """Returns every sample of the router's own metrics, by name and label values but for the only tenant's name."""
    return {
        key(sample.name, *(value for name, value in sample.labels.items() if name != TENANT)): sample.value
        for family in text_string_to_metric_families(fetch(stack.page, "/metrics")[1])
        for sample in family.samples
    }


def late(samples: Samples) -> float:
    """Returns how many scores of the slow model came late; what had expired before it was read is not among them."""
    return samples[key("rendezvous_scores_late_total", "sum", "third")]


async def ask(stack: Stack, times: int) -> None:
    """Sends requests that are answered."""
    async with AsyncClient(stack.address, endpoint="sum") as client:
        for _ in range(times):
            await client.score(TABLE, timeout=3)


async def report(stack: Stack) -> None:
    """Records an outcome, and has one refused."""
    async with grpc.aio.insecure_channel(stack.address) as channel:
        truth = v1.Outcome(request_id="r", kind=v1.OutcomeKind.OUTCOME_KIND_TRUTH, number=1.0)
        await v1.FeedbackStub(channel).Record(v1.RecordRequest(outcomes=[truth, truth]))
        with pytest.raises(grpc.aio.AioRpcError):
            await v1.FeedbackStub(channel).Record(v1.RecordRequest())


async def test_a_scrape_tells_what_happened(stack: Stack, tmp_path: Path) -> None:
    """Requests, decisions, scores, late and failed ones, times, replicas and lags are on the page as they were."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_archive(tmp_path / "archive")
    stack.start_model("tests.support.models:first")
    stack.start_model("tests.support.models:raising", name="second")
    stack.start_model("tests.support.models:slow", name="third")
    await ask(stack, 5)
    await report(stack)
    async with grpc.aio.insecure_channel(stack.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await v1.ScoreStub(channel).Score(v1.ScoreRequest(endpoint="elsewhere"))
    samples: Samples = {}

    async def is_all_in() -> bool:
        samples.update(scrape(stack))
        return (
            late(samples) + samples.get(key("rendezvous_scores_total", "sum", "third", "EXPIRED"), 0) == 5
            and samples[key("rendezvous_model_replicas", "sum", "third")] == 1
            and samples.get(key("rendezvous_decoy_lag", "sum")) == 0
            and samples.get(key("rendezvous_model_lag", "sum", "third", "1")) == 0
        )

    await eventually(is_all_in, "late scores, replicas and lags are seen")
    expected = {
        key("rendezvous_requests_total", "sum", "answered", ""): 5,
        key("rendezvous_requests_total", "", "refused", "UNKNOWN_ENDPOINT"): 1,
        key("rendezvous_decisions_total", "sum", "steps[0].best", "first"): 5,
        key("rendezvous_feedback_total", "sum", "truth"): 2,
        key("rendezvous_feedback_refused_total", "sum", "INVALID_REQUEST"): 1,
        key("rendezvous_scores_total", "sum", "first", ""): 5,
        key("rendezvous_scores_total", "sum", "second", "MODEL_FAILED"): 5,
        key("rendezvous_model_time_seconds_count", "sum", "third"): 5,
        key("rendezvous_decision_time_seconds_count", "sum"): 5,
        key("rendezvous_deadline_used_ratio_bucket", "sum", "+Inf"): 5,
        key("rendezvous_model_time_seconds_count", "sum", "first"): 5,
        key("rendezvous_model_scoring_time_seconds_count", "sum", "first"): 5,
        key("rendezvous_requests_in_flight", "sum"): 0,
        key("rendezvous_endpoint_revision", "sum"): 1,
        key("rendezvous_postbox_connected"): 1,
        key("rendezvous_decisions_dropped_total"): 0,
    }
    assert {each: samples.get(each) for each in expected} == expected
    calls = ("sum", "grpc", "rendezvous.v1.Score/Score", "OK")
    assert samples[key("rpc_server_call_duration_seconds_count", *calls)] == 5
    assert 0 < samples[key("rpc_server_call_duration_seconds_sum", *calls)] < 5 * 0.4
    assert samples[key("rendezvous_scores_total", "sum", "third", "")] == late(samples) >= 1
    assert samples[key("rendezvous_scores_stray_total", "sum", "third")] == 0


async def test_every_metric_of_the_table_is_on_the_page_and_no_other(stack: Stack, tmp_path: Path) -> None:
    """The table of metrics, from which the docs are made, is what a scrape finds."""
    absent = {"outputs": [{"name": "c", "type": "BOOL"}], "budget": "10ms", "otherwise": {"c": True}}
    await stack.apply({**SPEC, "enrichers": {"absent": absent}})
    stack.start_router()
    stack.start_archive(tmp_path / "archive")
    stack.start_model("tests.support.models:first")
    await ask(stack, 1)
    await report(stack)

    def found() -> set[str]:
        families = text_string_to_metric_families(fetch(stack.page, "/metrics")[1])
        return {family.name for family in families if family.name.startswith(("rendezvous_", "rpc_", "messaging_"))}

    async def is_complete() -> bool:
        return found() == {metric.prometheus_name for metric in METRICS}

    await eventually(is_complete, f"all metrics; missing {({m.prometheus_name for m in METRICS}) ^ found()}")


async def test_a_malformed_registration_hides_nobody(stack: Stack) -> None:
    """What no model of ours has written into the bucket of replicas is passed over; a retired version has no lag."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    old = stack.start_model("tests.support.models:second", "--version", "7")
    client = await nats.connect(stack.server.url)
    bucket = await client.jetstream().key_value(REPLICAS_BUCKET)
    for number, document in enumerate([b"{}", b"[1]", b'"x"']):
        await bucket.put(f"sum.odd.1.{number}", document)
    await client.close()
    assert old.stop() == 0
    stack.start_model("tests.support.models:second", "--version", "8")
    stack.start_model("tests.support.models:first")
    await ask(stack, 3)

    async def is_seen() -> bool:
        samples = scrape(stack)
        lags = {each for each in samples if each[0] == "rendezvous_model_lag"}
        expected = {key("rendezvous_model_lag", "sum", "first", "1"), key("rendezvous_model_lag", "sum", "second", "8")}
        return samples[key("rendezvous_model_replicas", "sum", "first")] == 1 and lags == expected

    await eventually(is_seen, "replicas and lags of those who live")


async def test_two_routers_at_once_have_pages_of_their_own(stack: Stack) -> None:
    """Without a port of its choice a router takes the usual one or another, and its line says which it really has."""
    pages = [Page(Exposition(dict), lambda: "") for _ in range(2)]
    ports = [await page.open("127.0.0.1", None) for page in pages]
    try:
        assert len(set(ports)) == 2
        for port in ports:
            found = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}", "/healthz")
            assert found == (200, "ok\n")
    finally:
        for page in pages:
            await page.close()


async def test_probes_tell_life_from_readiness(stack: Stack) -> None:
    """Without nats-server the router lives but is not ready, and says why; with it, it is again."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    assert fetch(stack.page, "/healthz") == (200, "ok\n")
    assert fetch(stack.page, "/readyz") == (200, "ready\n")
    stack.server.stop()

    async def is_ready(status: int) -> bool:
        return fetch(stack.page, "/readyz")[0] == status

    await eventually(lambda: is_ready(503), "not ready")
    assert "nats-server" in fetch(stack.page, "/readyz")[1]
    assert fetch(stack.page, "/healthz")[0] == 200
    stack.server.start()
    await eventually(lambda: is_ready(200), "ready again")


async def test_otlp_pushes_what_the_page_shows(stack: Stack) -> None:
    """Counters, gauges and histograms arrive by OTLP, histograms of time as exponential ones, when the router ends."""
    await stack.apply(ENDPOINT)
    with OtlpReceiver() as receiver:
        env = {**receiver.environment, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRIC_EXPORT_INTERVAL": "300"}
        router = stack.start_router(env=env)
        stack.start_model("tests.support.models:first")
        await ask(stack, 4)
        assert router.stop() == 0
        received = receiver.metrics(lambda metrics: _by_name(metrics).get("rendezvous.requests"))
    last = _by_name(received[-1:])
    assert set(last) <= {metric.name for metric in METRICS}
    (requests,) = last["rendezvous.requests"].sum.data_points
    assert requests.as_int == 4
    assert last["rendezvous.requests"].sum.is_monotonic
    (decided,) = last["rendezvous.decision.time"].exponential_histogram.data_points
    assert (decided.count, decided.scale, sum(decided.positive.bucket_counts)) == (4, 3, 4)
    (used,) = last["rendezvous.deadline.used_ratio"].histogram.data_points
    assert (used.count, sum(used.bucket_counts)) == (4, 4)
    kinds = {metric.name: metric.kind for metric in METRICS}
    for name, metric in last.items():
        data = {"sum": Kind.COUNTER, "gauge": Kind.GAUGE}.get(metric.WhichOneof("data"), Kind.HISTOGRAM)
        assert data is kinds[name], name
    assert {"service.name": "rendezvous-router"}.items() <= _resource(received[-1]).items()


def _by_name(received: list[ResourceMetrics]) -> dict[str, Any]:
    return {metric.name: metric for each in received for scope in each.scope_metrics for metric in scope.metrics}


def _resource(received: ResourceMetrics) -> dict[str, str]:
    return {each.key: each.value.string_value for each in received.resource.attributes}


def test_a_taken_port_is_told_at_the_start(stack: Stack) -> None:
    """A router whose metrics port is taken does not start, and says which port and what to do."""
    first = stack.start_router()
    port = stack.page.rpartition(":")[2]
    with pytest.raises(AssertionError, match="choose another --metrics-port"):
        stack.start_router("--grpc-port", "0", "--metrics-port", port)
    assert first.popen.poll() is None

"""The stack of compose.yaml in real containers: it answers, survives kills, is seen from outside, and stops."""

import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from rendezvous_sdk import Client

from examples.credit.applicants import split_applicants
from tests.compose.load import Load
from tests.compose.stack import MODELS, ComposeStack, read_json

pytestmark = pytest.mark.timeout(900)  # the first test also waits for the images to be built

OURS = ("router", "archive", "history", *MODELS)
DEADLINE_S = 0.5
"""Of the endpoint's policy."""


@pytest.fixture
def client(stack: ComposeStack) -> Iterator[Client]:
    """A client at the published port."""
    with Client(stack.address, endpoint="credit") as made:
        yield made


def test_every_model_answers(stack: ComposeStack, client: Client) -> None:
    """A request through the published port is scored by four models in three languages."""
    _, held_out = split_applicants()
    seen: set[str] = set()

    def all_answered() -> bool:
        answer = client.score(held_out.table.head(3), explain=True, timeout=5.0)
        assert len(answer.to_records()) == 3
        seen.update(name for name, score in answer.scores.items() if not score.HasField("error"))
        return seen == set(MODELS)

    stack.wait(all_answered, f"scores of {MODELS}", within_s=30)


@pytest.mark.parametrize("service", OURS)
def test_nothing_runs_as_root_or_writes(stack: ComposeStack, service: str) -> None:
    """A container's processes have a numbered user without rights, and not even root could write to its root."""
    container = stack.container(service)
    assert container.attrs["Config"]["User"] == "10001:10001"
    assert container.attrs["HostConfig"]["ReadonlyRootfs"] is True
    status = stack.run(service, "cat", "/proc/1/status")
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "CapEff:\t0000000000000000" in status
    code, said = container.exec_run(["touch", "/app/written"], user="root")
    assert code != 0
    assert b"Read-only file system" in said


def test_one_trace_across_router_and_three_languages(stack: ComposeStack, client: Client) -> None:
    """Jaeger shows one trace of a request: router, postbox, and each model's span with it as its ancestor."""
    _, held_out = split_applicants()
    request_id = f"traced-{time.time_ns()}"
    client.score(held_out.table.head(1), request_id=request_id, timeout=5.0)
    spans: dict[str, dict[str, Any]] = {}

    def is_whole() -> bool:
        tags = urllib.parse.quote(f'{{"rendezvous.request_id":"{request_id}"}}')
        url = f"http://127.0.0.1:{stack.ports['JAEGER_PORT']}/api/traces?service=rendezvous-router&limit=5&tags={tags}"
        for trace in read_json(url)["data"]:
            for span in trace["spans"]:
                service = trace["processes"][span["processID"]]["serviceName"]
                spans[span["spanID"]] = {**span, "service": service}
        return {each["service"] for each in spans.values()} >= {"rendezvous-router", *MODELS}

    stack.wait(is_whole, "spans of router and models in Jaeger", within_s=40)
    assert len({span["traceID"] for span in spans.values()}) == 1
    by_name = {span["operationName"]: span for span in spans.values()}
    server = by_name["rendezvous.v1.Score/Score"]
    for model in MODELS:
        assert _ancestor(by_name[f"score {model}"], spans) == server["spanID"], model


def _ancestor(span: dict[str, Any], spans: dict[str, dict[str, Any]]) -> str:
    """Returns the id of the outermost span above."""
    parents = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    return _ancestor(spans[parents[0]], spans) if parents and parents[0] in spans else str(span["spanID"])


def test_prometheus_sees_the_router(stack: ComposeStack) -> None:
    """Prometheus scrapes the router and knows of its requests."""
    address = f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/query?query="
    query = urllib.parse.quote('sum(rendezvous_requests_total{rendezvous_endpoint="credit"}) > 0')
    stack.wait(lambda: bool(read_json(address + query)["data"]["result"]), "requests in Prometheus", within_s=40)


def test_answers_go_on_without_the_champion(stack: ComposeStack) -> None:
    """The champion's container is killed under load: others answer, within the policy's deadline; it comes back."""
    with Load(stack.address, rate=20) as load:
        stack.wait(lambda: load.outcomes.models()["boosted"] > 10, "answers of the champion")
        stack.container("boosted").kill()
        killed = load.answered()
        stack.wait(lambda: load.answered() > killed + 40, "answers without the champion")
        others = load.outcomes.models()
        stack.container("boosted").start()
        stack.wait(lambda: load.outcomes.models()["boosted"] > others["boosted"] + 10, "answers of the champion, again")
    load.outcomes.check()
    assert sum(count for model, count in others.items() if model not in ("boosted", "")) > 20
    late = [took for took in load.outcomes.took_s.values() if took > DEADLINE_S + 0.5]  # a busy machine's leeway
    assert len(late) <= load.outcomes.sent * 0.05, late


@pytest.mark.parametrize("service", ["router", "nats", "archive"])
def test_nothing_accepted_is_lost(stack: ComposeStack, service: str) -> None:
    """The router, nats-server or the archive is killed under load: each request is answered once, and archived."""
    with Load(stack.address, rate=20) as load:
        stack.wait(lambda: load.answered() > 20, "answers")
        stack.container(service).kill()
        time.sleep(1)  # how long it is away
        stack.container(service).start()
        stack.wait(lambda: stack.is_healthy(service), f"{service} is healthy again")
        back = load.answered()
        stack.wait(lambda: load.answered() > back + 20, "answers again")
    load.outcomes.check()
    report = stack.verify_archive()
    assert report["is_complete"], report
    assert load.outcomes.answers.keys() <= stack.archived_ids()


@pytest.mark.parametrize("service", [*MODELS, "archive", "router"])
def test_stopping_takes_no_longer_than_draining(stack: ComposeStack, service: str) -> None:
    """`docker stop` ends each container by itself, with status 0, within the time that Compose gives it."""
    container = stack.container(service)
    began = time.monotonic()
    container.stop(timeout=container.attrs["Config"]["StopTimeout"])
    took_s = time.monotonic() - began
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0, stack.logs()
    assert took_s < container.attrs["Config"]["StopTimeout"]

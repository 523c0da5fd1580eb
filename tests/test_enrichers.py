"""Enrichers against real processes: what models see, what happens when enrichers fail, and what is kept."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from rendezvous_proto.errors import NoAnswerError
from rendezvous_proto.frames import FrameView
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_proto.v1 import DecisionBatch, Parcel, ParcelScore
from rendezvous_sdk import Answer, AsyncClient

from tests.support.otlp import OtlpReceiver
from tests.support.processes import script
from tests.support.stack import ADDRESS, ENDPOINT, Stack, eventually

HISTORY: dict[str, Any] = {
    "outputs": [{"name": "loans", "type": "INT64"}, {"name": "worst", "type": "INT64", "missing": True}],
    "budget": "400ms",
    "otherwise": {"loans": -1, "worst": None},
}
RATING: dict[str, Any] = {
    "outputs": [{"name": "rating", "type": "STRING"}],
    "budget": "400ms",
    "otherwise": {"rating": "unrated"},
    "stage": 2,
    "inputs": ["tag", "loans"],
}


def spec_with(**enrichers: dict[str, Any]) -> dict[str, Any]:
    """Returns the specification of the endpoint with these enrichers and two models."""
    return {
        **ENDPOINT,
        "models": {"first": {"role": "champion"}, "second": {"role": "challenger"}},
        "enrichers": enrichers,
        "policy": {"deadline": "2s", "steps": [{"take": "best"}], "otherwise": {"total": -1.0, "label": "refer"}},
    }


@asynccontextmanager
async def running(stack: Stack, spec: dict[str, Any]) -> AsyncIterator[AsyncClient]:
    """Applies *spec*, starts a router and both models, and asks."""
    await stack.apply(spec)
    stack.start_router()
    for name in ("first", "second"):
        stack.start_model(f"tests.support.enrichers:{name}")
    async with AsyncClient(stack.address, endpoint="sum") as client:
        yield client


def start_enricher(stack: Stack, target: str, *, name: str = "history", stage: int = 1) -> Any:
    """Starts an enricher."""
    return stack.start_model(f"tests.support.enrichers:{target}", "--enricher", "--stage", str(stage), name=name)


async def ask(client: AsyncClient, *rows: tuple[float, str], **fields: Any) -> Answer:
    """Asks for rows of `a` and `tag`."""
    table = {"a": [a for a, _ in rows], "b": [0] * len(rows), "tag": [tag for _, tag in rows]}
    return await client.score(table, **fields)


async def read_stream(stack: Stack, stream: str) -> list[tuple[str, str, bytes]]:
    """Returns subject, message id and payload of every message of a stream."""
    client = await nats.connect(stack.server.url)
    try:
        js = client.jetstream()
        last = (await js.stream_info(stream)).state.last_seq
        found = [await js.get_msg(stream, seq) for seq in range(1, last + 1)]
        return [(raw.subject or "", (raw.headers or {}).get("Nats-Msg-Id", ""), raw.data or b"") for raw in found]
    finally:
        await client.close()


async def parcels(stack: Stack, kind: str) -> list[tuple[str, Parcel]]:
    """Returns the parcels on one subject of the endpoint, with their message ids."""
    messages = await read_stream(stack, durable_stream("sum"))
    return [
        (message_id, Parcel.FromString(data)) for subject, message_id, data in messages if subject == f"rv.sum.{kind}"
    ]


async def test_two_stages_reach_every_model_and_the_record(stack: Stack) -> None:
    """Models see what both stages added; raw, each stage and input are kept, with who touched the request."""
    async with running(stack, spec_with(history=HISTORY, rating=RATING)) as client:
        start_enricher(stack, "history")
        start_enricher(stack, "rating", name="rating", stage=2)
        answer = await ask(client, (1.0, "x"), (2.0, "y"), request_id="r-1", explain=True)
        assert list(answer["label"]) == [
            "first: loans=10 rating=x/10 tag=x worst=None",
            "first: loans=20 rating=y/20 tag=y worst=20",
        ]
        seen: dict[str, list[str]] = {}

        async def have_scored() -> bool:
            scores = [ParcelScore.FromString(data) for _, _, data in await read_stream(stack, score_stream("sum"))]
            seen.update({score.model: list(FrameView(score.outputs)["label"]) for score in scores if not score.stage})
            return len(seen) == 2

        await eventually(have_scored, "both models have scored; the answer waits for the champion only")
        assert [text.partition(": ")[2] for text in seen["second"]] == [
            text.partition(": ")[2] for text in seen["first"]
        ]
        await check_command_line(stack)
        described = await client.describe()
        assert [column.name for column in described.signature.inputs] == ["a", "b", "tag"]

    ((raw_id, raw),) = await parcels(stack, "raw")
    ((second_id, second),) = await parcels(stack, "raw.2")
    ((input_id, enriched),) = await parcels(stack, "input")
    assert (raw_id, second_id, input_id) == (f"{raw.parcel_id}.raw", f"{raw.parcel_id}.raw.2", raw.parcel_id)
    assert raw.parcel_id == second.parcel_id == enriched.parcel_id
    names = [[column.name for column in parcel.inputs.columns] for parcel in (raw, second, enriched)]
    assert names == [["a", "b", "tag"], ["tag", "loans"], ["a", "b", "tag", "loans", "worst", "rating"]]
    assert [(each.component, each.version) for each in enriched.items[0].provenance][-2:] == [
        ("enricher:history", "1"),
        ("enricher:rating", "1"),
    ]
    assert raw.items[0].budget_us < enriched.items[0].budget_us, "enrichers have their own time"
    scores = [ParcelScore.FromString(data) for _, _, data in await read_stream(stack, score_stream("sum"))]
    assert {(score.model, score.stage) for score in scores} == {
        ("history", 1), ("rating", 2), ("first", 0), ("second", 0),
    }  # fmt: skip


async def check_command_line(stack: Stack) -> None:
    """Checks that `explain`, `models` and `describe` tell of enrichers."""
    explained: dict[str, Any] = {}

    async def is_explained() -> bool:
        status, text = await command(stack, "explain", "r-1", "--json")
        explained.update(json.loads(text) if not status else {})
        return len(explained.get("enrichers", ())) == 2

    await eventually(is_explained, "the decision is written")
    assert [(each["enricher"], each["stage"], each["status"]) for each in explained["enrichers"]] == [
        ("history", 1, "added"), ("rating", 2, "added"),
    ]  # fmt: skip
    assert [each["model"] for each in explained["models"]] != []
    assert explained["inputs"][0]["rating"] == "x/10"
    _, text = await command(stack, "models", "sum", "--json")
    assert {(each["model"], each["role"]) for each in json.loads(text)} >= {
        ("history", "enricher 1"), ("rating", "enricher 2"),
    }  # fmt: skip
    _, text = await command(stack, "describe", "sum", "--json")
    assert (
        "Then columns are added: rating by rating within 400ms, else rating = 'unrated'." in json.loads(text)["policy"]
    )


async def command(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Runs `rendezvous` and returns its status and output."""
    process = await asyncio.create_subprocess_exec(
        script("rendezvous"), *arguments, "--nats", stack.server.url, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_model_behind_a_bridge_is_an_enricher(stack: Stack) -> None:
    """A model that only speaks gRPC adds columns all the same."""
    async with running(stack, spec_with(history={**HISTORY, "budget": "1s"})) as client:
        served = stack.start_model("tests.support.enrichers:history", "--no-postbox", name="far")
        found = ADDRESS.search(served.ready_line)
        assert found is not None, served.ready_line
        stack.start_bridge(f"grpc://{found[1]}", "--enricher", model="history")
        await eventually(lambda: is_enriched(client), "the bridge's model answers")


async def test_enricher_that_hangs_or_dies_costs_its_budget_and_no_answer(stack: Stack) -> None:
    """Nobody there, a hang, a kill: each answer has the defaults within the budget; who was not there is noted."""
    async with running(stack, spec_with(history=HISTORY)) as client:
        await expect_defaults(client, "nobody")
        enricher = start_enricher(stack, "hanging")
        await eventually(lambda: is_enriched(client), "the enricher answers")
        await expect_defaults(client, "hang")
        enricher.kill()
        await expect_defaults(client, "dead")
        (*_, (_, last)) = await parcels(stack, "input")
        assert [(each.component, each.version) for each in last.items[0].provenance][-1] == ("default:history", "LATE")
        await stack.model_counts("history", lambda counts: counts["defaulted"] >= 3)


async def is_enriched(client: AsyncClient) -> bool:
    """Returns whether a request has an enricher's columns."""
    answer = await ask(client, (3.0, "x"))
    return "loans=30" in answer["label"][0]


async def expect_defaults(client: AsyncClient, tag: str) -> None:
    """Asks, and checks that the answer came with the defaults once the budget was over, and not later."""
    began = time.monotonic()
    answer = await ask(client, (1.0, tag))
    took_s = time.monotonic() - began
    assert answer["label"][0] == f"first: loans=-1 tag={tag} worst=None"
    assert 0.39 <= took_s < 1.0, took_s


async def test_client_in_a_hurry_gets_an_answer_of_the_models(stack: Stack) -> None:
    """A budget is cut where the client's time is short, for that client alone: there is time left for the models."""
    async with running(stack, spec_with(history={**HISTORY, "budget": "1500ms"})) as client:
        await ask(client, (1.0, "warm"))
        began = time.monotonic()
        slow, quick = await asyncio.gather(ask(client, (1.0, "slow")), ask(client, (1.0, "quick"), timeout=0.5))
        assert quick["label"][0] == "first: loans=-1 tag=quick worst=None"
        assert slow["label"][0] == "first: loans=-1 tag=slow worst=None"
        assert time.monotonic() - began >= 1.45
        timing = quick.reply.timing
        assert timing.finished_unix_us - timing.received_unix_us < 500_000


LIES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "columns": lambda counts: counts["invalid"] > 0,
    "torn": lambda counts: counts["invalid"] > 0,
    "other_id": lambda counts: counts["invalid"] > 0,
    "garbage": lambda counts: counts["stray"] > 0,
    "other_parcel": lambda counts: counts["defaulted"] > 0,
    "flood": lambda counts: counts["stray"] > 0,
}


async def test_lying_enrichers_cost_no_answer(stack: Stack) -> None:
    """Whatever enrichers send, requests are answered with the defaults, and each fault is charged to its liar."""
    liars = {
        f"{lie}_liar": {
            "outputs": [{"name": lie, "type": "INT64"}], "budget": "400ms", "otherwise": {lie: -1},
        } for lie in LIES
    }  # fmt: skip
    async with running(stack, spec_with(history=HISTORY, **liars)) as client:
        start_enricher(stack, "history")
        for lie in LIES:
            stack.start_faulty(lie, name=f"{lie}_liar", subject="raw")
        answers = await asyncio.gather(*[ask(client, (1.0, f"t{number}")) for number in range(5)])
        for number, answer in enumerate(answers):
            seen = dict(word.split("=") for word in answer["label"][0].removeprefix("first: ").split())
            assert seen == {**dict.fromkeys(LIES, "-1"), "loans": "10", "worst": "None", "tag": f"t{number}"}
        for lie, is_charged in LIES.items():
            await stack.model_counts(f"{lie}_liar", is_charged)


async def test_request_that_an_enricher_fails_on_is_alone_with_it(stack: Stack) -> None:
    """One bad request gets the defaults, or the error where the specification says so; the others are enriched."""
    async with running(stack, spec_with(history=HISTORY)) as client:
        start_enricher(stack, "picky")
        await eventually(lambda: is_enriched(client), "the enricher answers")
        tags = ["x", "bad", "y", "z"]
        answers = await asyncio.gather(*[ask(client, (1.0, tag)) for tag in tags])
        loans = [answer["label"][0].split()[1] for answer in answers]
        assert loans == ["loans=10", "loans=-1", "loans=10", "loans=10"]

        revision = await stack.apply(spec_with(history={**HISTORY, "otherwise": "error"}))
        await in_force(stack, revision)
        got = await asyncio.gather(
            *[ask(client, (1.0, tag), request_id=f"r-{tag}", timeout=1.5) for tag in tags], return_exceptions=True
        )
        assert [isinstance(each, NoAnswerError) for each in got] == [False, True, False, False]
        refusal = got[1]
        assert isinstance(refusal, NoAnswerError)
        assert "enricher history failed (MODEL_FAILED" in refusal.message
        assert refusal.attributes["enricher"] == "history"

    async def recorded() -> bool:
        batches = [data for subject, _, data in await read_stream(stack, "RV_sum") if subject == "rv.sum.decision"]
        records = [record for data in batches for record in DecisionBatch.FromString(data).records]
        rules = {record.decision.request_id: record.decision.rule for record in records}
        return rules.get("r-bad") == "enrichers.history" and rules.get("r-x") == "steps[0].best"

    await eventually(recorded, "the decision says which enricher ended the request")
    kept = [item.request_id for _, parcel in await parcels(stack, "input") for item in parcel.items]
    assert "r-bad" not in kept
    assert "r-bad" in [item.request_id for _, parcel in await parcels(stack, "raw") for item in parcel.items]


async def test_trace_and_metrics_show_enrichers(stack: Stack) -> None:
    """A stage has a publish span with its enrichers' spans below it, before that of the input; defaults are counted."""
    await stack.apply(spec_with(history=HISTORY, silent={**RATING, "stage": 1, "inputs": ["tag"]}))
    with OtlpReceiver("grpc") as receiver:
        stack.start_router(env=receiver.environment)
        for name in ("first", "second"):
            stack.start_model(f"tests.support.enrichers:{name}")
        start_enricher(stack, "history")
        async with AsyncClient(stack.address, endpoint="sum") as client:
            await ask(client, (1.0, "x"), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        spans = receiver.spans(lambda spans: "score second" in [span.name for span in spans])
    (raw,) = [span for span in spans if span.name == "publish rv.{endpoint}.raw"]
    (put,) = [span for span in spans if span.name == "publish rv.{endpoint}.input"]
    parents = {span.name: span.parent_id for span in spans if span.name.startswith("score ")}
    assert parents == {"score history": raw.span_id, "score first": put.span_id, "score second": put.span_id}
    assert raw.parent_id == put.parent_id
    assert raw.attributes["messaging.destination.name"] == "rv.sum.raw"
    assert raw.start_ns < raw.end_ns
    assert put.start_ns - raw.start_ns >= 390_000_000, "the silent one had its budget"
    text = await asyncio.to_thread(fetch, f"{stack.page}/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith("rendezvous_enrichment_defaults_total{")]
    assert 'rendezvous_model="silent"' in line
    assert 'rendezvous_enrichment_reason="LATE"' in line
    assert line.endswith((" 1", " 1.0"))


def fetch(url: str) -> str:
    """Returns what is there as text."""
    with urllib.request.urlopen(url) as page:
        return str(page.read().decode())


async def in_force(stack: Stack, revision: int) -> None:
    """Waits until the router works by a revision."""

    async def is_so() -> bool:
        return bool((await stack.status())["endpoints"]["sum"]["revision"] >= revision)

    await eventually(is_so, f"revision {revision} is in force")


async def test_enrichers_come_and_go_under_load(stack: Stack) -> None:
    """An enricher is applied, joined by a second stage and removed while requests flow: none is lost."""
    async with running(stack, spec_with()) as client:
        start_enricher(stack, "history")
        start_enricher(stack, "rating", name="rating", stage=2)
        labels: list[str] = []
        stop = asyncio.Event()

        async def ask_on() -> None:
            while not stop.is_set():
                labels.append((await ask(client, (1.0, "x")))["label"][0])

        asking = [asyncio.create_task(ask_on()) for _ in range(6)]
        for enrichers, seen in (
            ({"history": HISTORY}, "first: loans=10 tag=x worst=None"),
            ({"history": HISTORY, "rating": RATING}, "first: loans=10 rating=x/10 tag=x worst=None"),
            ({}, "first: tag=x"),
            ({"history": HISTORY}, "first: loans=10 tag=x worst=None"),
        ):
            await stack.apply(spec_with(**enrichers))

            async def in_force(seen: str = seen) -> bool:
                return labels[-20:] == [seen] * 20

            await eventually(in_force, f"models see {seen}; now {labels[-3:]}")
        stop.set()
        await asyncio.gather(*asking)
    raw = {parcel.parcel_id for _, parcel in await parcels(stack, "raw")}
    inputs = {parcel.parcel_id for _, parcel in await parcels(stack, "input")}
    assert raw <= inputs, "every parcel that came has reached the models"

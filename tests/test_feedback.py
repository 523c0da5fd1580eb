"""Feedback through a real router into the postbox: kept as it comes, all of a call or none, an id once."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import nats
import pytest
from nats.aio.client import Client as NatsClient
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
    RendezvousError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnknownEndpointError,
)
from rendezvous_router.limits import TenantLimits
from rendezvous_sdk import AsyncClient, Client, ClientOptions, Outcome
from rendezvous_sdk.grpc_errors import from_rpc

from tests.support.feedback import outcomes_of, read_feedback
from tests.support.stack import ENDPOINT, Stack, eventually
from tests.support.tenants import TenantHouse

TABLE = {"a": [1.0], "b": [2], "tag": ["x"]}
MAY = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
JUNE = dt.datetime(2026, 6, 1, 12, 30, 0, 250_000, tzinfo=dt.UTC)


@pytest.fixture
async def postbox(stack: Stack) -> AsyncIterator[NatsClient]:
    """A router with the endpoint `sum`, and a connection to its nats-server."""
    await stack.apply(ENDPOINT)
    stack.start_router()
    client = await nats.connect(stack.server.url)
    try:
        yield client
    finally:
        await client.close()


async def test_outcomes_are_kept_as_they_come(stack: Stack, postbox: NatsClient) -> None:
    """Corrections, out of order, for requests that nobody knows: all are there, in the order of the calls."""
    first = Outcome.truth(1, request_id="r-1", row=0, observed_at=JUNE, source="collections")
    corrected_before = Outcome.truth(0, request_id="r-1", row=0, observed_at=MAY, output="total")
    known_by_key = Outcome.verdict("too strict", key=("customer_id", "C-17"))
    with Client(stack.address, "sum") as client:
        assert client.record(first) == [first.feedback_id]
        assert client.record([corrected_before, known_by_key]) == [
            corrected_before.feedback_id,
            known_by_key.feedback_id,
        ]
    kept = await outcomes_of(postbox)
    assert [outcome.feedback_id for outcome in kept] == [
        each.feedback_id for each in (first, corrected_before, known_by_key)
    ]
    assert kept[0].observed_unix_us == int(JUNE.timestamp()) * 1_000_000 + 250_000
    assert (kept[0].output, kept[0].number, kept[0].row, kept[0].source) == ("total", 1.0, 0, "collections")
    assert kept[0].HasField("row")
    assert not kept[2].HasField("row")
    assert (kept[2].key.name, kept[2].key.value, kept[2].text) == ("customer_id", "C-17", "too strict")
    assert abs(kept[2].observed_unix_us / 1e6 - time.time()) < 60, "not said: when the router took it"


async def test_a_repeated_call_is_kept_once(stack: Stack, postbox: NatsClient) -> None:
    """The same outcomes sent again, by another client through another router, too, leave nothing twice."""
    outcomes = [Outcome.reward(number, request_id=f"r-{number}") for number in range(3000)]
    async with AsyncClient(stack.address, "sum") as client:
        ids = await client.record(outcomes)
    stack.grpc_port += 1
    stack.start_router("--grpc-port", "0")
    assert stack.router is not None
    address = stack.router.ready_line.split("grpc ")[1].split(",")[0]
    async with AsyncClient(address, "sum") as client:
        assert await client.record(outcomes) == ids
    kept = await outcomes_of(postbox)
    assert [outcome.feedback_id for outcome in kept] == ids
    assert [outcome.number for outcome in kept] == [float(number) for number in range(3000)]
    assert len(await read_feedback(postbox)) > 1


async def test_one_wrong_outcome_keeps_all_of_its_call_out(stack: Stack, postbox: NatsClient) -> None:
    """A call of which one outcome is wrong is refused with its place and the reason; a sound one after it is kept."""
    sound = [Outcome.truth(1, request_id=f"r-{number}") for number in range(2000)]
    with Client(stack.address, "sum") as client:
        with pytest.raises(InvalidRequestError, match=r"outcomes\[2000\]: output 'lable'") as refused:
            client.record([*sound, Outcome.truth("x", request_id="r", output="lable")])
        assert refused.value.attributes["wrong"] == "1"
        assert "did you mean 'label'?" in refused.value.attributes["outcome.2000"]
        assert await outcomes_of(postbox) == []
        with pytest.raises(TooLargeError, match="10001"):
            client.record([Outcome.truth(1, request_id="r") for _ in range(10_001)])
        with pytest.raises(InvalidRequestError, match="there are none"):
            client.record([])
        client.record(sound[0])
    assert len(await outcomes_of(postbox)) == 1


async def test_unread_bytes_and_unknown_endpoints_are_refused(stack: Stack, postbox: NatsClient) -> None:
    """What is no request is refused, and so is an endpoint that is not there; left out, it is the only one."""
    async with grpc.aio.insecure_channel(stack.address) as channel:
        record = channel.unary_unary("/rendezvous.v1.Feedback/Record")
        bad_text = v1.RecordRequest(endpoint="sum", outcomes=[v1.Outcome(text="xyz")]).SerializeToString()
        for raw, expected in (
            (b"\xff", InvalidRequestError),
            (bad_text.replace(b"xyz", b"\xff\xfe\xfd"), InvalidRequestError),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await record(raw)
            assert isinstance(from_rpc(refused.value), expected)
    outcome = Outcome.truth(1, request_id="r")
    async with AsyncClient(stack.address, "sun") as client:
        with pytest.raises(UnknownEndpointError, match="did you mean 'sum'"):
            await client.record(outcome)
    async with AsyncClient(stack.address) as client:
        assert await client.record(outcome) == [outcome.feedback_id]
    assert len(await outcomes_of(postbox)) == 1


async def test_without_nats_server_it_is_unavailable_and_a_retry_counts_once(stack: Stack, postbox: NatsClient) -> None:
    """While nats-server is away calls are UNAVAILABLE; the same call, repeated until it is back, is kept once."""
    outcomes = [Outcome.truth(1, request_id=f"r-{number}") for number in range(5)]
    async with AsyncClient(stack.address, "sum") as client:
        await client.record(outcomes[0])
        stack.server.kill()
        patient = asyncio.create_task(client.record(outcomes, timeout=30))
        async with AsyncClient(stack.address, "sum", options=ClientOptions(timeout_s=0.5)) as hasty:
            with pytest.raises(UnavailableError):
                await hasty.record(outcomes)
        stack.server.start()
        assert await patient == [outcome.feedback_id for outcome in outcomes]
        await client.record(outcomes)
    back = await nats.connect(stack.server.url)
    try:
        kept = [outcome.feedback_id for outcome in await outcomes_of(back)]
    finally:
        await back.close()
    expected = [outcome.feedback_id for outcome in outcomes]
    assert list(dict.fromkeys(kept)) == expected, "nothing is lost"
    assert kept == [expected[0], *expected], "the first of them came in a call of its own, too; the rest once"


async def test_a_flood_of_feedback_is_bounded_and_starves_no_request(stack: Stack, postbox: NatsClient) -> None:
    """Under more calls than the router takes it refuses some, and answers requests by the model, in time."""
    await stack.apply({**ENDPOINT, "policy": {"deadline": "3s", "steps": [{"take": "best"}], "otherwise": "error"}})
    stack.start_model("tests.support.models:first")
    outcomes = [v1.Outcome(feedback_id=f"f-{n}", request_id=f"r-{n}", kind=1, number=n) for n in range(500)]
    raw = v1.RecordRequest(endpoint="sum", outcomes=outcomes).SerializeToString()
    ended: list[str] = []
    is_over = asyncio.Event()
    async with (
        AsyncClient(stack.address, "sum") as scoring,
        grpc.aio.insecure_channel(stack.address) as channel,
    ):
        record = channel.unary_unary("/rendezvous.v1.Feedback/Record")

        async def send_on() -> None:
            while not is_over.is_set():
                try:
                    await record(raw)
                    ended.append("kept")
                except grpc.aio.AioRpcError as error:
                    ended.append(type(from_rpc(error)).__name__)
                    await asyncio.sleep(0.1)

        await scoring.score(TABLE)
        async with asyncio.TaskGroup() as flood:
            for _ in range(80):
                flood.create_task(send_on())
            try:
                async with asyncio.timeout(10):
                    while OverloadedError.__name__ not in ended:  # noqa: ASYNC110 # the calls end by themselves
                        await asyncio.sleep(0.01)
                answers = [await scoring.score(TABLE) for _ in range(20)]
            finally:
                is_over.set()
    assert {answer.model for answer in answers} == {"first"}
    assert set(ended) == {"kept", OverloadedError.__name__}
    kept = [outcome.feedback_id for outcome in await outcomes_of(postbox)]
    assert kept == [f"f-{n}" for n in range(500)], "and the same call, again and again, is kept once"


@pytest.fixture
def house(tmp_path: Any) -> Any:
    """Two tenants."""
    made = TenantHouse(tmp_path, "bank", "shop")
    try:
        yield made
    finally:
        made.stop()


async def failure(house: TenantHouse, key: Any, endpoint: str = "sum") -> RendezvousError | None:
    """Returns why an outcome is refused; None: it is kept."""
    async with AsyncClient(house.stack.address, endpoint, key=None if key is None else key.text) as client:
        try:
            await client.record(Outcome.truth(1, request_id="r"))
        except RendezvousError as error:
            return error
    return None


async def test_tenants_and_scopes(house: TenantHouse) -> None:
    """A key for feedback records and does not score; another tenant's endpoint does not exist; rates count calls."""
    await house.apply("bank", {**ENDPOINT, "endpoint": "vault"})
    await house.apply("shop", ENDPOINT)
    house.start_router()
    bank, shop, scorer = (
        house.add_key("bank", "feedback"),
        house.add_key("shop", "feedback"),
        house.add_key("bank", "score"),
    )

    async def is_kept() -> bool:
        return await failure(house, scorer, "vault") is not None and await failure(house, bank, "vault") is None

    await eventually(is_kept, "the keys are known")
    refused = await failure(house, scorer, "vault")
    assert isinstance(refused, PermissionDeniedError)
    assert "no scope 'feedback'" in refused.message
    assert isinstance(await failure(house, None, "vault"), UnauthenticatedError)
    foreign, unknown = await failure(house, shop, "vault"), await failure(house, shop, "vaulx")
    assert isinstance(foreign, UnknownEndpointError)
    assert isinstance(unknown, UnknownEndpointError)
    assert foreign.message.replace("vault", "*") == unknown.message.replace("vaulx", "*")
    async with AsyncClient(house.stack.address, "vault", key=bank.text) as client:
        with pytest.raises(PermissionDeniedError):
            await client.score(TABLE)
    house.limit("shop", TenantLimits(requests_per_s=0.01, requests_burst=2, rows_per_s=1))

    async def is_limited() -> bool:
        return isinstance(await failure(house, shop), OverloadedError)

    await eventually(is_limited, "calls of feedback are counted as requests")
    for tenant, endpoint in (("bank", "vault"), ("shop", "sum")):
        client = await house.operator(tenant)
        try:
            assert {outcome.request_id for outcome in await outcomes_of(client, endpoint)} == {"r"}
        finally:
            await client.close()

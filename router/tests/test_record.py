"""Reading the record back from a real nats-server: in order, within times, leaving nothing behind."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
from nats.aio.client import Client
from rendezvous.spec import parse_spec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import (
    decision_subject,
    durable_stream,
    input_subject,
    score_stream,
    score_subject,
)
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.record import (
    find_decision,
    id_unix_us,
    read_decisions,
    read_parcels,
    read_scores,
    read_stream,
)
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.streams import ensure_streams
from rendezvous_sdk.nats_connection import connect

SPEC = parse_spec(
    {
        "endpoint": "credit",
        "inputs": [{"name": "amount", "type": "FP64"}],
        "outputs": [{"name": "risk", "type": "FP64"}],
        "models": {"boosted": {"role": "champion"}},
        "policy": {"deadline": "100ms", "steps": [{"take": "best"}]},
    }
)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection to a server that has the endpoint's specification and streams."""
    connection = await connect(nats_server.url, name="test", timeout_s=5)
    await SpecStore(connection).put(SPEC)
    await ensure_streams(connection, SPEC)
    yield connection
    await connection.close()


async def _decide(client: Client, *request_ids: str) -> None:
    records = [v1.DecisionRecord(decision=v1.Decision(request_id=each)) for each in request_ids]
    payload = v1.DecisionBatch(records=records).SerializeToString()
    await client.jetstream().publish(decision_subject("credit"), payload)


async def _consumers(client: Client) -> int:
    js = client.jetstream()
    streams = (durable_stream("credit"), score_stream("credit"))
    return sum([(await js.stream_info(name)).state.consumer_count for name in streams])


async def test_decisions_come_in_order_across_batches(client: Client) -> None:
    """Every decision of every batch is read, in the order stored, however many there are."""
    ids = [f"request-{number}" for number in range(300)]
    for start in range(0, 300, 2):
        await _decide(client, *ids[start : start + 2])
    seen = [record.decision.request_id async for record in read_decisions(client, "credit")]
    assert seen == ids
    assert await _consumers(client) == 0, "the reading's consumer is gone"


async def test_progress_is_told(client: Client) -> None:
    """Progress goes from the first messages to all of them."""
    for number in range(128):
        await _decide(client, f"request-{number}")
    told: list[tuple[int, int]] = []
    async for _ in read_decisions(client, "credit", on_progress=lambda *step: told.append(step)):
        pass
    assert told == [(64, 128), (128, 128)]


async def test_reading_keeps_to_the_times(client: Client) -> None:
    """Only what was stored between the two moments is read."""
    for number in range(5):
        await _decide(client, f"request-{number}")
    stream, subject = durable_stream("credit"), decision_subject("credit")
    times = [message.stored_unix_us async for message in read_stream(client, stream, subject)]
    seen = [r.decision.request_id async for r in read_decisions(client, "credit", times[1], times[3])]
    assert seen == ["request-1", "request-2", "request-3"]


async def test_reading_that_is_left_early_removes_its_consumer(client: Client) -> None:
    """Leaving an iteration and closing it leaves no consumer behind."""
    await _decide(client, "one")
    await _decide(client, "two")
    async with aclosing(read_decisions(client, "credit")) as decisions:
        async for _ in decisions:
            break
    assert await _consumers(client) == 0


async def test_stream_that_is_not_there_is_empty(client: Client) -> None:
    """An endpoint without streams has nothing to read."""
    assert [record async for record in read_decisions(client, "nobody")] == []


async def test_scores_come_with_their_time_and_garbage_is_left_out(client: Client) -> None:
    """Scores are read with the moment of storage; bytes that are no score do not end the reading."""
    subject = score_subject("credit", "boosted", "r1")
    await client.jetstream().publish(subject, v1.ParcelScore(parcel_id="p1").SerializeToString())
    await client.jetstream().publish(subject, b"\xff\xff garbage")
    await client.jetstream().publish(subject, v1.ParcelScore(parcel_id="p2").SerializeToString())
    scores = [(at > 1_600_000_000_000_000, score.parcel_id) async for at, score in read_scores(client, "credit")]
    assert scores == [(True, "p1"), (True, "p2")]


async def test_parcels_are_read(client: Client) -> None:
    """Input parcels are read, decisions on the same stream are not."""
    await client.jetstream().publish(input_subject("credit"), v1.Parcel(parcel_id="p1").SerializeToString())
    await _decide(client, "one")
    assert [parcel.parcel_id async for _, parcel in read_parcels(client, "credit")] == ["p1"]


@pytest.mark.parametrize("make_id", [new_id, lambda: "my-own-id", lambda: str(uuid.uuid4())])
@pytest.mark.parametrize("endpoint", ["credit", None])
async def test_decision_is_found_by_any_kind_of_id(
    client: Client, make_id: Callable[[], str], endpoint: str | None
) -> None:
    """A decision is found by an id that tells its time and by one that does not, with and without endpoint."""
    request_id = make_id()
    await _decide(client, "other", request_id)
    found = await find_decision(client, request_id, endpoint)
    assert found is not None
    assert (found.endpoint, found.record.decision.request_id) == ("credit", request_id)


async def test_decision_that_is_not_there_is_not_found(client: Client) -> None:
    """An unknown id finds nothing; a malformed one is refused."""
    await _decide(client, "other")
    assert await find_decision(client, new_id()) is None
    with pytest.raises(InvalidRequestError, match="request id"):
        await find_decision(client, "no dots.allowed")


@pytest.mark.parametrize(
    ("request_id", "unix_us"),
    [
        ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", 1_645_557_742_000_000),  # RFC 9562, appendix A.6
        ("919108f7-52d1-4320-9bac-f847db4148a8", None),  # version 4, the same, appendix A.3
        ("my-own-id", None),
    ],
)
def test_time_of_an_id(request_id: str, unix_us: int | None) -> None:
    """Version 7 tells its millisecond, nothing else does."""
    assert id_unix_us(request_id) == unix_us

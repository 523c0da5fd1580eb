"""A model served over gRPC, called by the clients and by hand: a real process."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pandas as pd
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_METADATA_KEY, ERROR_TABLE, ErrorCode, RendezvousError
from rendezvous_proto.frames import encode_frame
from rendezvous_router.nats_server import find_free_port
from rendezvous_sdk import AsyncClient, Client, ClientOptions
from rendezvous_sdk.calls import Attempts
from rendezvous_sdk.errors import (
    InvalidFrameError,
    ModelFailedError,
    NoAnswerError,
    OverloadedError,
    UnavailableError,
    UnknownEndpointError,
)
from rendezvous_sdk.grpc_errors import status_of

HALVES = {"x": [2.0, 4.0]}


@pytest.fixture(name="address")
def fixture_address(start_model: Any) -> str:
    """Where `served_models:halve` is served."""
    return str(start_model("halve", "--name", "m", "--no-postbox").wait_ready()[5])


def request(**fields: Any) -> v1.ScoreRequest:
    """A sound request, with some fields changed."""
    return v1.ScoreRequest(**{"inputs": encode_frame(HALVES), **fields})


def _torn_frame() -> v1.Frame:
    frame = encode_frame(HALVES)
    frame.columns[0].values = b"123"
    return frame


def test_bad_input_is_a_typed_error(address: str) -> None:
    """Each fault has its status, names what is wrong, and carries the whole error in the trailing metadata."""
    faults = [
        (request(endpoint="other"), ErrorCode.UNKNOWN_ENDPOINT, "'other'"),
        (request(request_id="a b"), ErrorCode.INVALID_REQUEST, "'a b'"),
        (request(inputs=v1.Frame()), ErrorCode.INVALID_FRAME, "0 rows"),
        (request(inputs=v1.Frame(rows=-1)), ErrorCode.INVALID_FRAME, "-1 rows"),
        (request(inputs=_torn_frame()), ErrorCode.INVALID_FRAME, "'x'"),
        (request(inputs=encode_frame({"x": [-1.0]})), ErrorCode.MODEL_FAILED, "x is negative"),
        (request(inputs=encode_frame({"y": [1.0]})), ErrorCode.MODEL_FAILED, "KeyError"),
        (request(diagnostics=v1.Diagnostics(force_model="z")), ErrorCode.UNKNOWN_MODEL, "'z'"),
    ]
    with grpc.insecure_channel(address) as channel:
        stub: Any = v1.ScoreStub(channel)  # type: ignore[no-untyped-call]
        for bad, code, message in faults:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Score(bad, timeout=5)
            error: Any = caught.value
            assert error.code().name == ERROR_TABLE[code].grpc_status
            carried = v1.Error.FromString(dict(error.trailing_metadata())[ERROR_METADATA_KEY])
            assert (int(carried.code), carried.message) == (code, error.details())
            assert message in carried.message
            assert "Traceback" not in carried.message


def test_every_code_has_a_grpc_status() -> None:
    """The table's names are gRPC's."""
    for code in ErrorCode:
        assert status_of(RendezvousError.of(code, "m")).name == ERROR_TABLE[code].grpc_status


def test_health_and_reflection(address: str) -> None:
    """Health is SERVING for the process and the service; reflection lists the service."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "rendezvous.v1.Score"):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = next(reflection.ServerReflectionInfo(asked, timeout=5))
        names = {service.name for service in answer.list_services_response.service}
        assert {"rendezvous.v1.Score", "grpc.health.v1.Health"} <= names


def test_the_client_scores(address: str) -> None:
    """Any table goes in; rows come back in order, as arrays, pandas or records."""
    with Client(address, "e") as client:
        for table in (HALVES, pd.DataFrame(HALVES), [{"x": 2.0}, {"x": 4.0}], encode_frame(HALVES)):
            answer = client.score(table, request_id="r-1")
            assert answer["half"].tolist() == [1.0, 2.0]
            assert (answer.request_id, answer.model, answer.version, answer.rows) == ("r-1", "m", "1", 2)
        assert answer.to_pandas()["half"].tolist() == [1.0, 2.0]
        assert answer.to_records()[1]["half"] == 2.0
        assert answer.decision is None
        assert client.describe().name == "m"
        assert "m" in repr(answer)
        with pytest.raises(ModelFailedError, match="x is negative"):
            client.score({"x": [-1.0]})
    with Client(address, "nowhere") as client, pytest.raises(UnknownEndpointError, match="nowhere"):
        client.score(HALVES)


async def test_the_async_client_scores(address: str) -> None:
    """The same over asyncio, many at a time."""
    async with AsyncClient(address) as client:
        answers = await asyncio.gather(*(client.score({"x": [float(i)]}) for i in range(50)))
        assert [answer["half"][0] for answer in answers] == [i / 2 for i in range(50)]
        with pytest.raises(ModelFailedError, match="x is negative"):
            await client.score({"x": [-1.0]})


def test_columns_go_as_declared(start_model: Any) -> None:
    """An integer column is sent as the FP64 that the model declares."""
    address = start_model("Declared", "--no-postbox").wait_ready()[5]
    with Client(address) as client:
        assert client.score({"x": [1, 2]})["half"].tolist() == [0.5, 1.0]
        with pytest.raises(InvalidFrameError, match="'x'"):
            client.score({"x": ["a"]})


def test_a_stream_keeps_order_and_survives_errors(address: str) -> None:
    """More tables than may be unanswered at once; a failing one is an answer with an error, the rest go on."""
    tables = [{"x": [-1.0 if i == 70 else float(i)]} for i in range(200)]
    with Client(address, options=ClientOptions(max_streamed=8)) as client:
        answers = list(client.stream(iter(tables)))
    assert len(answers) == 200
    assert isinstance(answers[70].error, ModelFailedError)
    with pytest.raises(ModelFailedError):
        answers[70].to_dict()
    assert [a["half"][0] for a in answers if a.error is None] == [i / 2 for i in range(200) if i != 70]


async def test_an_async_stream_keeps_order(address: str) -> None:
    """Synchronous and asynchronous sources of tables alike."""

    async def tables() -> AsyncIterator[dict[str, Any]]:
        for i in range(50):
            yield {"x": [float(i)]}

    async with AsyncClient(address, options=ClientOptions(max_streamed=4)) as client:
        for source in (tables(), [{"x": [float(i)]} for i in range(50)]):
            halves = [answer["half"][0] async for answer in client.stream(source)]
            assert halves == [i / 2 for i in range(50)]


def test_a_source_that_fails_ends_the_stream_with_its_error(address: str) -> None:
    """What the iterable raises reaches the caller."""

    def tables() -> Iterator[dict[str, Any]]:
        yield HALVES
        raise LookupError("no more")

    with Client(address) as client, pytest.raises(LookupError, match="no more"):
        list(client.stream(tables()))


async def test_an_async_source_that_fails_ends_the_stream_with_its_error(address: str) -> None:
    """What the iterable raises reaches the caller."""

    def tables() -> Iterator[dict[str, Any]]:
        yield HALVES
        raise LookupError("no more")

    async with AsyncClient(address) as client:
        with pytest.raises(LookupError, match="no more"):
            [answer async for answer in client.stream(tables())]


def test_a_missing_server_is_retried_until_the_deadline() -> None:
    """UNAVAILABLE is tried again while there is time, and then raised; the call takes no longer than asked."""
    began = time.monotonic()
    with Client(f"127.0.0.1:{find_free_port()}") as client, pytest.raises((UnavailableError, NoAnswerError)):
        client.score(HALVES, timeout=0.5)
    assert time.monotonic() - began < 2.0


def test_a_call_outlives_a_restart(start_model: Any) -> None:
    """A client that calls before its server is there gets its answer once it is."""
    port = find_free_port()
    served = start_model("halve", "--no-postbox", "--grpc-port", str(port))
    with Client(f"127.0.0.1:{port}") as client:
        assert client.score(HALVES, timeout=40)["half"].tolist() == [1.0, 2.0]
    served.process.terminate()
    assert served.process.wait(10) == 0


def test_a_deadline_is_kept(start_model: Any) -> None:
    """A model that takes too long: NO_ANSWER at the deadline, by both clients."""
    address = start_model("sleep", "--no-postbox").wait_ready()[5]
    with Client(address) as client:
        client.describe()
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            client.score({"x": [2.0]}, timeout=0.3)
        assert time.monotonic() - began < 1.5


def test_a_taken_port_is_named(start_model: Any, address: str) -> None:
    """A second server on the same port does not share it in silence."""
    port = address.rpartition(":")[2]
    second = start_model("halve", "--no-postbox", "--grpc-port", port)
    assert second.process.wait(40) == 1
    second.end()
    assert f"cannot listen on 127.0.0.1:{port}" in "".join(second.lines)


def test_retries_are_for_retryable_codes_and_while_there_is_time() -> None:
    """UNAVAILABLE and OVERLOADED pause and grow; others, and the last moment, raise the error itself."""
    options = ClientOptions(first_pause_s=0.1, last_pause_s=0.2)
    attempts = Attempts(options, 60)
    pauses = [attempts.pause_after(OverloadedError("full")) for _ in range(4)]
    assert all(0.05 <= pause <= 0.3 for pause in pauses)
    for final in (NoAnswerError("late"), ModelFailedError("bad")):
        with pytest.raises(type(final)):
            attempts.pause_after(final)
    with pytest.raises(UnavailableError):
        Attempts(options, 0.001).pause_after(UnavailableError("gone"))
    with pytest.raises(RendezvousError, match="timeout is 0 s"):
        Attempts(options, 0)

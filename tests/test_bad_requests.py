"""Bad input: each kind gets a clear error with the right status, naming what is wrong and the limit."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import Column, DataType, Frame, ScoreReply, ScoreRequest
from rendezvous_sdk import AsyncClient

from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack

GOOD: dict[str, Any] = {"a": [1.0, 2.0], "b": [1, 2], "tag": ["x", "y"]}
SPEC: dict[str, Any] = {**ENDPOINT, "limits": {"max_rows": 10, "max_bytes": 4096}}


def frame(change: Callable[[Frame], object] = lambda _: None) -> Frame:
    """Returns a good frame after *change*."""
    made = encode_frame(GOOD)
    change(made)
    return made


def request(change: Callable[[Frame], object] = lambda _: None, **fields: Any) -> bytes:
    """Returns a serialized request."""
    return ScoreRequest(**{"endpoint": "sum", **fields}, inputs=frame(change)).SerializeToString()


def drop_column(made: Frame) -> None:
    """Removes the second column."""
    del made.columns[1]


def add_column(made: Frame) -> None:
    """Adds a column that nobody asked for."""
    made.columns.append(Column(name="extra", type=DataType.DATA_TYPE_STRING, strings=["p", "q"]))


def repeat_column(made: Frame) -> None:
    """Names two columns alike."""
    made.columns.append(made.columns[0])


def retype(made: Frame) -> None:
    """Sends INT64 where FP64 is declared."""
    made.columns[0].type = DataType.DATA_TYPE_INT64


def reshape(made: Frame) -> None:
    """Sends vectors where scalars are declared."""
    made.columns[0].shape.append(2)
    made.columns[0].values += made.columns[0].values


def long_bitmap(made: Frame) -> None:
    """Sends a bitmap of two bytes for two rows."""
    made.columns[0].missing = b"\x01\x00"


def forbidden_missing(made: Frame) -> None:
    """Leaves out a row's value where the signature wants one."""
    made.columns[0].missing = b"\x01"


def short_values(made: Frame) -> None:
    """Cuts a column's bytes."""
    made.columns[0].values = made.columns[0].values[:-1]


def not_a_number(made: Frame) -> None:
    """Sends NaN where the signature wants numbers."""
    made.columns[0].values = encode_frame({"a": [float("nan"), 1.0]}).columns[0].values


BAD: dict[str, tuple[bytes, str, list[str]]] = {
    "unknown endpoint": (request(endpoint="sun"), "NOT_FOUND", ["'sun'", "did you mean 'sum'"]),
    "malformed request id": (request(request_id="a b"), "INVALID_ARGUMENT", ["request id", "a b", "64"]),
    "missing column": (request(drop_column), "INVALID_ARGUMENT", ["'b'"]),
    "extra column": (request(add_column), "INVALID_ARGUMENT", ["'extra'"]),
    "duplicate columns": (request(repeat_column), "INVALID_ARGUMENT", ["'a'"]),
    "wrong type": (request(retype), "INVALID_ARGUMENT", ["'a'", "INT64", "FP64"]),
    "wrong shape": (request(reshape), "INVALID_ARGUMENT", ["'a'", "shape"]),
    "zero rows": (
        ScoreRequest(
            endpoint="sum",
            inputs=encode_frame({"a": [], "b": [], "tag": []}, types={"a": "FP64", "b": "INT64", "tag": "STRING"}),
        ).SerializeToString(),
        "INVALID_ARGUMENT",
        ["rows = 0", "at least 1"],
    ),
    "negative rows": (request(lambda made: setattr(made, "rows", -3)), "INVALID_ARGUMENT", ["-3"]),
    "too many rows": (
        ScoreRequest(
            endpoint="sum", inputs=encode_frame({"a": [1.0] * 11, "b": [1] * 11, "tag": ["x"] * 11})
        ).SerializeToString(),
        "INVALID_ARGUMENT",
        ["11 rows", "10"],
    ),
    "too many bytes": (
        ScoreRequest(endpoint="sum", inputs=encode_frame({**GOOD, "tag": ["x" * 5000, "y"]})).SerializeToString(),
        "INVALID_ARGUMENT",
        ["bytes", "4096"],
    ),
    "bitmap of the wrong length": (request(long_bitmap), "INVALID_ARGUMENT", ["'a'", "bitmap"]),
    "missing where not allowed": (request(forbidden_missing), "INVALID_ARGUMENT", ["'a'", "missing"]),
    "NaN where not allowed": (request(not_a_number), "INVALID_ARGUMENT", ["'a'", "nan", "finite"]),
    "values of the wrong length": (request(short_values), "INVALID_ARGUMENT", ["'a'", "15", "16"]),
    "bad UTF-8": (request().replace(b"\x01x", b"\x01\xff"), "INVALID_ARGUMENT", ["tag", "UTF-8"]),
    "no message at all": (b"\xff\xff\xff\xff", "INVALID_ARGUMENT", ["ScoreRequest"]),
    "unknown model forced": (
        request(diagnostics={"force_model": "frist"}),
        "NOT_FOUND",
        ["'frist'", "did you mean 'first'"],
    ),
    "too much context": (
        request(context={str(number): "x" for number in range(65)}),
        "INVALID_ARGUMENT",
        ["context", "65", "64"],
    ),
}


async def test_each_bad_request_gets_its_own_clear_error(stack: Stack) -> None:
    """Unary and streamed alike; and the requests before, between and after them are answered."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    async with Caller(stack.address) as caller:
        for what, (raw, status, words) in BAD.items():
            with pytest.raises(RendezvousError) as caught:
                await caller.send(raw)
            assert caught.value.facts.grpc_status == status, what
            for word in words:
                assert word in caught.value.message, f"{what}: {caught.value.message}"
            assert (await caller.score(GOOD)).model == "first"
    async with grpc.aio.insecure_channel(stack.address) as channel:
        raws = [raw for bad, _, _ in BAD.values() for raw in (bad, request(request_id="good"))]
        stream = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(iter_raw(raws))
        replies = [ScoreReply.FromString(reply) async for reply in stream]
    assert len(replies) == len(raws)
    errors = [reply.error.message for reply in replies if reply.HasField("error")]
    assert len(errors) == len(BAD)
    for what, (_, _, words) in BAD.items():
        assert any(all(word in message for word in words) for message in errors), what
    status = await stack.status()
    assert status["endpoints"]["sum"]["unavailable"] == 0


async def iter_raw(raws: list[bytes]) -> Any:
    """Yields *raws*, as a request stream."""
    for raw in raws:
        yield raw


async def test_an_expired_deadline_is_told(stack: Stack) -> None:
    """A call whose deadline has passed ends with DEADLINE_EXCEEDED and leaves nothing in the postbox."""
    await stack.apply(SPEC)
    stack.start_router()
    async with Caller(stack.address) as caller:
        with pytest.raises(RendezvousError) as caught:
            await caller.score(GOOD, timeout_s=0.0)
    assert caught.value.facts.grpc_status == "DEADLINE_EXCEEDED"
    assert (await stack.status())["endpoints"].get("sum", {}).get("requests", 0) == 0


async def test_a_request_id_used_for_other_content_is_refused_and_a_retry_gets_the_same_answer(stack: Stack) -> None:
    """The same bytes again: the same answer, not scored again. Other bytes under that id: a conflict."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    async with Caller(stack.address) as caller:
        one, other = await asyncio.gather(*[caller.score(GOOD, request_id="same") for _ in range(2)])
        later = await caller.score(GOOD, request_id="same")
        assert one == other == later
        with pytest.raises(RendezvousError) as caught:
            await caller.score({**GOOD, "a": [9.0, 9.0]}, request_id="same")
    assert caught.value.facts.grpc_status == "ALREADY_EXISTS"
    assert "'same'" in caught.value.message

    async def requests() -> int:
        return int((await stack.status())["endpoints"]["sum"]["requests"])

    counted = (await stack.model_counts("first", lambda counts: counts["scored"] >= 1))["scored"]
    assert counted == await requests() == 1


async def test_more_in_flight_than_allowed_is_refused_with_the_limit(stack: Stack) -> None:
    """Admission: beyond the limit RESOURCE_EXHAUSTED at once, naming limit and setting; the accepted are answered."""
    slow_policy = {**ENDPOINT["policy"], "steps": [{"take": "first"}]}
    await stack.apply({**ENDPOINT, "policy": slow_policy, "limits": {"max_in_flight": 5}})
    stack.start_router()
    stack.start_faulty("hung")
    async with Caller(stack.address) as caller:
        results = await asyncio.gather(*[caller.score(GOOD) for _ in range(20)], return_exceptions=True)
    refused = [result for result in results if isinstance(result, RendezvousError)]
    assert len(refused) == 15
    for error in refused:
        assert error.facts.grpc_status == "RESOURCE_EXHAUSTED"
        assert error.retryable
        assert "max_in_flight" in error.message
        assert "5" in error.message
    answered = [result for result in results if isinstance(result, ScoreReply)]
    assert [reply.decision.rule for reply in answered] == ["otherwise"] * 5


async def test_columns_in_another_order_and_missing_values_where_allowed_are_taken(stack: Stack) -> None:
    """What is merely unusual is no error: order of columns, and rows missing where the signature allows it."""
    inputs = [{**column, "missing": True} if column["name"] == "tag" else column for column in ENDPOINT["inputs"]]
    await stack.apply({**ENDPOINT, "inputs": inputs})
    stack.start_router()
    stack.start_model("tests.support.models:first")
    async with AsyncClient(stack.address, endpoint="sum") as client:
        answers = await asyncio.gather(
            client.score({"tag": ["x", None], "b": [1, 2], "a": [0.5, 0.5]}),
            client.score({"a": [0.5, 0.5], "b": [1, 2], "tag": ["x", "y"]}),
        )
    assert [list(answer["total"]) for answer in answers] == [[1.5, 2.5]] * 2


async def test_a_streamed_request_that_does_not_parse_is_answered_under_its_own_id(stack: Stack) -> None:
    """Text that is not UTF-8 fails that request alone, and the client can tell which one it was."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    bad = request(request_id="bad").replace(b"\x01x", b"\x01\xff")
    async with grpc.aio.insecure_channel(stack.address) as channel:
        stream = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(
            iter_raw([request(request_id="one"), bad, request(request_id="two")])
        )
        replies = [ScoreReply.FromString(reply) async for reply in stream]
    failed = {reply.request_id: reply.HasField("error") for reply in replies}
    assert failed == {"one": False, "bad": True, "two": False}


async def test_a_client_that_does_not_read_its_stream_is_not_read_from_either(stack: Stack) -> None:
    """The router keeps a bounded number of answers for a stream; the rest of the requests stays with the client."""
    await stack.apply(SPEC)
    stack.start_router()
    stack.start_model("tests.support.models:first")
    sent = 0

    async def write_on() -> Any:
        nonlocal sent
        while True:
            yield request()
            sent += 1

    async with grpc.aio.insecure_channel(stack.address) as channel:
        stream = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(write_on())
        counts = [-1, -1, 0]
        while counts[-1] == 0 or len(set(counts[-3:])) > 1:  # until the number of requests taken stands still
            await asyncio.sleep(1.5)
            status = await stack.status()
            counts.append(status["endpoints"].get("sum", {}).get("requests", 0))
            assert counts[-1] < 20_000
        stream.cancel()
    assert sent >= counts[-1]

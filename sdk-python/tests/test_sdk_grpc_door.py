"""The gRPC door in this process: what does not parse, what is not read, what is too much."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_METADATA_KEY, ErrorCode, InvalidFrameError
from rendezvous_proto.frames import encode_frame
from rendezvous_sdk.grpc_errors import trailing_metadata
from rendezvous_sdk.grpc_server import GrpcServer
from rendezvous_sdk.model import as_model, model
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.scoring import ParcelScorer
from rendezvous_sdk.thread import ModelThread

SCORE, STREAM, DESCRIBE = (f"/rendezvous.v1.Score/{name}" for name in ("Score", "ScoreStream", "Describe"))


def zeros(table: dict[str, Any]) -> dict[str, Any]:
    """4 KB for each row."""
    return {"p": np.zeros((len(next(iter(table.values()))), 500))}


@asynccontextmanager
async def served(score: Any = zeros, **options: Any) -> AsyncIterator[Any]:
    """A model's door, with a channel to it."""
    thread = ModelThread(60)
    scorer = ParcelScorer(as_model(score), endpoint="e", name="m", version="1", replica="r", limited=thread.limited)
    named = ServeOptions(endpoint="e", name="m", postbox=False, **options)
    server = GrpcServer(scorer=scorer, thread=thread, options=named, info=v1.ModelInfo(name="m"))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop(0)
        thread.stop()


def request(request_id: str = "good", **fields: Any) -> bytes:
    """A sound request, with some fields changed."""
    return v1.ScoreRequest(
        **{"request_id": request_id, "inputs": encode_frame({"x": [1.0]}), **fields}
    ).SerializeToString()


BAD_TEXT = request("bad", inputs=encode_frame({"purpose": ["ZZZZ"]})).replace(b"ZZZZ", b"\xff\xfe\xfd\xfc")


async def refusal_of(channel: Any, raw: bytes, method: str = SCORE) -> tuple[grpc.StatusCode, v1.Error]:
    """Calls and returns status and error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(method)(raw, timeout=20)
    trailer = dict(caught.value.trailing_metadata()).get(ERROR_METADATA_KEY)
    assert isinstance(trailer, bytes), (caught.value.code(), caught.value.details())
    return caught.value.code(), v1.Error.FromString(trailer)


async def test_bytes_that_do_not_parse_are_refused_by_name() -> None:
    """Text that is not UTF-8 names its column; what is no message at all is said to be none."""
    async with served() as channel:
        for raw, method, code, message in (
            (BAD_TEXT, SCORE, ErrorCode.INVALID_FRAME, "column 'purpose': element 0"),
            (b"\xff\xff\xff", SCORE, ErrorCode.INVALID_REQUEST, "not a rendezvous.v1.ScoreRequest"),
            (b"\xff\xff\xff", DESCRIBE, ErrorCode.INVALID_REQUEST, "not a rendezvous.v1.DescribeRequest"),
        ):
            status, error = await refusal_of(channel, raw, method)
            assert (status, int(error.code)) == (grpc.StatusCode.INVALID_ARGUMENT, code)
            assert message in error.message


async def test_a_stream_goes_on_after_bytes_that_do_not_parse() -> None:
    """Each request is answered under its own id, the bad one too."""

    async def requests() -> AsyncIterator[bytes]:
        for raw in (request("one"), BAD_TEXT, b"\xff\xff\xff", request("two")):
            yield raw

    async with served() as channel, asyncio.timeout(20):
        replies = [v1.ScoreReply.FromString(raw) async for raw in channel.stream_stream(STREAM)(requests())]
    codes = {reply.request_id: int(reply.error.code) for reply in replies}
    assert len(replies) == 4
    assert codes == {"one": 0, "bad": ErrorCode.INVALID_FRAME, "": ErrorCode.INVALID_REQUEST, "two": 0}


async def test_a_stream_that_cannot_be_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault while a request is taken ends the call with an error rather than never."""

    def fail(_raw: bytes) -> None:
        raise KeyError("x")

    monkeypatch.setattr("rendezvous_sdk.grpc_server.parse_score_request", fail)

    async def requests() -> AsyncIterator[bytes]:
        yield request()

    async with served() as channel, asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [raw async for raw in channel.stream_stream(STREAM)(requests())]
    assert caught.value.code() == grpc.StatusCode.INTERNAL


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    """Answers do not pile up: a stream is read no further than its window while its answers are not taken."""
    scored = 0

    def count(table: dict[str, Any]) -> dict[str, Any]:
        nonlocal scored
        scored += 1
        return zeros(table)

    raw = request(inputs=encode_frame({"x": [1.0] * 100}))  # answered with 400 KB
    async with served(count) as channel:
        call: Any = channel.stream_stream(STREAM)()

        async def write() -> None:
            # HTTP/2 holds the client back once the server reads no more; what fits into the windows passes.
            for _ in range(1000):
                await call.write(raw)

        await asyncio.wait([asyncio.ensure_future(write())], timeout=2)
        call.cancel()
        assert scored < 200


async def test_too_many_waiting_calls_are_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a call is refused at once, retryable; the others are answered."""
    monkeypatch.setattr("rendezvous_sdk.grpc_server._MOST_WAITING", 3)
    begun, go = threading.Event(), threading.Event()

    def wait(table: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        go.wait(20)
        return zeros(table)

    async with served(wait) as channel:
        call = channel.unary_unary(SCORE)
        first = call(request(), timeout=20)
        await asyncio.to_thread(begun.wait, 20)
        others = [asyncio.ensure_future(call(request(), timeout=20)) for _ in range(6)]
        refused, waiting = await asyncio.wait(others, timeout=2)
        assert (len(refused), len(waiting)) == (3, 3)
        status, error = await refusal_of(channel, request())
        assert (status, int(error.code)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, ErrorCode.OVERLOADED)
        go.set()
        await first
        await asyncio.gather(*waiting)
        assert all(isinstance(each.exception(), grpc.aio.AioRpcError) for each in refused)


@pytest.mark.parametrize("rows", [1_000_001, 2**62])
async def test_claimed_rows_are_limited(rows: int) -> None:
    """A column of width 0 may claim any number of rows: refused before anything is made of them."""
    column = v1.Column(name="x", type=v1.DataType.DATA_TYPE_FP64, shape=[0])
    async with served() as channel:
        status, error = await refusal_of(channel, request(inputs=v1.Frame(rows=rows, columns=[column])))
    assert (status, int(error.code)) == (grpc.StatusCode.INVALID_ARGUMENT, ErrorCode.TOO_LARGE)


@pytest.mark.parametrize("text", ["e", "\n", "é", "猫", "🙂"])
@pytest.mark.parametrize("times", [81, 20_000, 100_000])
async def test_echoes_are_cut(text: str, times: int) -> None:
    """However long a name is, its refusal arrives as what it is, with the whole error."""
    name = text * times
    many = {f"{text}{index}": [1.0] for index in range(400)}
    faults = [
        (request(endpoint=name), ErrorCode.UNKNOWN_ENDPOINT),
        (request(diagnostics=v1.Diagnostics(force_model=name)), ErrorCode.UNKNOWN_MODEL),
        (request(name), ErrorCode.INVALID_REQUEST),
        (request(inputs=encode_frame(many | {name: [1.0]})), ErrorCode.SIGNATURE_MISMATCH),
    ]
    declared = model(outputs={"p": "FP64"}, inputs={"x": "FP64"})(zeros)
    async with served(declared) as channel:
        for raw, code in faults:
            _status, error = await refusal_of(channel, raw)
            assert int(error.code) == code
            assert len(error.message) <= 1000
            assert all(len(value) <= 90 for value in error.attributes.values())


@pytest.mark.parametrize("text", ["e", "é", "猫", "🙂"])
def test_an_errors_metadata_is_bounded(text: str) -> None:
    """Status and trailer stay below 8 KiB, where gRPC begins to refuse, whatever the error says."""
    error = InvalidFrameError(text * 5000, {f"{index}{text * 100}": text * 3000 for index in range(100)})
    ((_key, carried),) = trailing_metadata(error)
    assert len(quote(error.message)) + len(carried) * 4 / 3 < 7500
    assert v1.Error.FromString(carried).message == error.message

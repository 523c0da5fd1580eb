"""Limits as a client meets them: status, what is said, and when to come back."""

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from rendezvous_proto.errors import OverloadedError, RequestIdConflictError, TooLargeError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import ErrorCode, ScoreReply, ScoreRequest
from rendezvous_sdk import AsyncClient
from rendezvous_sdk.grpc_errors import from_rpc

from tests.support.caller import Caller
from tests.support.stack import ENDPOINT, Stack

ROW: dict[str, Any] = {"a": [1.0], "b": [1], "tag": ["x"]}
FAST: dict[str, Any] = {
    **ENDPOINT,
    "models": {"first": {"role": "champion"}},
    "policy": {"deadline": "2s", "steps": [{"take": "best"}]},
}


def rows(count: int) -> dict[str, Any]:
    """ROW, *count* times."""
    return {name: values * count for name, values in ROW.items()}


async def limited(stack: Stack, **limits: Any) -> None:
    """Starts a router and a model of an endpoint with these limits."""
    await stack.apply({**FAST, "limits": limits})
    stack.start_router()
    stack.start_model("tests.support.models:first")


async def test_a_refusal_names_the_limit_and_when_to_retry(stack: Stack) -> None:
    """Over the rate a request ends RESOURCE_EXHAUSTED with limit, value and time; after that time it is answered."""
    await limited(stack, requests_per_s=2, requests_burst=3)
    async with grpc.aio.insecure_channel(stack.address) as channel:
        score = channel.unary_unary("/rendezvous.v1.Score/Score")
        raw = ScoreRequest(endpoint="sum", inputs=encode_frame(ROW)).SerializeToString()
        for _ in range(3):
            await score(raw, timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await score(raw, timeout=5)
        error = from_rpc(caught.value)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(error, OverloadedError)
        wait_ms = int(error.attributes.pop("retry_after_ms"))
        expected = {"setting": "limits.requests_per_s", "of": "endpoint sum", "limit": "2", "actual": "1"}
        assert error.attributes == expected
        assert "endpoint sum takes 2 requests a second (limits.requests_per_s), 3 at once" in error.message
        assert ("retry-after-ms", str(wait_ms)) in tuple(caught.value.trailing_metadata() or ())
        assert 0 < wait_ms <= 500
        await asyncio.sleep(wait_ms / 1000)
        await score(raw, timeout=5)


async def test_rows_and_bytes_have_rates_too(stack: Stack) -> None:
    """More rows than are left: later; more rows or bytes than there ever are: too large; a retry costs none."""
    await limited(stack, rows_per_s=10, rows_burst=20, bytes_per_s=10_000)
    async with Caller(stack.address) as caller:
        with pytest.raises(TooLargeError, match=r"at most 20 rows at once \(limits\.rows_burst\)"):
            await caller.score(rows(21))
        with pytest.raises(TooLargeError, match=r"at most 10000 bytes at once \(limits\.bytes_burst\)"):
            await caller.score({**ROW, "tag": ["x" * 10_000]})
        first = await caller.score(rows(20), request_id="first")  # nothing was taken by the refused
        with pytest.raises(OverloadedError, match="20 asked for") as caught:
            await caller.score(rows(20))
        assert 1000 < int(caught.value.attributes["retry_after_ms"]) <= 2000
        again = await caller.score(rows(20), request_id="first")  # nothing is scored, so no rows are counted
    assert again.outputs == first.outputs


async def test_a_known_id_does_not_carry_bytes_past_their_rate(stack: Stack) -> None:
    """What comes under an id that is known costs its bytes, also where it is refused for its other content."""
    await limited(stack, bytes_per_s=1_000, bytes_burst=10_000)
    async with Caller(stack.address) as caller:
        large = {**ROW, "tag": ["x" * 4_000]}
        await caller.score(large, request_id="first")
        with pytest.raises(RequestIdConflictError):
            await caller.score({**large, "a": [2.0]}, request_id="first")
        for content in (large, {**large, "a": [2.0]}):
            with pytest.raises(OverloadedError, match="bytes"):
                await caller.score(content, request_id="first")


async def test_in_a_stream_each_request_is_let_in_or_refused_by_itself(stack: Stack) -> None:
    """Of a stream faster than the rate, as many are answered as the burst allows; the others say when to retry."""
    await limited(stack, requests_per_s=1, requests_burst=5)
    async with grpc.aio.insecure_channel(stack.address) as channel:
        call = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(timeout=20)
        for number in range(12):
            request = ScoreRequest(request_id=f"r-{number}", endpoint="sum", inputs=encode_frame(ROW))
            await call.write(request.SerializeToString())
        await call.done_writing()
        replies = [ScoreReply.FromString(reply) async for reply in call]
    assert sorted(reply.request_id for reply in replies) == sorted(f"r-{number}" for number in range(12))
    refused = [reply.error for reply in replies if reply.HasField("error")]
    assert Counter(error.code for error in refused) == {ErrorCode.ERROR_CODE_OVERLOADED: 7}
    assert all(0 < int(error.attributes["retry_after_ms"]) <= 1000 for error in refused)


async def test_a_patient_client_gets_all_its_answers(stack: Stack) -> None:
    """The SDK's client retries what was refused until its deadline: 12 requests at 10 a second and a burst of 2."""
    await limited(stack, requests_per_s=10, requests_burst=2)
    async with AsyncClient(stack.address, endpoint="sum") as client:
        answers = await asyncio.gather(*[client.score(ROW, timeout=10) for _ in range(12)])
    assert len({answer.request_id for answer in answers}) == 12

"""The same request sent again: one answer, scored once, as long as docs/limits.md says."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from rendezvous_proto.errors import NoAnswerError, RendezvousError, RequestIdConflictError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import ScoreReply, ScoreRequest

from tests.support.caller import Caller
from tests.support.counting import NOTES, scored
from tests.support.stack import ENDPOINT, Stack

WINDOW_S = 2.5
ALONE: dict[str, Any] = {
    **ENDPOINT,
    "models": {"counting": {"role": "champion"}},
    "policy": {"deadline": "2s", "steps": [{"take": "best"}], "otherwise": "error"},
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033{:02x}-01"


@pytest.fixture
async def notes(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router with a short memory and endpoints `sum` and `other`; the file into which their model writes."""
    notes = tmp_path / "scored"
    monkeypatch.setenv(NOTES, str(notes))
    for endpoint in ("sum", "other"):
        await stack.apply({**ALONE, "endpoint": endpoint})
    stack.start_router("--repeat-window", str(WINDOW_S))
    for endpoint in ("sum", "other"):
        stack.start_model("tests.support.counting:counting", endpoint=endpoint, name="counting")
    return notes


def request(request_id: str, *, rows: Sequence[str] = ("x",), number: int = 0, **fields: Any) -> bytes:
    """A request, its columns in an order and with a trace that differ from number to number."""
    table: dict[str, Any] = {"a": [1.5] * len(rows), "b": [2] * len(rows), "tag": list(rows)}
    if number % 2:
        table = dict(reversed(table.items()))
    made = ScoreRequest(
        request_id=request_id, endpoint="sum", inputs=encode_frame(table), traceparent=TRACE.format(number)
    )
    made.MergeFrom(ScoreRequest(**fields))
    return made.SerializeToString()


async def stream(address: str, requests: Sequence[bytes]) -> list[ScoreReply]:
    """Sends *requests* in one stream."""

    async def all_of_them() -> AsyncIterator[bytes]:
        for each in requests:
            yield each

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream("/rendezvous.v1.Score/ScoreStream")(all_of_them(), timeout=10)
        return [ScoreReply.FromString(reply) async for reply in call]


async def refusal(caller: Caller, raw: bytes) -> RendezvousError:
    """Returns the error of a request that must be refused."""
    with pytest.raises(RendezvousError) as caught:
        await caller.send(raw)
    return caught.value


async def test_a_request_sent_ten_times_at_once_is_scored_once(stack: Stack, notes: Path) -> None:
    """Five unary calls and five in a stream share one id: one scoring, and ten times the same answer."""
    async with Caller(stack.address) as caller:
        unary = [caller.send(request("ten", number=number)) for number in range(5)]
        streamed, *replies = await asyncio.gather(
            stream(stack.address, [request("ten", number=number) for number in range(5, 10)]), *unary
        )
    answers = [*streamed, *replies]
    assert [reply.error.message for reply in answers] == [""] * 10
    assert len({reply.outputs.SerializeToString() for reply in answers}) == 1
    assert scored(notes) == {"x": 1}


async def test_an_answer_is_kept_for_the_window_and_no_longer(stack: Stack, notes: Path) -> None:
    """After a second the answer is the one given before; after the window the request is scored again."""
    async with Caller(stack.address) as caller:
        began = time.monotonic()
        first = await caller.send(request("again"))
        await asyncio.sleep(1 - (time.monotonic() - began))
        (second,) = await stream(stack.address, [request("again", number=1)])
        assert second.outputs == first.outputs
        assert scored(notes) == {"x": 1}
        await asyncio.sleep(WINDOW_S + 0.2 - (time.monotonic() - began))
        third = await caller.send(request("again"))
    assert third.outputs != first.outputs
    assert scored(notes) == {"x": 2}


async def test_an_id_stands_for_one_request_of_one_endpoint(stack: Stack, notes: Path) -> None:
    """The id with other rows or context is refused over either method; at another endpoint it is another request."""
    async with Caller(stack.address) as caller:
        await caller.send(request("mine"))
        for other in (request("mine", rows=("y",)), request("mine", context={"k": "v"})):
            error = await refusal(caller, other)
            assert isinstance(error, RequestIdConflictError)
            (reply,) = await stream(stack.address, [other])
            assert reply.error.message == error.message
            assert reply.request_id == "mine"
        elsewhere = await caller.send(request("mine", rows=("z",), endpoint="other"))
    assert elsewhere.model == "counting"
    assert scored(notes) == {"x": 1, "z": 1}


async def test_a_retry_after_a_failure_is_a_new_attempt(stack: Stack, notes: Path) -> None:
    """A request that had no answer by its deadline is not remembered: sent again with more time, it is answered."""
    async with Caller(stack.address) as caller:
        await caller.send(request("warm", rows=("warm",)))
        (late,) = await asyncio.gather(caller.send(request("late"), timeout_s=0.1), return_exceptions=True)
        assert isinstance(late, NoAnswerError), late
        answer = await caller.send(request("late"))
    assert answer.model == "counting"
    assert scored(notes)["x"] == 2  # nobody takes a parcel back from a model

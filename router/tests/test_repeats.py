"""Retries: what makes two requests the same, and how much is remembered."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from rendezvous_proto.errors import RequestIdConflictError, UnavailableError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import Column, Frame, Provenance, ScoreReply, ScoreRequest
from rendezvous_router.repeats import ENTRY_BYTES, Repeats, content_of

TABLE: dict[str, Any] = {"a": [1.0, 2.0], "b": [1, 2], "tag": ["x", "ü"]}


def request(table: dict[str, Any] | None = None, **fields: Any) -> ScoreRequest:
    """A request for TABLE, or another one."""
    made = ScoreRequest(
        request_id="r", endpoint="sum", inputs=encode_frame(table or TABLE), context={"k": "1", "j": "2"}
    )
    made.MergeFrom(ScoreRequest(**fields))
    return made


SAME = {
    "again": request(),
    "columns in another order": request(dict(reversed(TABLE.items()))),
    "another trace": request(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate="a=1"),
    "by another way": request(provenance=[Provenance(component="gateway", version="1")]),
    "traced": request(diagnostics={"force_trace": True}),
    "parsed from other bytes": ScoreRequest.FromString(
        ScoreRequest(context={"j": "2"}).SerializeToString()
        + ScoreRequest(context={"k": "1"}, inputs=encode_frame(TABLE)).SerializeToString()
    ),
}
OTHER = {
    "a value": request(TABLE | {"a": [1.0, 2.5]}),
    "a name": request({"A": TABLE["a"], "b": TABLE["b"], "tag": TABLE["tag"]}),
    "values swapped between columns": request({"a": [2.0, 1.0], "b": [1, 2], "tag": ["x", "ü"]}),
    "context": request(context={"k": "3"}),
    "more context": request(context={"l": ""}),
    "explain": request(diagnostics={"explain": True}),
    "a forced model": request(diagnostics={"force_model": "tree"}),
    "rows": ScoreRequest(inputs=Frame(rows=3, columns=request().inputs.columns), context={"k": "1", "j": "2"}),
    "fewer columns": request({"a": TABLE["a"], "b": TABLE["b"]}),
    "a column's bytes cut elsewhere": ScoreRequest(
        inputs=Frame(rows=2, columns=[*request().inputs.columns, Column()]), context={"k": "1", "j": "2"}
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_retries_are_the_same_however_they_come(name: str) -> None:
    """Order of columns, encoding, trace context and the way taken do not make another request."""
    assert content_of(SAME[name]) == content_of(request())


def test_whatever_the_answer_depends_on_makes_another_request() -> None:
    """Rows, columns, context and what is wanted tell requests apart, and each of them from all others."""
    contents = {content_of(made) for made in (request(), *OTHER.values())}
    assert len(contents) == len(OTHER) + 1


def test_content_is_cheap() -> None:
    """One KiB in 20 columns takes microseconds: the fastest of 20 rounds less than 200, on the slowest machine."""
    made = ScoreRequest(request_id="r", inputs=encode_frame({f"c{i}": np.arange(5) * 1.0 for i in range(20)}))
    rounds = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(50):
            content_of(made)
        rounds.append((time.perf_counter() - began) / 50)
    print(f"content_of: {min(rounds) * 1e6:.1f} us for {made.ByteSize()} bytes")
    assert min(rounds) < 200e-6


def answered(size_bytes: int) -> "asyncio.Future[ScoreReply]":
    """A future that holds an answer of about that size."""
    answer: asyncio.Future[ScoreReply] = asyncio.get_running_loop().create_future()
    answer.set_result(ScoreReply(model="m" * size_bytes))
    return answer


async def test_answers_kept_are_bounded_in_bytes() -> None:
    """When the answers grow too large together the oldest go, and the count of bytes comes back to nothing."""
    repeats = Repeats(window_s=10, entries=1000, most_bytes=10 * (ENTRY_BYTES + 5000))
    for number in range(100):
        repeats.remember("credit", str(number), 1, number / 100, answered(5000))
        await asyncio.sleep(0)  # callbacks of the future run
        assert repeats.size_bytes <= 10 * (ENTRY_BYTES + 5000)
    assert 9 <= len(repeats) <= 10
    assert repeats.find("credit", "99", 1, 1.0) is not None
    assert repeats.find("credit", "80", 1, 1.0) is None
    assert repeats.find("credit", "99", 1, 11.5) is None
    assert (len(repeats), repeats.size_bytes) == (0, 0)


async def test_an_answer_that_takes_all_the_room_is_not_kept() -> None:
    """An answer larger than everything allowed is given, but not remembered."""
    repeats = Repeats(window_s=10, entries=1000, most_bytes=3000)
    repeats.remember("credit", "a", 1, 0.0, answered(5000))
    await asyncio.sleep(0)
    assert repeats.find("credit", "a", 1, 1.0) is None
    assert repeats.size_bytes == 0


async def test_a_new_attempt_after_an_error_is_remembered_by_itself() -> None:
    """The end of a failed attempt does not touch the attempt that took its place, and its bytes are given back."""
    repeats = Repeats(window_s=10, entries=10, most_bytes=1 << 20)
    first: asyncio.Future[ScoreReply] = asyncio.get_running_loop().create_future()
    repeats.remember("credit", "a", 1, 0.0, first)
    second = answered(10)
    repeats.remember("credit", "a", 1, 1.0, second)
    first.set_exception(UnavailableError("gone"))
    await asyncio.sleep(0)
    assert repeats.find("credit", "a", 1, 2.0) is second
    with pytest.raises(RequestIdConflictError):
        repeats.find("credit", "a", 2, 2.0)
    assert isinstance(first.exception(), UnavailableError)
    assert repeats.size_bytes < 2 * ENTRY_BYTES

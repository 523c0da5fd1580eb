"""The model's thread and its scoring limit."""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from rendezvous_proto.errors import ModelFailedError
from rendezvous_sdk.thread import ModelThread

LIMIT = r"took longer than 0.2 s \(its scoring limit\)"


def spin(swallows: type[BaseException] | None = None, seconds: float = 20.0) -> str:
    """Works in Python, heeding an interruption at once unless it swallows it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if swallows is not None:
            try:
                sum(range(1000))
            except swallows:
                continue
    return "finished"


def swallow_once() -> str:
    """Takes the interruption for an error of its own and goes on as if nothing had been."""
    try:
        spin()
    except BaseException:  # noqa: BLE001 - that is the point
        return "swallowed"
    return "finished"


def replace_error() -> None:
    """Turns the interruption into another error."""
    try:
        spin()
    except BaseException as error:
        raise KeyError("x") from error


@pytest.mark.parametrize("call", [spin, partial(spin, Exception), swallow_once, replace_error])
async def test_code_over_its_limit_is_interrupted(call: Callable[[], Any]) -> None:
    """Python code is interrupted at the limit, whatever it makes of it, and the thread goes on."""
    thread = ModelThread(0.2)
    before = time.monotonic()
    with pytest.raises(ModelFailedError, match=LIMIT):
        await thread.submit(partial(thread.limited, call))
    assert time.monotonic() - before < 1.0
    assert await thread.submit(threading.get_ident) == thread._thread.ident
    thread.stop()


async def test_code_that_does_not_heed_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    """A call that does not return is left in its thread; what waits is done by a fresh one; its result is dropped."""
    thread = ModelThread(0.2)
    first = await thread.submit(threading.get_ident)
    release = threading.Event()
    ended: list[str] = []

    def stuck() -> None:
        thread.limited(partial(release.wait, 30))
        ended.append("went on")

    hung = thread.submit(stuck)
    waiting = thread.submit(threading.get_ident)
    with pytest.raises(ModelFailedError, match=LIMIT):
        await hung
    assert await waiting != first
    assert "left behind, 1 in all" in caplog.text
    release.set()
    async with asyncio.timeout(5):
        while first in {each.ident for each in threading.enumerate()}:  # noqa: ASYNC110 - a thread has no event
            await asyncio.sleep(0.01)
    assert ended == []
    thread.stop()


async def test_code_within_its_limit_is_left_alone() -> None:
    """Many short calls over several limits: none is interrupted, and errors are the code's own."""
    thread = ModelThread(0.1)

    def fail() -> None:
        raise KeyError("own")

    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert await thread.submit(partial(thread.limited, lambda: 7)) == 7
    with pytest.raises(KeyError, match="own"):
        await thread.submit(partial(thread.limited, fail))
    thread.stop()


async def test_calls_that_end_at_their_limit_are_never_torn() -> None:
    """Code that ends just when it is interrupted gives its result or the limit's error, nothing else."""
    thread = ModelThread(0.1)
    outcomes = set()
    for seconds in (0.097, 0.099, 0.0995, 0.1, 0.1005, 0.101, 0.103):
        try:
            outcomes.add(await thread.submit(partial(thread.limited, partial(spin, None, seconds))))
        except ModelFailedError:
            outcomes.add("limit")
        assert await thread.submit(partial(thread.limited, lambda: "fine")) == "fine"
    assert outcomes <= {"finished", "limit"}
    thread.stop()

"""The broker's time as a bridge knows it: by a real broker, whatever this machine's clock does."""

import asyncio
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats import errors
from rendezvous_proto.postbox import durable_stream, durable_subjects
from rendezvous_router.bridge import clock as clock_module
from rendezvous_router.bridge.clock import BrokerClock
from rendezvous_router.bridge.reader import BridgeReader
from rendezvous_router.nats_server import NatsServer
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.nats_connection import connect
from rendezvous_sdk.options import ServeOptions

STAMP = "2026-03-01T12:00:00.123456789Z"
STAMP_US = 1_772_366_400_123_456


class Broker:
    """Answers each request with the next of its answers, then the last one."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.is_at_last = asyncio.Event()

    async def request(self, subject: str, timeout: float) -> Any:  # noqa: ASYNC109 - as the connection has it
        """Answers, or fails."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is self.answers[0]:
            self.is_at_last.set()
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(data=json.dumps(answer).encode())


def clock_of(broker: Any) -> BrokerClock:
    """Returns the clock of a broker, not yet read."""
    return BrokerClock(broker, stream="S", consumer="c")


async def test_the_time_is_carried_on_by_a_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the broker said goes on by as much as the monotonic clock; the wall clock has no part in it."""
    monotonic_ns = 5_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns)
    clock = clock_of(Broker({"ts": STAMP}))
    await clock.wait_read()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert clock.now_us() == STAMP_US
    monotonic_ns += 2_000_000_000
    assert clock.now_us() == STAMP_US + 2_000_000


@pytest.mark.parametrize("failure", [errors.NoRespondersError(), TimeoutError(), {"error": {"code": 404}}, {"ts": "?"}])
async def test_nothing_is_told_before_the_first_reading(failure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first reading that fails is repeated soon; there is no time without one."""
    monkeypatch.setattr(clock_module, "_RETRY_S", 0.01)
    clock = clock_of(Broker(failure, {"ts": STAMP}))
    with pytest.raises(RuntimeError, match="never read"):
        clock.now_us()
    async with asyncio.timeout(5):
        await clock.wait_read()
    assert clock.now_us() >= STAMP_US


async def test_a_reading_that_fails_later_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker does not answer its time is carried on; as soon as it does it is corrected."""
    monkeypatch.setattr(clock_module, "_REFRESH_S", 0.01)
    monkeypatch.setattr(clock_module, "_RETRY_S", 0.01)
    broker = Broker({"ts": STAMP}, TimeoutError(), {"ts": "2026-03-01T13:00:00.2Z"})
    clock = clock_of(broker)
    await clock.wait_read()
    following = asyncio.create_task(clock.follow())
    async with asyncio.timeout(5):
        await broker.is_at_last.wait()
    assert clock.now_us() >= STAMP_US + 3_000_000_000
    following.cancel()


async def test_the_age_of_a_parcel_does_not_know_the_wall_clock(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parcel is as old as the broker says, though this machine's clock was set back by an hour meanwhile."""
    nc = await connect(nats_server.url, name="bridge", timeout_s=5)
    await nc.jetstream().add_stream(name=durable_stream("e"), subjects=durable_subjects("e"))
    reader = BridgeReader(
        nc,
        lanes=[],
        options=ServeOptions(endpoint="e", name="m"),
        counters=Counters(),
        on_lost=lambda error: None,
    )
    await reader.start()
    stored_ns = time.time_ns()
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - 3600 * 10**9)
    message: Any = SimpleNamespace(data=b"", metadata=metadata_of(stored_ns))
    assert abs(reader._delivery_of(message).age_us) < 1_000_000
    monkeypatch.undo()
    await reader.stop()
    await nc.close()


def metadata_of(stored_ns: int) -> Any:
    """Returns what the broker says of a message stored then."""
    stamp = datetime.fromtimestamp(stored_ns / 1e9, tz=UTC)
    return SimpleNamespace(sequence=SimpleNamespace(stream=1), num_delivered=1, timestamp=stamp)

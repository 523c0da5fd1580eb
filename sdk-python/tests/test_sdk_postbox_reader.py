"""How the reader answers and batches, without a server."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from nats import errors
from rendezvous_proto import v1
from rendezvous_sdk.consumer import monotonic_us
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.postbox import PostboxReader, _Waiting
from rendezvous_sdk.scoring import Delivery, unix_us
from rendezvous_sdk.settling import answer_parcel


class Broker:
    """Stands for the connection and for a message of it: refuses to publish, and notes what else was done."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done: list[str] = []
        self.reconnect_listeners: list[Any] = []

    def jetstream(self, **_options: object) -> object:
        """Is not used."""
        return SimpleNamespace()

    async def publish(self, subject: str, _payload: bytes) -> None:
        """Publishes, or raises what it was made with."""
        if self.error is not None:
            raise self.error
        self.done.append(subject)

    async def ack(self) -> None:
        """Acknowledges."""
        self.done.append("ack")

    async def term(self) -> None:
        """Terminates."""
        self.done.append("term")


def reader_of(broker: Broker) -> PostboxReader:
    """A reader that was not started."""
    options = ServeOptions(endpoint="e", name="m", max_joined_rows=10)
    unused: Any = None
    nc: Any = broker
    return PostboxReader(nc, scorer=unused, thread=unused, options=options, counters=Counters())


def waiting_of(broker: Broker, rows: int = 1, *, router: str = "r", items: int = 1) -> _Waiting:
    """A delivered parcel."""
    parcel = v1.Parcel(router=router, items=[v1.ParcelItem(rows=1)] * items, inputs=v1.Frame(rows=rows))
    msg: Any = broker
    return _Waiting(msg, Delivery(parcel=parcel))


@pytest.mark.parametrize(
    ("error", "router", "items", "expected"),
    [
        (None, "r", 1, ["rv.e.score.m.r", "ack"]),
        (errors.OutboundBufferLimitError(), "r", 1, []),
        (errors.ConnectionClosedError(), "r", 1, []),
        (errors.MaxPayloadError(), "r", 1, ["ack"]),
        (None, "bad name", 1, ["ack"]),
        (None, "r", 0, ["term"]),
    ],
    ids=["published", "buffer full", "closed", "never fits", "no such subject", "no parcel"],
)
async def test_a_parcel_is_taken_off_only_with_its_score(
    error: Exception | None, router: str, items: int, expected: Sequence[str]
) -> None:
    """It is acknowledged after its score was published, or if that can never be; else it comes again."""
    broker = Broker(error)
    waiting = waiting_of(broker, router=router, items=items)
    nc: Any = broker
    options = ServeOptions(endpoint="e", name="m")
    is_done = await answer_parcel(nc, options, waiting.msg, waiting.delivery.parcel, b"score")
    assert broker.done == expected
    assert is_done == bool(expected)


def message_of(stored_us: int) -> Any:
    """A message as JetStream delivers it."""
    return SimpleNamespace(reply=f"$JS.ACK.RV_e.m__1.1.7.7.{stored_us * 1000}.0", data=v1.Parcel().SerializeToString())


async def test_a_step_of_the_wall_clock_ages_no_parcel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's time is carried on by the monotonic clock: an hour's step is not an hour's age."""
    reader = reader_of(Broker())
    broker_us = 1_700_000_000_000_000
    reader._offset_us = broker_us - monotonic_us()
    monkeypatch.setattr("rendezvous_sdk.postbox.unix_us", lambda: time.time_ns() // 1000 + 3_600_000_000)
    assert 0 <= reader._delivery_of(message_of(broker_us)).age_us < 60_000_000


async def test_before_the_brokers_clock_is_read_it_agrees_with_ours() -> None:
    """The first reading may fail: until one succeeds, parcels are not a century old."""
    age_us = reader_of(Broker())._delivery_of(message_of(unix_us())).age_us
    assert abs(age_us) < 60_000_000


async def test_the_brokers_clock_is_read_soon_after_a_failure_and_a_reconnection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failed reading is repeated after the short pause, also the first; a reconnection makes one at once."""
    monkeypatch.setattr("rendezvous_sdk.postbox._CLOCK_RETRY_S", 0.01)
    reader = reader_of(Broker())
    answers: list[int | Exception] = [TimeoutError(), TimeoutError(), 41, 42]
    read: asyncio.Queue[int | Exception] = asyncio.Queue()

    async def offset_us() -> int:
        answer = answers.pop(0)
        read.put_nowait(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(reader.consumer, "monotonic_offset_us", offset_us)
    await reader._refresh_clock()
    following = asyncio.create_task(reader._follow_clock())
    async with asyncio.timeout(10):
        while await read.get() != 41:
            pass
        reader._clock_due.set()
        assert await read.get() == 42
    assert reader._offset_us == 42
    following.cancel()


def test_a_negative_number_of_rows_makes_no_room() -> None:
    """Parcels that claim negative rows do not let more in than fit in one table."""
    broker = Broker()
    reader = reader_of(broker)
    reader._queue.extend(waiting_of(broker, rows) for rows in (-1_000_000, 6, 6))
    batch = [waiting.delivery.parcel.inputs.rows for waiting in reader._next_batch()]
    assert batch == [-1_000_000, 6]

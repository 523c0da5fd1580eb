"""How the reader answers and batches, without a server."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from nats import errors
from rendezvous_proto import v1
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.postbox import PostboxReader, _Waiting
from rendezvous_sdk.scoring import Delivery


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
    is_done = await reader_of(broker)._answer(waiting, waiting.delivery, b"score")
    assert broker.done == expected
    assert is_done == bool(expected)


def test_a_negative_number_of_rows_makes_no_room() -> None:
    """Parcels that claim negative rows do not let more in than fit in one table."""
    broker = Broker()
    reader = reader_of(broker)
    reader._queue.extend(waiting_of(broker, rows) for rows in (-1_000_000, 6, 6))
    batch = [waiting.delivery.parcel.inputs.rows for waiting in reader._next_batch()]
    assert batch == [-1_000_000, 6]

"""What a bridge's reader does with parcel, score and credit when something fails: connection and lanes of the test."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from nats import errors
from rendezvous_proto import v1
from rendezvous_proto.errors import UnavailableError
from rendezvous_router.bridge import reader as reader_module
from rendezvous_router.bridge.parcel_queue import WaitingParcel
from rendezvous_router.bridge.reader import BridgeReader
from rendezvous_sdk.counters import Counters
from rendezvous_sdk.options import ServeOptions
from rendezvous_sdk.scoring import Delivery


class Connection:
    """Publishes, or refuses to."""

    max_payload = 1 << 20

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.published: list[str] = []

    def jetstream(self, timeout: float) -> None:
        """Has none."""

    async def publish(self, subject: str, payload: bytes) -> None:
        """Takes the score."""
        if self.refusal is not None:
            raise self.refusal
        self.published.append(subject)


class Message:
    """Remembers how it was settled."""

    def __init__(self) -> None:
        self.settled: list[str] = []

    async def ack(self) -> None:
        """Done."""
        self.settled.append("ack")

    async def nak(self) -> None:
        """To another replica."""
        self.settled.append("nak")

    async def term(self) -> None:
        """Never again."""
        self.settled.append("term")


class Lane:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] | None = None

    def limit_bytes(self, max_bytes: int) -> None:
        """Has no limit."""

    async def score(self, deliveries: Sequence[Delivery]) -> list[tuple[v1.ParcelScore, bytes]]:
        """Waits for the test."""
        self.ended = asyncio.get_running_loop().create_future()
        await self.ended
        return [(v1.ParcelScore(), b"score") for _ in deliveries]


class Pull:
    """Counts what is given back to it."""

    started: "list[Pull]"
    may_start: asyncio.Event

    def __init__(self) -> None:
        self.released = 0

    @classmethod
    async def start(cls, nc: Any, **options: Any) -> "Pull":
        """Pulls nothing; the test hands over."""
        pull = cls()
        cls.started.append(pull)
        await cls.may_start.wait()
        return pull

    async def release(self, count: int) -> None:
        """Is given credit back."""
        self.released += count

    async def stop(self) -> None:
        """Ends."""


class Bench:
    """A reader with two lanes, and its surroundings."""

    def __init__(self) -> None:
        self.nc = Connection()
        self.lanes = [Lane(), Lane()]
        self.counters = Counters()
        self.losses: list[Exception] = []
        connection: Any = self.nc
        lanes: Any = self.lanes
        self.reader = BridgeReader(
            connection,
            lanes=lanes,
            options=ServeOptions(endpoint="e", name="m", max_joined_rows=1, credit=4),
            counters=self.counters,
            on_lost=self.losses.append,
        )

    async def hand_over(self, sequence: int, *, router: str = "router") -> Message:
        """Delivers a parcel, as the pull would, and lets it reach a lane."""
        message = Message()
        received: Any = message
        parcel = v1.Parcel(
            parcel_id=str(sequence),
            router=router,
            items=[v1.ParcelItem(request_id="r", rows=1)],
            inputs=v1.Frame(rows=1),
        )
        delivery = Delivery(parcel=parcel, sequence=sequence)
        self.reader._queue.put(WaitingParcel(received, delivery, opening=self.reader._opening))
        self.reader._dispatch()
        await settle()
        return message

    async def end_calls(self, error: Exception | None = None) -> None:
        """Ends the calls that run."""
        for lane in self.lanes:
            if lane.ended is not None and not lane.ended.done():
                lane.ended.set_exception(error) if error is not None else lane.ended.set_result(None)
        await settle()


async def settle() -> None:
    """Lets all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A reader that is not open yet."""
    Pull.started = []
    Pull.may_start = asyncio.Event()
    Pull.may_start.set()
    monkeypatch.setattr(reader_module, "ContinuousPull", Pull)
    return Bench()


@pytest.mark.parametrize(
    ("refusal", "router", "settled"),
    [
        (None, "router", ["ack"]),
        (errors.OutboundBufferLimitError(), "router", []),
        (errors.ConnectionClosedError(), "router", []),
        (errors.MaxPayloadError(), "router", ["ack"]),
        (None, "no.router", ["ack"]),
    ],
)
async def test_what_was_not_published_is_not_acknowledged(
    bench: Bench, refusal: Exception | None, router: str, settled: list[str]
) -> None:
    """A parcel whose score could not leave comes again; one whose score can never leave does not."""
    await bench.reader.open()
    bench.nc.refusal = refusal
    message = await bench.hand_over(1, router=router)
    await bench.end_calls()
    assert message.settled == settled
    assert bench.counters.parcels == len(settled)
    assert Pull.started[0].released == 1
    await bench.reader.close()


@pytest.mark.parametrize(("error", "settled"), [(None, ["ack"]), (UnavailableError("lost"), ["nak"])])
async def test_a_pull_is_given_back_only_what_it_gave(
    bench: Bench, error: Exception | None, settled: list[str]
) -> None:
    """A call that ends after the postbox was closed changes nothing of the credit of the next pull."""
    await bench.reader.open()
    messages = [await bench.hand_over(1), await bench.hand_over(2)]
    await bench.reader.close()
    await bench.end_calls(error)
    await bench.reader.open()
    assert [message.settled for message in messages] == [settled, settled]
    assert [pull.released for pull in Pull.started] == [0, 0]
    await bench.reader.close()


async def test_a_lost_parcel_keeps_its_credit_until_it_is_handed_back(bench: Bench) -> None:
    """Nothing is pulled in place of a parcel whose call was lost; it goes back when the postbox is closed."""
    await bench.reader.open()
    message = await bench.hand_over(1)
    await bench.end_calls(UnavailableError("lost"))
    assert (len(bench.losses), Pull.started[0].released, message.settled) == (1, 0, [])
    await bench.reader.close()
    assert message.settled == ["nak"]


@pytest.mark.parametrize(("error", "released", "settled"), [(None, 1, ["ack"]), (UnavailableError("lost"), 0, [])])
async def test_what_ends_while_the_pull_is_being_started_counts(
    bench: Bench, error: Exception | None, released: int, settled: list[str]
) -> None:
    """A parcel answered before the pull is known is given back to it then; a lost one waits for the closing."""
    Pull.may_start.clear()
    opening = asyncio.create_task(bench.reader.open())
    await settle()
    message = await bench.hand_over(1)
    await bench.end_calls(error)
    Pull.may_start.set()
    await opening
    assert (Pull.started[0].released, message.settled) == (released, settled)
    await bench.reader.close()

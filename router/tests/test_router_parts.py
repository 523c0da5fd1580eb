"""Small parts of the router: clock, repeats, late scores, ledger, frame checker."""

import asyncio
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rendezvous_proto.errors import RequestIdConflictError, SignatureMismatchError, UnavailableError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.v1 import ColumnSpec, DataType, Decision, DecisionBatch, DecisionRecord, ScoreReply
from rendezvous_router.checker import FrameChecker
from rendezvous_router.clock import TICK_S, Clock
from rendezvous_router.late import KEEP_S, LateBook
from rendezvous_router.ledger import Ledger
from rendezvous_router.repeats import Repeats
from rendezvous_router.throttle import Throttle


async def test_the_clock_wakes_in_order_and_lets_go_of_the_cancelled() -> None:
    """Sleepers wake at their moments, at most a tick early; cancelled ones never."""
    woken: list[tuple[str, float]] = []
    done = asyncio.Event()

    def wake(name: str, _: float) -> None:
        woken.append((name, time.monotonic()))
        if name == "last":
            done.set()

    clock = Clock(asyncio.get_running_loop())
    start = time.monotonic()
    clock.wake_at(start + 0.06, partial(wake, "last"))
    clock.wake_at(start + 0.02, partial(wake, "first"))
    clock.wake_at(start + 0.03, partial(wake, "never")).cancel()
    await asyncio.wait_for(done.wait(), 5)
    assert [name for name, _ in woken] == ["first", "last"]
    assert woken[0][1] >= start + 0.02 - TICK_S
    assert woken[1][1] >= start + 0.06 - TICK_S
    assert len(clock) == 0


async def test_a_retry_gets_the_answer_and_an_error_is_forgotten() -> None:
    """The same content under the same id shares the answer; other content conflicts; an error makes room."""
    repeats = Repeats(window_s=10, entries=2, most_bytes=1 << 20)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[ScoreReply] = loop.create_future()
    repeats.remember("credit", "a", 1, 0.0, answer)
    assert repeats.find("credit", "a", 1, 5.0) is answer
    assert repeats.find("other", "a", 1, 5.0) is None
    with pytest.raises(RequestIdConflictError, match="'a'"):
        repeats.find("credit", "a", 2, 5.0)
    answer.set_exception(UnavailableError("gone"))
    await asyncio.sleep(0)  # callbacks of the future run
    assert repeats.find("credit", "a", 2, 5.0) is None
    assert isinstance(answer.exception(), UnavailableError)


async def test_repeats_are_bounded_in_time_and_number() -> None:
    """Answers leave after the window, and the oldest when there are too many."""
    repeats = Repeats(window_s=10, entries=2, most_bytes=1 << 20)
    for number in range(3):
        repeats.remember("credit", str(number), 1, float(number), asyncio.get_running_loop().create_future())
    assert len(repeats) == 2
    assert repeats.find("credit", "0", 1, 3.0) is None
    assert repeats.find("credit", "2", 1, 11.5) is not None
    assert repeats.find("credit", "2", 1, 12.5) is None
    assert len(repeats) == 0


def test_late_scores_are_counted_once_and_forgotten() -> None:
    """A silent model's late score counts all requests of the parcel, once; what has not come after a while is lost."""
    book = LateBook()
    parcel: Any = SimpleNamespace(
        parcel_id="p",
        request_ids=["a", "b"],
        sealed_at=0.0,
        scores={"fast": None},
        endpoint=SimpleNamespace(name="credit", roles={"fast": 1, "slow": 2, "gone": 3}),
    )
    book.enter(parcel, 0.0)
    taken = [book.take("p", "slow"), book.take("p", "slow"), book.take("p", "fast")]
    assert [late.requests for late in taken if late] == [2, 0, 0]
    assert book.take("q", "slow") is None
    assert [(lost.model, lost.requests) for lost in book.expire(KEEP_S + 1)] == [("gone", 2)]
    assert book.take("p", "slow") is None


async def test_the_ledger_writes_batches_and_tries_again_with_the_same_id() -> None:
    """A batch that is not acknowledged is sent again under its id; closing writes the rest."""
    written: list[tuple[str, DecisionBatch, str]] = []
    failures = 2

    async def write(subject: str, payload: bytes, message_id: str) -> None:
        nonlocal failures
        written.append((subject, DecisionBatch.FromString(payload), message_id))
        if failures:
            failures -= 1
            raise TimeoutError("no acknowledgement")

    ledger = Ledger(write)
    ledger.start()
    for number in range(5):
        record = DecisionRecord(decision=Decision(request_id=str(number)))
        ledger.enter("credit", lambda record=record: record)  # type: ignore[misc] # the record of this turn
    await ledger.close(timeout_s=5)
    assert len({message_id for _, _, message_id in written}) == 1
    subject, batch, _ = written[-1]
    assert subject == "rv.credit.decision"
    assert [record.decision.request_id for record in batch.records] == ["0", "1", "2", "3", "4"]
    assert ledger.dropped == 0


COLUMNS = [
    ColumnSpec(name="x", type=DataType.DATA_TYPE_FP64),
    ColumnSpec(name="flag", type=DataType.DATA_TYPE_BOOL),
    ColumnSpec(name="word", type=DataType.DATA_TYPE_STRING, allow_missing=True),
]


@pytest.mark.parametrize("rows", [1, 3])
def test_the_checker_takes_what_fits_and_puts_it_in_order(rows: int) -> None:
    """Frames that match are taken as they are; unusual ones come out in the signature's order."""
    checker = FrameChecker(COLUMNS, what="inputs")
    table = {"x": np.arange(rows, dtype="f8"), "flag": [True] * rows, "word": ["é"] * rows}
    frame = encode_frame(table)
    assert checker.accept(frame).frame == frame
    turned = encode_frame(dict(reversed(table.items())))
    assert checker.accept(turned).frame == frame
    missing = encode_frame({**table, "word": [None] * rows}, types={"word": "STRING"})
    assert checker.accept(missing).frame == missing


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_checker_refuses_what_is_not_finite(rows: int, value: float) -> None:
    """NaN and infinities are refused where the signature does not allow them, whatever the number of rows."""
    checker = FrameChecker(COLUMNS, what="inputs")
    frame = encode_frame({"x": [0.0] * (rows - 1) + [value], "flag": [True] * rows, "word": ["a"] * rows})
    with pytest.raises(SignatureMismatchError, match="'x'"):
        checker.accept(frame)


def test_lone_rows_join_to_the_frame_they_came_from() -> None:
    """Rows accepted one by one, joined, are the table."""
    checker = FrameChecker(COLUMNS, what="inputs")
    table = {"x": [0.5, 1.5, 2.5], "flag": [True, False, True], "word": ["a", "", "ü"]}
    rows = [
        checker.accept(encode_frame({name: [values[row]] for name, values in table.items()})).row for row in range(3)
    ]
    assert all(row is not None for row in rows)
    assert checker.join_rows([row for row in rows if row is not None]) == encode_frame(table)


def test_a_throttle_lets_some_events_of_each_second_through_and_counts_the_others() -> None:
    """Two a second pass, and the first of the next second tells how many were held back."""
    throttle = Throttle(per_second=2)
    passed = [throttle.admit(now) for now in (5.0, 5.1, 5.2, 5.9, 6.0, 6.1, 7.0)]
    assert passed == [0, 0, None, None, 2, 0, 0]

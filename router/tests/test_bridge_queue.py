"""Which waiting parcels go next: joined, in order; suspects alone, last, and not at once."""

from typing import Any

import pytest
from nats.aio.msg import Msg
from rendezvous_proto import v1
from rendezvous_router.bridge.parcel_queue import HOLD_OFFS_S, PATIENCE_S, ParcelQueue, WaitingParcel
from rendezvous_sdk.scoring import Delivery

LONG = HOLD_OFFS_S[-1]


def parcel(sequence: int, *, number: int = 1, rows: int = 1) -> WaitingParcel:
    """Returns a parcel that waits."""
    inputs = v1.Parcel(inputs=v1.Frame(rows=rows))
    message: Any = Msg(_client=None)  # type: ignore[arg-type] # it is never settled here
    return WaitingParcel(message, Delivery(parcel=inputs, sequence=sequence, number=number), opening=1)


def filled(*parcels: WaitingParcel, max_rows: int = 10) -> ParcelQueue:
    """Returns a queue with these parcels."""
    queue = ParcelQueue(max_rows)
    for each in parcels:
        queue.put(each)
    return queue


def taken(queue: ParcelQueue, *, is_idle: bool = True, open_s: float = LONG) -> list[int]:
    """Returns the sequences of what goes next."""
    return [each.delivery.sequence for each in queue.take(is_idle=is_idle, open_s=open_s)]


def test_what_waits_goes_together_up_to_the_limit() -> None:
    """Parcels are joined in order as far as their rows fit; one that is larger than the limit goes alone."""
    queue = filled(parcel(1, rows=6), parcel(2, rows=4), parcel(3, rows=11), parcel(4))
    assert [taken(queue, is_idle=False) for _ in range(4)] == [[1, 2], [3], [4], []]


def test_what_was_delivered_elsewhere_goes_alone_after_the_others() -> None:
    """A parcel delivered before, for a reason that is not known here, is suspect."""
    queue = filled(parcel(1, number=2), parcel(2), parcel(3, number=2))
    assert taken(queue) == [2]
    assert taken(queue, is_idle=False) == []
    assert [taken(queue), taken(queue)] == [[1], [3]]


def test_rows_that_make_no_sense_leave_no_room() -> None:
    """A parcel that claims a negative number of rows lets no others exceed the limit; it is refused when scored."""
    queue = filled(parcel(1, rows=-100), parcel(2, rows=10), parcel(3, rows=10))
    assert [taken(queue), taken(queue)] == [[1, 2], [3]]


def test_a_suspect_does_not_wait_for_ever() -> None:
    """Under steady load a suspect stops the others after its patience, goes alone, and they have their turn again."""
    suspects = [parcel(1, number=2), parcel(2, number=2)]
    queue = filled(*suspects, parcel(3))
    assert taken(queue, is_idle=False) == [3]
    for each in suspects:
        each.came_at -= PATIENCE_S
    queue.put(parcel(4))
    assert taken(queue, is_idle=False) == []
    assert taken(queue) == [1]
    assert taken(queue) == [4]
    queue.put(parcel(5))
    queue.note_unheard(suspects[1])
    assert taken(queue, is_idle=False) == [2, 5]


def test_a_suspect_that_is_held_off_stops_nobody() -> None:
    """Just after the postbox was opened the others go, however long a suspect waited."""
    late = parcel(1, number=2)
    late.came_at -= PATIENCE_S
    queue = filled(late, parcel(2))
    assert taken(queue, open_s=0.0) == [2]


def test_handed_back_parcels_are_not_suspect() -> None:
    """What was only waiting when the bridge stepped back is joined with others when it comes again."""
    queue = filled(parcel(1), parcel(2))
    queue.clear()
    queue.put(parcel(1, number=2))
    queue.put(parcel(2, number=2))
    assert taken(queue, is_idle=False, open_s=0.0) == [1, 2]


@pytest.mark.parametrize(("open_s", "expected"), [(0.0, []), (HOLD_OFFS_S[1], [3]), (LONG, [3])])
def test_the_less_suspect_goes_first(open_s: float, expected: list[int]) -> None:
    """Of parcels that were lost, those lost more often wait for the others, and for what is still to arrive."""
    queue = filled(parcel(1, number=3), parcel(3, number=2))
    queue.note_lost([parcel(1)])
    queue.note_lost([parcel(1, number=2), parcel(3)])
    assert taken(queue, open_s=open_s) == expected


def test_the_deadly_one_waits_longest_and_is_forgotten_when_answered() -> None:
    """A parcel lost twice is held off for longer; once it is answered nothing is known of it."""
    queue = filled(parcel(1, number=3))
    queue.note_lost([parcel(1)])
    queue.note_lost([parcel(1, number=2)])
    assert taken(queue, open_s=HOLD_OFFS_S[1]) == []
    assert taken(queue) == [1]
    queue.note_answered(parcel(1))
    assert queue.losses(parcel(1)) == 0

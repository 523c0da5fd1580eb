"""Parcels that wait for a lane, and which of them go next."""

import time
from collections import deque
from collections.abc import Iterator

from nats.aio.msg import Msg
from rendezvous_sdk.scoring import Delivery

__all__ = ["ParcelQueue", "WaitingParcel"]


class WaitingParcel:
    """A parcel that was delivered, and not yet acknowledged, in the *opening*-th time that the postbox is read."""

    __slots__ = ("delivery", "msg", "opening", "signalled_at")

    def __init__(self, msg: Msg, delivery: Delivery, *, opening: int) -> None:
        self.msg = msg
        self.delivery = delivery
        self.opening = opening
        self.signalled_at = time.monotonic()

    @property
    def is_again(self) -> bool:
        """Whether it was delivered before."""
        return self.delivery.number > 1


class ParcelQueue:
    """First come, first served, joined to tables of at most *max_rows* rows; except what was delivered before.

    A parcel that came before may have ended the model server. It goes alone, while no other call runs, after
    what waits for the first time; of several such the first and the last take turns, so that a deadly one does
    not take the same others along each time.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: deque[WaitingParcel] = deque()
        self._was_first_time = False

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[WaitingParcel]:
        return iter(self._waiting)

    def put(self, parcel: WaitingParcel) -> None:
        """Adds a parcel."""
        self._waiting.append(parcel)

    def take(self, *, is_idle: bool) -> list[WaitingParcel]:
        """Takes the parcels of the next table; none if none may go now.

        Args:
            is_idle: whether no call runs.
        """
        again = [parcel for parcel in self._waiting if parcel.is_again]
        if again and (self._was_first_time or len(again) == len(self._waiting)):
            return self._take_alone(again) if is_idle else []
        self._was_first_time = True
        taken: list[WaitingParcel] = []
        rows = 0
        for parcel in tuple(self._waiting):
            if parcel.is_again:
                continue
            rows += parcel.delivery.parcel.inputs.rows
            if taken and rows > self._max_rows:
                break
            taken.append(parcel)
            self._waiting.remove(parcel)
        return taken

    def clear(self) -> list[WaitingParcel]:
        """Takes all."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _take_alone(self, again: list[WaitingParcel]) -> list[WaitingParcel]:
        self._was_first_time = False
        again.sort(key=lambda parcel: parcel.delivery.sequence)
        chosen = again[0] if again[0].delivery.number % 2 else again[-1]
        self._waiting.remove(chosen)
        return [chosen]

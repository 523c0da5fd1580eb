"""Parcels that wait for a lane, and which of them go next."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from nats.aio.msg import Msg
from rendezvous_sdk.scoring import Delivery

__all__ = ["HOLD_OFFS_S", "PATIENCE_S", "ParcelQueue", "WaitingParcel"]

HOLD_OFFS_S = (0.0, 0.1, 0.5)
"""Seconds after the postbox was opened before which a parcel is not called, by how often it was lost: less suspect
ones are delivered, and answered, by then."""

PATIENCE_S = 1.0
"""Seconds that suspects wait behind others, counted from the last one that went: then a call runs for one alone."""

_REMEMBERED = 4096


class WaitingParcel:
    """A parcel that was delivered, and not yet acknowledged, in the *opening*-th time that the postbox is read."""

    __slots__ = ("came_at", "delivery", "msg", "opening", "signalled_at")

    def __init__(self, msg: Msg, delivery: Delivery, *, opening: int) -> None:
        self.msg = msg
        self.delivery = delivery
        self.opening = opening
        self.came_at = self.signalled_at = time.monotonic()


class ParcelQueue:
    """First come, first served, joined to tables of at most *max_rows* rows; except what may be deadly.

    A parcel that was at the model server when the connection was lost may be what ended it: it is *suspect*. So is one
    that was delivered before and not handed back by this process. Suspects go alone, while no other call runs, after
    what is not suspect, the least suspect first, and not before the rest of the postbox had time to arrive. So a
    deadly one is soon alone in being lost, and takes no others along to their last delivery. Where others never end,
    no more of them go once a suspect had to wait for a second; it goes as soon as the running calls have ended.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: deque[WaitingParcel] = deque()
        self._losses: OrderedDict[int, int] = OrderedDict()
        self._suspect_went_at = -PATIENCE_S

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[WaitingParcel]:
        return iter(self._waiting)

    def put(self, parcel: WaitingParcel) -> None:
        """Adds a parcel."""
        self._waiting.append(parcel)

    def losses(self, parcel: WaitingParcel) -> int:
        """Returns how often the parcel was at the model server when the connection was lost; 0: it is not suspect."""
        unknown = int(parcel.delivery.number > 1)
        return self._losses.get(parcel.delivery.sequence, unknown)

    def note_lost(self, batch: Sequence[WaitingParcel]) -> None:
        """Is told which parcels were at the model server when the connection was lost."""
        for parcel in batch:
            self._remember(parcel, self.losses(parcel) + 1)

    def note_answered(self, parcel: WaitingParcel) -> None:
        """Is told that a parcel is done with."""
        self._losses.pop(parcel.delivery.sequence, None)

    def note_unheard(self, parcel: WaitingParcel) -> None:
        """Is told that a parcel was scored, but its score could not leave: it comes again, and is not suspect."""
        self._remember(parcel, 0)

    def take(self, *, is_idle: bool, open_s: float) -> list[WaitingParcel]:
        """Takes the parcels of the next table; none if none may go now.

        Args:
            is_idle: whether no call runs.
            open_s: seconds since the postbox was opened.
        """
        fresh = [parcel for parcel in self._waiting if not self.losses(parcel)]
        suspect = self._next_suspect(open_s)
        if fresh and (suspect is None or not self._is_overdue(suspect)):
            return self._take_together(fresh)
        if suspect is None or not is_idle:
            return []
        self._waiting.remove(suspect)
        self._suspect_went_at = time.monotonic()
        return [suspect]

    def _next_suspect(self, open_s: float) -> WaitingParcel | None:
        suspects = [parcel for parcel in self._waiting if self.losses(parcel)]
        if not suspects:
            return None
        chosen = min(suspects, key=lambda parcel: (self.losses(parcel), parcel.delivery.sequence))
        hold_off_s = HOLD_OFFS_S[min(self.losses(chosen), len(HOLD_OFFS_S) - 1)]
        return chosen if open_s >= hold_off_s else None

    def _is_overdue(self, suspect: WaitingParcel) -> bool:
        """Whether it waited for long enough, and the others had their turn since the last suspect."""
        return time.monotonic() - max(suspect.came_at, self._suspect_went_at) >= PATIENCE_S

    def clear(self) -> list[WaitingParcel]:
        """Takes all, to be handed back: being delivered again is then no reason to suspect them."""
        taken = list(self._waiting)
        self._waiting.clear()
        for parcel in taken:
            self._remember(parcel, self.losses(parcel))
        return taken

    def _take_together(self, fresh: Sequence[WaitingParcel]) -> list[WaitingParcel]:
        taken: list[WaitingParcel] = []
        rows = 0
        for parcel in fresh:
            rows += max(0, parcel.delivery.parcel.inputs.rows)
            if taken and rows > self._max_rows:
                break
            taken.append(parcel)
            self._waiting.remove(parcel)
        return taken

    def _remember(self, parcel: WaitingParcel, losses: int) -> None:
        self._losses[parcel.delivery.sequence] = losses
        self._losses.move_to_end(parcel.delivery.sequence)
        while len(self._losses) > _REMEMBERED:
            self._losses.popitem(last=False)

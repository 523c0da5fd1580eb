"""Where scores arrive: each is told from strays and given to its parcel's desk; parcels are closed here."""

import asyncio
import logging
import time
from collections.abc import Mapping

from google.protobuf.message import DecodeError
from rendezvous_proto.v1 import ParcelScore

from rendezvous_router.desk import Desk, DeskRoom
from rendezvous_router.late import LateBook
from rendezvous_router.parcels import OpenParcel
from rendezvous_router.scores import take_score

SWEEP_S = 0.25
"""How often parcels past their deadline are moved from the desks to the book of late scores."""

_log = logging.getLogger(__name__)


class Arrivals:
    """Takes every score that is addressed to this router. Belongs to its event loop.

    Args:
        desks: by endpoint.
        room: what they share; has the open parcels.
    """

    def __init__(self, desks: Mapping[str, Desk], room: DeskRoom) -> None:
        self._desks = desks
        self._room = room
        self._late = LateBook()

    def take_message(self, subject: str, payload: bytes) -> None:
        """Takes a score from the postbox; what fits nothing is counted against the model of its subject."""
        now = time.monotonic()
        _, name, _, model, _ = subject.split(".")
        desk = self._desks.get(name)
        if desk is None:
            return
        try:
            message = ParcelScore.FromString(payload)
        except DecodeError:
            _stray(desk, model, "is not a ParcelScore")
            return
        if message.model != model:
            _stray(desk, model, "names another model than its subject")
            return
        parcel = self._room.parcels.get(message.parcel_id)
        if parcel is None:
            self._take_late(desk, message)
            return
        if model not in parcel.endpoint.roles:
            return  # retired, or not applied yet: it scores along and is kept in the record, and that is no fault
        if parcel.endpoint.name != name or model in parcel.scores:
            taken = parcel.scores.get(model)
            if message.delivery > 1 or (taken is not None and taken.message.delivery > 1):
                return  # a parcel delivered again is scored again, as the protocol has it, in whatever order
            _stray(desk, model, "answers a parcel twice, or one of another endpoint")
            return
        taken = take_score(message, parcel, now)
        parcel.scores[model] = taken
        desk.take_score(taken, parcel)
        if len(parcel.scores) == len(parcel.endpoint.roles) and not parcel.undecided and parcel.is_kept:
            self._close(parcel)

    async def sweep(self) -> None:
        """Closes parcels past their deadline, and counts what is late or lost; until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep_once(time.monotonic())

    def sweep_once(self, now: float) -> None:
        """Closes parcels whose deadline passed a while ago, and gives up scores that never came."""
        spans = self._room.spans
        for lost in self._late.expire(now):
            desk = self._desks.get(lost.endpoint)
            if desk is not None:
                desk.tally.model(lost.model).lost += lost.requests
            if spans is not None:
                spans.draw_lost(lost.traced, lost.endpoint, lost.model)
        for parcel in [parcel for parcel in self._room.parcels.values() if parcel.closes_at + SWEEP_S < now]:
            self._late.enter(parcel, now, spans.waited_for(parcel) if spans is not None else ())
            self._close(parcel)

    def _take_late(self, desk: Desk, message: ParcelScore) -> None:
        late = self._late.take(message.parcel_id, message.model)
        if late is None:
            if message.delivery <= 1 and message.model in desk.endpoint.roles:
                _stray(desk, message.model, "answers no parcel of this router")
            return
        if late.requests:
            desk.tally.model(message.model).late += late.requests
            if self._room.spans is not None:
                self._room.spans.draw_late(late.traced, message, time.time_ns())

    def _close(self, parcel: OpenParcel) -> None:
        del self._room.parcels[parcel.parcel_id]
        if self._room.spans is not None:
            self._room.spans.draw_parcel(parcel)
        parcel.close()


def _stray(desk: Desk, model: str, what: str) -> None:
    model = model if model in desk.endpoint.roles else "?"
    tally = desk.tally.model(model)
    tally.stray += 1
    if tally.stray & (tally.stray - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a flood must not flood the log
        fields = {"endpoint": desk.endpoint.name, "model": model, "stray": tally.stray}
        _log.warning("a score %s", what, extra=fields)

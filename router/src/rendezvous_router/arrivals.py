"""Where scores arrive: each is told from strays and given to its parcel's desk; parcels are closed here."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from google.protobuf.message import DecodeError
from rendezvous_proto.v1 import ParcelScore

from rendezvous_router.desk import Desk, DeskRoom
from rendezvous_router.late import LateBook
from rendezvous_router.parcels import OpenParcel
from rendezvous_router.scores import take_score
from rendezvous_router.telemetry.spans import SpanBook

SWEEP_S = 0.25
"""How often parcels past their deadline are moved from the desks to the book of late scores."""

_log = logging.getLogger(__name__)


class Arrivals:
    """Takes every score that is addressed to this router. Belongs to its event loop.

    Args:
        desks: by endpoint.
        leaving: desks of endpoints that were deleted, until their requests are answered.
        room: what they share; has the open parcels.
    """

    def __init__(self, desks: Mapping[str, Desk], leaving: dict[str, Desk], room: DeskRoom) -> None:
        self._desks = desks
        self._leaving = leaving
        self._room = room
        self._late = LateBook()

    def take_message(self, subject: str, payload: bytes) -> None:
        """Takes a score from the postbox; what fits nothing is counted against the model of its subject."""
        now = time.monotonic()
        _, name, _, model, _ = subject.split(".")
        desk = self._desks.get(name) or self._leaving.get(name)
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
            _take_added(desk, message, parcel, now)
            return
        if parcel.way is not None and (message.stage or not parcel.way.is_at_models):
            _stray(desk, model, "is of rows that were not complete: the model reads what is for enrichers")
            return
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
            try:
                self.sweep_once(time.monotonic())
            except Exception:  # noqa: BLE001 # what is left over is looked at in the next round
                _log.exception("a fault of the router while it closed parcels: please report it")

    def sweep_once(self, now: float) -> None:
        """Closes parcels whose deadline passed a while ago, and gives up scores that never came."""
        for lost in self._late.expire(now):
            desk = self._desks.get(lost.endpoint)
            if desk is not None:
                desk.tally.model(lost.model).lost += lost.requests
            self._draw(partial(SpanBook.draw_lost, waited=lost.traced, endpoint=lost.endpoint, model=lost.model))
        for parcel in [parcel for parcel in self._room.parcels.values() if _is_over(parcel, now)]:
            self._late.enter(parcel, now, self._room.spans.waited_for(parcel) if self._room.spans is not None else ())
            self._close(parcel)
        for name in [name for name, desk in self._leaving.items() if not desk.in_flight]:
            del self._leaving[name]

    def close(self) -> None:
        """Closes every parcel, whoever has not answered."""
        for parcel in tuple(self._room.parcels.values()):
            self._close(parcel)

    def _take_late(self, desk: Desk, message: ParcelScore) -> None:
        late = self._late.take(message.parcel_id, message.model)
        if late is None:
            if message.delivery <= 1 and message.model in desk.endpoint.roles:
                _stray(desk, message.model, "answers no parcel of this router")
            return
        if not late.requests:
            return
        tally = desk.tally.model(message.model)
        tally.time(message.timing, time.monotonic() - late.sealed_at)
        for item in message.items[: late.requests]:
            tally.count(item.error.code if item.HasField("error") else None, is_late=True)
        self._draw(lambda spans: spans.draw_late(late.traced, message, time.time_ns()))

    def _close(self, parcel: OpenParcel) -> None:
        del self._room.parcels[parcel.parcel_id]
        self._draw(lambda spans: spans.draw_parcel(parcel))
        parcel.close()

    def _draw(self, draw: Callable[[SpanBook], None]) -> None:
        """Draws spans; what goes wrong there is logged, and costs no request."""
        if self._room.spans is None:
            return
        try:
            draw(self._room.spans)
        except Exception:  # noqa: BLE001 # it is telemetry
            _log.exception("a fault of the router while it drew spans: please report it")


def _is_over(parcel: OpenParcel, now: float) -> bool:
    """Returns whether the deadline has passed for a while, and every request has been answered by it."""
    return parcel.closes_at + SWEEP_S < now and all(request.answer.done() for request in parcel.requests)


def _take_added(desk: Desk, message: ParcelScore, parcel: OpenParcel, now: float) -> None:
    """Takes what is of no model: an enricher's, or of one that is retired or not applied yet.

    The latter scores along and is kept in the record, which is no fault.
    """
    complaint = desk.enriching.take(message, parcel, now)
    if complaint:
        _stray(desk, message.model, complaint)


def _stray(desk: Desk, model: str, what: str) -> None:
    model = model if model in desk.endpoint.roles or model in desk.endpoint.spec.enrichers else "?"
    tally = desk.tally.model(model)
    tally.stray += 1
    if tally.stray & (tally.stray - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a flood must not flood the log
        fields = {"endpoint": desk.endpoint.name, "model": model, "stray": tally.stray}
        _log.warning("a score %s", what, extra=fields)

"""Scores that come after their requests were answered: counted against the model, at small cost in memory."""

from collections import OrderedDict
from dataclasses import dataclass

from rendezvous_router.parcels import OpenParcel

KEEP_S = 60.0
"""How long a closed parcel's silent models are remembered."""


@dataclass(slots=True)
class _ClosedParcel:
    requests: int
    silent: set[str]
    expires_at: float


class LateBook:
    """Remembers, for parcels past their deadline, which models had not answered. Holds no rows."""

    def __init__(self) -> None:
        self._parcels: OrderedDict[str, _ClosedParcel] = OrderedDict()

    def enter(self, parcel: OpenParcel, now: float) -> None:
        """Remembers *parcel*'s silent models."""
        silent = parcel.endpoint.roles.keys() - parcel.scores.keys()
        self._parcels[parcel.parcel_id] = _ClosedParcel(len(parcel.request_ids), set(silent), now + KEEP_S)

    def take(self, parcel_id: str, model: str) -> int | None:
        """Returns how many requests *model* answered too late; 0: it had answered before; None: unknown parcel."""
        parcel = self._parcels.get(parcel_id)
        if parcel is None:
            return None
        if model not in parcel.silent:
            return 0
        parcel.silent.discard(model)
        return parcel.requests

    def expire(self, now: float) -> None:
        """Forgets parcels that were closed long ago."""
        while self._parcels:
            parcel_id, parcel = next(iter(self._parcels.items()))
            if parcel.expires_at > now:
                return
            del self._parcels[parcel_id]

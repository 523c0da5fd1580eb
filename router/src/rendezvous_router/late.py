"""Scores that come after their requests were answered: told from strays, at small cost in memory."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rendezvous_router.parcels import OpenParcel
from rendezvous_router.telemetry.noted import WaitedFor

KEEP_S = 60.0
"""How long a closed parcel's silent models are remembered; a score that has not come by then is lost."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Scores of one model for one closed parcel: come too late, or lost."""

    endpoint: str
    """The endpoint."""
    model: str
    """The model."""
    requests: int
    """Number of the parcel's requests."""
    sealed_at: float
    """When it was sealed, seconds of the monotonic clock."""
    traced: Sequence[WaitedFor]
    """Those that are sampled."""


@dataclass(slots=True)
class _ClosedParcel:
    endpoint: str
    requests: int
    sealed_at: float
    traced: Sequence[WaitedFor]
    silent: set[str]
    expires_at: float

    def missing(self, model: str) -> Missing:
        return Missing(self.endpoint, model, self.requests, self.sealed_at, self.traced)


class LateBook:
    """Remembers, for parcels past their deadline, which models had not answered. Holds no rows."""

    def __init__(self) -> None:
        self._parcels: OrderedDict[str, _ClosedParcel] = OrderedDict()

    def enter(self, parcel: OpenParcel, now: float, traced: Sequence[WaitedFor] = ()) -> None:
        """Remembers *parcel*'s silent models, and its sampled requests."""
        silent = set(parcel.endpoint.roles.keys() - parcel.scores.keys())
        self._parcels[parcel.parcel_id] = _ClosedParcel(
            parcel.endpoint.name, len(parcel.request_ids), parcel.sealed_at, traced, silent, now + KEEP_S
        )

    def take(self, parcel_id: str, model: str) -> Missing | None:
        """Returns what *model* answered too late, for no requests if it had answered before; None: unknown parcel."""
        parcel = self._parcels.get(parcel_id)
        if parcel is None:
            return None
        if model not in parcel.silent:
            return Missing(parcel.endpoint, model, 0, parcel.sealed_at, ())
        parcel.silent.discard(model)
        return parcel.missing(model)

    def expire(self, now: float) -> Iterator[Missing]:
        """Forgets parcels that were closed long ago, and yields what is lost with them."""
        while self._parcels:
            parcel_id, parcel = next(iter(self._parcels.items()))
            if parcel.expires_at > now:
                return
            del self._parcels[parcel_id]
            yield from (parcel.missing(model) for model in parcel.silent)

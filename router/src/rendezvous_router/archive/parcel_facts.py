"""What scores need to know of their parcels: when they were stored, whose rows, and until when."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from rendezvous_proto import v1

__all__ = ["ParcelCache", "ParcelFacts", "ParcelKey", "key_of"]

ParcelKey = tuple[str, int]
"""A parcel's id, and the stage of enrichment that it is for; 0: it is for the models."""


def key_of(score: v1.ParcelScore) -> ParcelKey:
    """Returns the parcel that a score answers."""
    return score.parcel_id, score.stage


@dataclass(slots=True, frozen=True)
class ParcelFacts:
    """One parcel, without its rows."""

    key: ParcelKey
    """Which it is."""
    stored_us: int
    """When it was stored, microseconds since 1970-01-01 UTC by the broker's clock."""
    request_ids: tuple[str, ...]
    """Its requests, in order."""
    rows: tuple[int, ...]
    """Rows of each."""
    budgets_us: tuple[int, ...]
    """Time that each had, from when the parcel was sealed."""

    @classmethod
    def of(cls, parcel: v1.Parcel, stored_us: int, stage: int = 0) -> "ParcelFacts":
        """Returns them of a parcel."""
        items = parcel.items
        return cls(
            (parcel.parcel_id, stage),
            stored_us,
            tuple([item.request_id for item in items]),
            tuple([item.rows for item in items]),
            tuple([item.budget_us for item in items]),
        )

    def item(self, place: int, request_id: str) -> int | None:
        """Returns the place of a request in the parcel: as a rule that in the score; None: it is not in it."""
        if place < len(self.request_ids) and self.request_ids[place] == request_id:
            return place
        return self.request_ids.index(request_id) if request_id in self.request_ids else None


class ParcelCache:
    """The parcels read last; the oldest are forgotten when there are too many requests.

    Args:
        most_requests: requests of all parcels together, about 200 bytes each.
    """

    def __init__(self, most_requests: int = 200_000) -> None:
        self._most = most_requests
        self._requests = 0
        self._parcels: OrderedDict[ParcelKey, ParcelFacts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._parcels)

    def add(self, facts: ParcelFacts) -> None:
        """Takes note of a parcel."""
        if facts.key in self._parcels:
            return
        self._parcels[facts.key] = facts
        self._requests += len(facts.rows)
        while self._requests > self._most and len(self._parcels) > 1:
            _, oldest = self._parcels.popitem(last=False)
            self._requests -= len(oldest.rows)

    def find(self, keys: Iterable[ParcelKey]) -> dict[ParcelKey, ParcelFacts]:
        """Returns those parcels that are remembered."""
        known = ((key, self._parcels.get(key)) for key in keys)
        return {key: facts for key, facts in known if facts is not None}

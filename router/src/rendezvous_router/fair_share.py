"""Room for requests in flight, shared among tenants so that none can fill it."""

from collections.abc import Mapping

from rendezvous_proto.errors import OverloadedError

ROOM_RETRY_MS = 100
"""After how many milliseconds to try again where room, not a rate, is what lacks: nobody knows when some is free."""


class FairShare:
    """Counts the requests in flight of all tenants of one process.

    A tenant may hold at most `weight x (capacity - in flight of all)` places: with weight 1, no more than are left
    free (dynamic thresholds, Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). So n tenants of
    weight 1 that flood hold `capacity / (n + 1)` each, one place's worth of shares stays free for whoever comes next,
    and a tenant that holds nothing is let in as long as any place is free. Nobody is guaranteed a share that it does
    not use, and there is nothing to be measured or forgotten. One object for all routers of a process; not
    thread-safe.

    Args:
        capacity: places, at least 1 (`RouterOptions.max_in_flight`).
        weights: of tenants that count for more or less than 1; above 0. Default: none.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, capacity: int, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        if capacity < 1:
            raise ValueError(f"capacity = {capacity}: must be at least 1")
        for tenant, weight in self._weights.items():
            if not weight > 0:
                raise ValueError(f"weight of tenant {tenant} = {weight}: must be above 0")
        self.capacity = capacity
        self.in_flight = 0
        self._held: dict[str, int] = {}

    def held(self, tenant: str) -> int:
        """Returns how many places *tenant* holds."""
        return self._held.get(tenant, 0)

    def check(self, tenant: str) -> None:
        """Checks that *tenant* may take one more place.

        Raises:
            OverloadedError: there is none, or too few for one that holds as many as *tenant*.
        """
        free = self.capacity - self.in_flight
        held = self.held(tenant)
        if free > 0 and held < self._weights.get(tenant, 1.0) * free:
            return
        raise OverloadedError(
            f"this router has {self.in_flight} requests in flight, {held} of them yours, and room for "
            f"{self.capacity} (--max-in-flight), of which nobody may hold more than are left free: "
            f"retry after {ROOM_RETRY_MS} ms, with the same request id",
            {
                "setting": "--max-in-flight",
                "limit": self.capacity,
                "actual": held,
                "retry_after_ms": ROOM_RETRY_MS,
            },
        )

    def enter(self, tenant: str) -> None:
        """Takes a place, which `check` has found."""
        self._held[tenant] = self.held(tenant) + 1
        self.in_flight += 1

    def leave(self, tenant: str) -> None:
        """Gives a place back."""
        held = self._held.pop(tenant) - 1
        if held:
            self._held[tenant] = held
        self.in_flight -= 1

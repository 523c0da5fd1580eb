"""When to seal a parcel: at once when idle, in bursts under load (ADR 0001). Pure arithmetic, no clock, no I/O.

On few cores a request's cost is mostly wake-ups and system calls of everyone who touches its parcel: nats-server,
every model, the decoy, the router. So a trickle of small parcels costs several times what the same requests cost in
one. But waiting costs latency, and an idle endpoint must not wait at all.

The pacer therefore watches the *cohort*: how many requests the previous parcels carried. Clients that wait for an
answer come back together shortly after it, so a parcel is sealed

- at once, when nothing is in flight and as many requests wait as the cohort predicts (one client: always);
- when arrivals pause for a *gap* (a few mean distances between arrivals): nobody else is coming;
- when the oldest has waited the *cap*: a share of the deadline, at most `CAP_S`;
- when it is full (rows or bytes).

All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass

CAP_S = 0.008
"""Longest wait of a request for company. Measured: 4-8 ms is the best throughput on two cores (ADR 0001)."""
DEADLINE_SHARE = 0.1
"""The same as a share of the request's time to its deadline; the smaller of the two counts."""
GAP_MIN_S = 0.0003
"""Shortest pause that counts as the end of a burst."""
GAP_MAX_S = 0.0015
"""Longest pause that is waited for."""
GAP_SPREAD = 4.0
"""Pause that ends a burst, in mean distances between arrivals of that burst."""
COHORT_SHARE = 0.5
"""Weight of the newest parcel in the cohort's moving mean."""
IN_FLIGHT_LIMIT = 2
"""Parcels in flight above which a pause alone seals no further one; only the cap does."""

NEVER = float("inf")


@dataclass(slots=True)
class Pacer:
    """Decides when the waiting requests of one endpoint are sealed. See the module's docstring."""

    cohort: float = 1.0
    """Expected requests of the next parcel (moving mean of the latest parcels)."""
    spacing_s: float = GAP_MIN_S
    """Mean distance between the arrivals of a burst."""
    waiting: int = 0
    """Requests that wait."""
    in_flight: int = 0
    """Parcels sent and not yet decided."""
    _first_at: float = 0.0
    _last_at: float = 0.0
    _cap_at: float = NEVER

    def arrive(self, now: float, budget_s: float) -> float:
        """Takes note of one request that has *budget_s* left to its deadline.

        Returns:
            The moment at which to seal unless more arrives; *now* or earlier means: seal now.
        """
        if self.waiting:
            gap = now - self._last_at
            if gap < GAP_MAX_S:
                self.spacing_s += 0.1 * (gap - self.spacing_s)
        else:
            self._first_at = now
            self._cap_at = NEVER
        self.waiting += 1
        self._last_at = now
        self._cap_at = min(self._cap_at, now + min(CAP_S, DEADLINE_SHARE * budget_s))
        return self.due(now)

    def due(self, now: float) -> float:
        """Returns the moment at which the waiting requests should be sealed, as things stand (`NEVER`: none wait)."""
        if not self.waiting:
            return NEVER
        if not self.in_flight and self.waiting >= self.cohort - 0.5:
            return now
        if self.in_flight >= IN_FLIGHT_LIMIT:
            return self._cap_at
        pause_s = min(GAP_MAX_S, max(GAP_MIN_S, GAP_SPREAD * self.spacing_s))
        return min(self._cap_at, self._last_at + pause_s)

    def seal(self, taken: int) -> None:
        """Takes note that *taken* of the waiting requests were sealed in one parcel and sent."""
        self.waiting -= taken
        self.in_flight += 1
        self.cohort += COHORT_SHARE * (taken - self.cohort)

    def settle(self) -> None:
        """Takes note that one parcel in flight is decided for all its requests."""
        self.in_flight -= 1

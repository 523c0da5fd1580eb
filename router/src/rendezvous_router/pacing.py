"""When to seal a parcel: at once when idle, in bursts under load (ADR 0001). Pure arithmetic, no clock, no I/O.

On few cores a request's cost is mostly wake-ups and system calls of everyone who touches its parcel: nats-server,
every model, the decoy, the router. So a trickle of small parcels costs several times what the same requests cost in
one. But waiting costs latency, and an idle endpoint must not wait at all.

The controlled quantity is the share of the *crowd* that one parcel carries. The crowd is the largest number of
unanswered requests of late (a peak that fades with `FADE_S`): one for a lone client, as many as there are clients when
many wait for their answers and come back together, and growing when the models cannot keep up (Little's law). So
parcels grow with the load by themselves, and shrink again. A parcel is sealed

- at once, when `SHARE` of the crowd waits (a lone request is all of it);
- when arrivals pause for `PAUSE_SPREAD` times their usual distance and fewer than `IN_FLIGHT_LIMIT` parcels are in
  flight: nobody else is coming;
- when the oldest has waited the cap: half of what parcels take from seal to decision of late (so that a system that
  has fallen behind gets larger parcels, not more of them), at least `CAP_S`, at most `DEADLINE_SHARE` of its own time
  to the deadline;
- when it is full (rows or bytes; the desk sees to that).

All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass

SHARE = 0.5
"""Share of the crowd that makes a parcel: half travels while the other half is collected."""
FADE_S = 0.05
"""Time in which the remembered peak of the crowd falls to a half."""
CAP_S = 0.008
"""Longest wait of a request for company while parcels are quick. Measured: 4-8 ms is best on two cores (ADR 0001)."""
DEADLINE_SHARE = 0.1
"""Longest wait in any case, as a share of the request's time to its deadline."""
ROUND_TRIP_WEIGHT = 0.2
"""Weight of the newest parcel in the moving mean of their round trips."""
PAUSE_SPREAD = 3.0
"""Pause that ends a burst, in mean distances between arrivals: on a busy machine they trickle in."""
PAUSE_MIN_S = 0.001
"""Shortest such pause. Timers of the event loop are no finer."""
SPACING_WEIGHT = 0.05
"""Weight of the newest distance between arrivals in their moving mean."""
IN_FLIGHT_LIMIT = 2
"""Parcels in flight from which on a pause alone seals no further one; only share and cap do."""

NEVER = float("inf")


@dataclass(slots=True)
class Pacer:
    """Decides when the waiting requests of one endpoint are sealed. See the module's docstring."""

    waiting: int = 0
    """Requests that wait."""
    in_flight: int = 0
    """Parcels sent and not yet decided."""
    crowd: float = 0.0
    """Peak of the unanswered requests, fading."""
    round_trip_s: float = 0.0
    """Moving mean of the time from a parcel's seal to its last decision."""
    spacing_s: float = 0.0
    """Moving mean of the distances between arrivals, those beyond `CAP_S` left out."""
    _crowd_at: float = 0.0
    _last_at: float = 0.0
    _cap_at: float = NEVER

    def arrive(self, now: float, *, budget_s: float, unanswered: int) -> float:
        """Takes note of one request.

        Args:
            now: the time.
            budget_s: what it has left to its deadline, seconds.
            unanswered: the endpoint's requests without an answer, this one included.

        Returns:
            The moment at which to seal unless more arrives; *now* or earlier means: seal now.
        """
        cap_at = now + min(max(CAP_S, self.round_trip_s / 2), DEADLINE_SHARE * budget_s)
        if not self.waiting or cap_at < self._cap_at:
            self._cap_at = cap_at
        self.waiting += 1
        gap_s = now - self._last_at
        if gap_s < CAP_S:
            self.spacing_s += SPACING_WEIGHT * (gap_s - self.spacing_s)
        self._last_at = now
        faded = self.crowd * 0.5 ** ((now - self._crowd_at) / FADE_S)
        self.crowd, self._crowd_at = max(faded, float(unanswered)), now
        return self.due(now)

    def due(self, now: float) -> float:
        """Returns the moment at which the waiting requests should be sealed, as things stand (`NEVER`: none wait)."""
        if not self.waiting:
            return NEVER
        if self.waiting >= SHARE * self.crowd:
            return now
        if self.in_flight >= IN_FLIGHT_LIMIT:
            return self._cap_at
        return min(self._cap_at, self._last_at + max(PAUSE_MIN_S, PAUSE_SPREAD * self.spacing_s))

    def seal(self) -> None:
        """Takes note that all waiting requests were sealed in one parcel and sent."""
        self.waiting = 0
        self.in_flight += 1

    def settle(self, round_trip_s: float) -> None:
        """Takes note that one parcel is decided for all its requests, *round_trip_s* seconds after its seal."""
        self.in_flight -= 1
        self.round_trip_s += ROUND_TRIP_WEIGHT * (round_trip_s - self.round_trip_s)

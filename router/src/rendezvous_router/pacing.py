"""When to seal a parcel: at once when idle, at an interval under load (ADR 0001). Pure arithmetic, no clock, no I/O.

On few cores a request's cost is mostly wake-ups and system calls of everyone who touches its parcel: nats-server,
every model, the archive, the router. So a trickle of small parcels costs several times what the same requests cost in
one, and worse: the events of many small parcels keep the router's loop from taking in the requests that wait in front
of it, which keeps the parcels small. So under load the *rate of parcels* is bounded, not their size. But waiting costs
latency, and an idle endpoint must not wait at all.

The controlled quantity is the interval between parcels::

    interval = STEP * quickest * log2(crowd), at most INTERVAL_S
    interval = max(interval, ROUND_TRIP_SHARE * round trip)

- *crowd*: the largest number of unanswered requests of late (a peak that fades with `FADE_S`): one for a lone client,
  whose requests are sealed at once; as many as there are clients when many wait for their answers.
- *quickest*: the shortest time from seal to decision of late. It is the machine's and the models' own pace, so the
  controller needs no calibration: a parcel costs less on a faster machine.
- *round trip*: the mean of the same. A system that has fallen behind gets larger parcels, not more of them.
- No request waits longer than `DEADLINE_SHARE` of its time to the deadline.
- A full parcel (rows, bytes or work) leaves at once; the desk sees to that.

All times are seconds of one monotonic clock.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

STEP = 1.6
"""Interval for each doubling of the crowd, in quickest round trips. Measured (ADR 0001)."""
INTERVAL_S = 0.02
"""Longest interval while parcels are quick."""
ROUND_TRIP_SHARE = 0.25
"""Interval as a share of the mean round trip, where that is longer."""
ROUND_TRIP_WEIGHT = 0.2
"""Weight of the newest parcel in the moving mean of the round trips."""
QUICKEST_DRIFT = 1.005
"""Factor by which the remembered quickest round trip is forgotten, parcel by parcel."""
DEADLINE_SHARE = 0.1
"""Longest wait in any case, as a share of the request's time to its deadline."""
FADE_S = 0.05
"""Time in which the remembered peak of the crowd falls to a half."""
LONE = 1.5
"""A crowd below this is one client."""

WORK_S = 0.04
"""Scoring time at which a parcel is full. What one replica would take longer for is better shared among several."""
LEAST_SCORING_S = 1e-6
"""What scoring takes at least, whatever a model says."""
WORK_ROWS = 8
"""Rows below which it is not, however dear they are."""

NEVER = float("inf")


@dataclass(slots=True)
class Pacer:
    """Decides when the waiting requests of one endpoint are sealed. See the module's docstring."""

    waiting: int = 0
    """Requests that wait."""
    crowd: float = 0.0
    """Peak of the unanswered requests, fading."""
    round_trip_s: float = 0.0
    """Moving mean of the time from a parcel's seal to its last decision."""
    quickest_s: float = NEVER
    """Shortest such time of late."""
    _crowd_at: float = 0.0
    _sealed_at: float = -NEVER
    _cap_at: float = NEVER

    def arrive(self, now: float, *, budget_s: float, unanswered: int) -> float:
        """Takes note of one request.

        Args:
            now: the time.
            budget_s: what it has left to its deadline, seconds.
            unanswered: the endpoint's requests without an answer, this one included.

        Returns:
            The moment at which to seal; *now* or earlier means: seal now.
        """
        cap_at = now + DEADLINE_SHARE * budget_s
        if not self.waiting or cap_at < self._cap_at:
            self._cap_at = cap_at
        self.waiting += 1
        faded = self.crowd * 0.5 ** ((now - self._crowd_at) / FADE_S)
        self.crowd, self._crowd_at = max(faded, float(unanswered)), now
        return self.due()

    def due(self) -> float:
        """Returns the moment at which the waiting requests should be sealed, as things stand (`NEVER`: none wait)."""
        if not self.waiting:
            return NEVER
        if self.crowd < LONE:
            return self._crowd_at
        return min(self._cap_at, self._sealed_at + self.interval_s())

    def interval_s(self) -> float:
        """Returns the present interval between parcels, seconds."""
        if self.crowd < LONE or self.quickest_s == NEVER:
            return 0.0
        interval_s = min(INTERVAL_S, STEP * self.quickest_s * math.log2(self.crowd))
        return max(interval_s, ROUND_TRIP_SHARE * self.round_trip_s)

    def seal(self, now: float) -> None:
        """Takes note that all waiting requests were sealed in one parcel and sent."""
        self.waiting = 0
        self._sealed_at = now

    def settle(self, round_trip_s: float) -> None:
        """Takes note that one parcel is decided for all its requests, *round_trip_s* seconds after its seal."""
        self.round_trip_s += ROUND_TRIP_WEIGHT * (round_trip_s - self.round_trip_s)
        self.quickest_s = min(round_trip_s, self.quickest_s * QUICKEST_DRIFT)


class RowCost:
    """What scoring a row costs the slowest model, at best.

    The quickest of late counts, because rows that are scored together share what scoring a table costs by itself.
    """

    def __init__(self) -> None:
        self._row_s: dict[str, float] = {}
        self._dearest_s = 0.0

    def note(self, model: str, rows: int, scoring_s: float) -> None:
        """Takes note that *model* scored *rows* rows in *scoring_s* seconds."""
        row_s = max(scoring_s, LEAST_SCORING_S) / rows
        self._row_s[model] = min(row_s, self._row_s.get(model, row_s) * QUICKEST_DRIFT)
        self._dearest_s = max(self._row_s.values())

    def keep(self, models: Iterable[str]) -> None:
        """Forgets all but *models*."""
        self._row_s = {model: self._row_s[model] for model in models if model in self._row_s}
        self._dearest_s = max(self._row_s.values(), default=0.0)

    def fills(self, rows: int) -> bool:
        """Returns whether *rows* rows are work enough for one parcel."""
        return rows >= WORK_ROWS and rows * self._dearest_s >= WORK_S

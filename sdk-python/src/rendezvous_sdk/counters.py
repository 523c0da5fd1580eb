"""What a replica has done, and how fast."""

import math
from collections import deque
from dataclasses import dataclass, field

_WINDOW = 512


@dataclass(slots=True)
class Counters:
    """Running totals and the durations of the last 512 scorings."""

    parcels: int = 0
    """Parcels answered."""
    scored_items: int = 0
    """Requests answered with rows."""
    scored_rows: int = 0
    """Their rows."""
    failed_items: int = 0
    """Requests answered with an error of the model."""
    expired_items: int = 0
    """Requests that had expired before delivery."""
    durations_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    """Milliseconds from receipt to score, newest last."""

    def quantile_ms(self, share: float) -> float:
        """Returns the duration that *share* (0 to 1) of the window does not exceed; 0 when it is empty."""
        if not self.durations_ms:
            return 0.0
        ordered = sorted(self.durations_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

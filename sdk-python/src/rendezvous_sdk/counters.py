"""What a replica has done, and how fast."""

import math
from collections import deque
from dataclasses import dataclass, field

from rendezvous_proto import v1
from rendezvous_proto.errors import ErrorCode

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

    def count(self, score: v1.ParcelScore, received_unix_us: int) -> None:
        """Counts one scored parcel, received at *received_unix_us*."""
        self.parcels += 1
        for item in score.items:
            if not item.HasField("error"):
                self.scored_items += 1
                self.scored_rows += item.rows
            elif int(item.error.code) == ErrorCode.EXPIRED:
                self.expired_items += 1
            else:
                self.failed_items += 1
        self.durations_ms.append((score.timing.finished_unix_us - received_unix_us) / 1000)

    def quantile_ms(self, share: float) -> float:
        """Returns the duration that *share* (0 to 1) of the window does not exceed; 0 when it is empty."""
        if not self.durations_ms:
            return 0.0
        ordered = sorted(self.durations_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

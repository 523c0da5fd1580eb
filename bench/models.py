"""NumPy models of negligible cost: what remains is the cost of the system around them."""

from typing import Any

import numpy as np
from rendezvous_proto.frames import FrameView

from bench.payloads import LINEAR_COLUMNS


class Linear:
    """A weighted sum of 20 columns."""

    def setup(self) -> None:
        """Draws the weights, the same ones in each process."""
        self._weights = np.random.default_rng(1).standard_normal(len(LINEAR_COLUMNS))

    def score(self, table: FrameView) -> dict[str, Any]:
        """Returns one score for each row."""
        columns = np.stack([table[name] for name in LINEAR_COLUMNS])
        return {"score": self._weights @ columns}

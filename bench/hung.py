"""Is any answer late when one of three models hangs? 10,000 requests, twice.

Once the policy gives the hung champion 40 ms and then takes the next one; once it wants all three models, so that
only the deadline can decide, which leaves the clock alone to be on time.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from bench.cells import Cell
from bench.measure import make_load, measure
from bench.systems import Workshop, rendezvous
from bench.targets import HUNG_KEYS, Measurement

REQUESTS = 10_000
_DEADLINE_MS = 100
_GRACE_MS = 5
_LONGEST_S = 300.0

POLICIES: Mapping[str, Mapping[str, Any]] = {
    "fallback": {
        "deadline": f"{_DEADLINE_MS}ms",
        "steps": [{"take": "best", "of": ["m1"], "until": "40ms"}, {"take": "first"}],
        "otherwise": {"score": 0.0},
    },
    "deadline": {
        "deadline": f"{_DEADLINE_MS}ms",
        "steps": [{"take": "mean", "on": "score", "of": ["m1", "m2", "m3"], "quorum": 3}],
        "otherwise": {"score": 0.0},
    },
}


def measure_hung(workshop: Workshop, what: str, *, requests: int = REQUESTS) -> Measurement:
    """Stops the champion (SIGSTOP) and counts answers that take longer than the deadline and 5 ms.

    Args:
        workshop: where to keep files.
        what: key of POLICIES.
        requests: how many answers to wait for.
    """
    cell = Cell(*_parse(HUNG_KEYS[what]))
    with rendezvous(workshop, "linear", 1, models=3, policy=POLICIES[what]) as system:
        load = make_load(system, cell, warm_up_s=0.5, measure_s=_LONGEST_S)
        warm = msgspec.structs.replace(load, measure_s=1.0)
        measure(system, warm)
        hung = system.models["m1"].pid
        os.kill(hung, signal.SIGSTOP)
        try:
            return measure(
                system,
                msgspec.structs.replace(load, max_requests=requests, late_after_ms=_DEADLINE_MS + _GRACE_MS),
            )
        finally:
            with suppress(ProcessLookupError):
                os.kill(hung, signal.SIGCONT)


def _parse(key: str) -> tuple[str, str, int, int]:
    system, mode, clients, rows = key.split("/")
    return system, mode, int(clients.removesuffix("c")), int(rows.removesuffix("r"))

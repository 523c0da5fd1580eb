"""Makes this process, and those it starts from then on, step back whenever any other wants the processor.

Linux's policy `SCHED_IDLE` does what a nice value does not: a task that wakes up runs at once, instead of waiting for
the present one's slice to end, and a core that runs nothing else counts as free. Elsewhere: nice 19.

Source: `sched(7)`; ADR 0025.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

__all__ = ["step_back"]

_NICEST = 19
_THREADS = Path("/proc/self/task")


def step_back() -> None:
    """Gives this process's threads, and what they start, the lowest priority; Arrow gets one thread to compute."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    os.nice(_NICEST)
    if hasattr(os, "SCHED_IDLE"):
        for thread in _threads():
            # Threads end at any time, and a container may forbid it: then being nice has to do.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def _threads() -> Iterable[int]:
    """Returns the threads that there are; those made later inherit from the one that makes them."""
    if not _THREADS.is_dir():
        return [0]
    return [int(each.name) for each in _THREADS.iterdir()]

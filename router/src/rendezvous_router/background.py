"""Makes this process, and those it starts from then on, leave the processor to those who answer.

Where Linux groups processes by session (`sched_autogroup_enabled`), a nice value counts within the session only, and
the group has one of its own; it is set where this process leads its session, as it does under `rendezvous up`.

Linux's policy `SCHED_IDLE` does what a nice value does not: a task that wakes up runs at once, instead of waiting for
the present one's slice to end, and a core that runs nothing else counts as free. Elsewhere: nice 19.

Source: `sched(7)`; ADR 0025.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

__all__ = ["give_way", "step_back"]

_NICEST = 19
_NICER = 10
_AUTOGROUP = Path("/proc/self/autogroup")
_THREADS = Path("/proc/self/task")


def step_back() -> None:
    """Gives this process's threads, and what they start, the lowest priority; Arrow gets one thread to compute."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _be_nice(_NICEST)
    if hasattr(os, "SCHED_IDLE"):
        for thread in _threads():
            # Threads end at any time, and a container may forbid it: then being nice has to do.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def give_way() -> None:
    """Gives this process about a tenth of what others get where all want the processor; it never stands still."""
    _be_nice(_NICER)


def _be_nice(value: int) -> None:
    os.nice(value)
    if os.getsid(0) == os.getpid():
        # There may be no such groups, or a container may forbid it: then the nice value has to do.
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(value))


def _threads() -> Iterable[int]:
    """Returns the threads that there are; those made later inherit from the one that makes them."""
    if not _THREADS.is_dir():
        return [0]
    return [int(each.name) for each in _THREADS.iterdir()]

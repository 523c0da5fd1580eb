"""Makes this process, and those it starts from then on, leave the processor to those who answer.

Where Linux groups processes by session (`sched_autogroup_enabled`), a nice value counts within the session only, and
the group has one of its own; it is set where this process leads its session, as it does under `rendezvous up`.

Linux's policy `SCHED_IDLE` does what a nice value does not: a task that wakes up runs at once, instead of waiting for
the present one's slice to end, and a core that runs nothing else counts as free. Elsewhere: nice 19. Who is not the
superuser cannot take that back, but what a session gets can be changed at any time.

Source: `sched(7)`; ADR 0025.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from rendezvous_router.own_session import is_weighed_alone

__all__ = ["Courtesy", "step_back"]

_NICEST = 19
_NICER = 10
_AUTOGROUP = Path("/proc/self/autogroup")
_THREADS = Path("/proc/self/task")


class Courtesy:
    """Leaves the processor to others, but takes a tenth of it while it is behind, which it is taken for at first.

    Where it cannot change its share later, it takes about a tenth of what others get from the beginning: a process that
    stood still for hours on a busy machine would lose what it is there to keep.
    """

    def __init__(self) -> None:
        self._is_adjustable = is_weighed_alone()
        self._nice = _NICER
        if self._is_adjustable:
            _compute_idly()
        _be_nice(_NICER)

    def set_behind(self, is_behind: bool) -> None:
        """Takes a tenth, or next to nothing; cheap when nothing changes."""
        self._weigh(_NICER if is_behind else _NICEST)

    def end(self) -> bool:
        """Takes as much as any other from now on, as somebody waits for this process to end; False: ask once more."""
        return self._weigh(0)

    def _weigh(self, wanted: int) -> bool:
        if not self._is_adjustable or wanted == self._nice:
            return True
        # The kernel allows a change each 0.1 s; then it is done at the next call.
        try:
            _AUTOGROUP.write_text(str(wanted))
        except OSError:
            return False
        self._nice = wanted
        return True


def step_back() -> None:
    """Gives this process's threads, and what they start, the lowest priority; Arrow gets one thread to compute."""
    _compute_idly()
    _be_nice(_NICEST)


def _compute_idly() -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    if hasattr(os, "SCHED_IDLE"):
        for thread in _threads():
            # Threads end at any time, and a container may forbid it: then being nice has to do.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


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

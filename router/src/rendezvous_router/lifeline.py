"""Ends the process groups of a supervisor that was killed: `python -m rendezvous_router.lifeline`.

A supervisor holds the writing end of this process's standard input and names its children's process
groups on it, one a line: `+<group>` when a child is started, `-<group>` when it has ended. The kernel closes
the pipe when the supervisor dies, however it dies; what is still on the list then gets SIGTERM and, after a
grace, SIGKILL. Process groups are used because a child's own children (a model's replicas) must go as well.
Imports the standard library only: it lives as long as the supervisor and should weigh nothing.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

_POLL_S = 0.05


def read_groups(lines: Iterable[str]) -> set[int]:
    """Returns the process groups that were named and not withdrawn when *lines* ended."""
    groups: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if sign == "+" and number.isdigit():
            groups.add(int(number))
        elif sign == "-" and number.isdigit():
            groups.discard(int(number))
    return groups


def signal_group(group: int, number: int) -> bool:
    """Sends a signal (0: none) to a process group; returns whether there was one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_groups(groups: set[int], grace_s: float) -> None:
    """Ends process groups: SIGTERM, then SIGKILL for what is left after *grace_s* seconds."""
    left = {group for group in groups if signal_group(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = {group for group in left if signal_group(group, 0)}
    for group in left:
        signal_group(group, signal.SIGKILL)


def main() -> None:
    """Reads groups from standard input until it ends, then ends them; the argument is the grace (seconds)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    grace_s = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with contextlib.closing(sys.stdin) as lines:
        groups = read_groups(lines)
    end_groups(groups, grace_s)


if __name__ == "__main__":
    main()

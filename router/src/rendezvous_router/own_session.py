"""Runs this program again in a session of its own, whose share of the processor can be lowered as a whole.

Where Linux groups processes by session (`sched_autogroup_enabled`), all of a session's processes together weigh as much
as those of any other, whatever their priorities within it: a program with the lowest one, started from a terminal or by
another program, would still get half of a core. What was started stays where it is and waits: it passes on its signals,
stops and goes on with the other, and ends as it ends. The other ends with it, however that was.

Source: `sched(7)`, "The autogroup feature"; ADR 0025.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

__all__ = ["are_sessions_weighed", "follow_starter", "is_weighed_alone", "is_weighed_with_others", "run_in_own_session"]

_ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_NAMESPACE = Path("/proc/self/ns/cgroup")
_FIRST_CGROUP_NAMESPACE = "cgroup:[4026531835]"  # PROC_CGROUP_INIT_INO: in any other, paths do not tell where they are
_STARTER = "RENDEZVOUS_STARTER_FD"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def is_weighed_alone() -> bool:
    """Tells whether this process leads a session that the kernel weighs against others as one."""
    return are_sessions_weighed() and os.getsid(0) == os.getpid()


def is_weighed_with_others() -> bool:
    """Tells whether this process shares its weight with the session of another."""
    return are_sessions_weighed() and os.getsid(0) != os.getpid()


def are_sessions_weighed() -> bool:
    """Tells whether the kernel weighs sessions here: in a control group, a container's, its share counts."""
    try:
        if _ENABLED.read_text().strip() != "1" or os.readlink(_CGROUP_NAMESPACE) != _FIRST_CGROUP_NAMESPACE:
            return False
        groups = [line.split(":", 2) for line in _CGROUPS.read_text().splitlines()]
    except OSError:  # another kernel, or it does not show it
        return False
    return all(path == "/" for _, controllers, path in groups if not controllers or "cpu" in controllers.split(","))


def run_in_own_session(command: Sequence[str]) -> int:
    """Runs a program in a session of its own until it ends; to be called on the main thread.

    Args:
        command: the program, which calls `follow_starter`, and its arguments.

    Returns:
        Its exit status. If a signal ended it, this process is ended by the same.

    Raises:
        OSError: it could not be started.
    """
    held, kept = os.pipe()
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[held],
            env={**os.environ, _STARTER: str(held)},
        ) as child:
            status = _wait(child)
    finally:
        os.close(held)
        os.close(kept)
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def follow_starter() -> None:
    """Ends this process at once when the one that has run it here is gone; does nothing if there is none."""
    named = os.environ.pop(_STARTER, None)
    if named is None:
        return
    held = int(named)
    os.set_inheritable(held, False)

    def follow() -> None:
        os.read(held, 1)  # nothing is ever written: it returns at the other's end
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, name="follow-starter", daemon=True).start()


def _wait(child: "subprocess.Popen[bytes]") -> int:
    def pass_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    def stop(*_: object) -> None:
        child.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        child.send_signal(signal.SIGCONT)  # this one goes on again

    handlers = dict.fromkeys(_PASSED_ON, pass_on) | {signal.SIGTSTP: stop}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

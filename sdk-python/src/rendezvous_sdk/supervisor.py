"""Several replicas of one model: the same command again in child processes, restarted when they die."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

__all__ = ["PARENT_FD_VARIABLE", "REPLICA_VARIABLE", "Supervisor"]

_log = logging.getLogger(__name__)

REPLICA_VARIABLE = "RENDEZVOUS_REPLICA_INDEX"
PARENT_FD_VARIABLE = "RENDEZVOUS_PARENT_FD"
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 10.0
_HEALTHY_AFTER_S = 30.0
_STOP_LIMIT_S = 12.0
_POLL_S = 0.1


@dataclass(slots=True)
class _Child:
    index: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S


class Supervisor:
    """Runs *replicas* copies of this process's own command line.

    Children are started afresh (never forked: gRPC does not survive a fork) and see their number in the
    environment. They hold one end of a pipe, so they drain when this process is gone, however it ended.
    """

    def __init__(self, replicas: int) -> None:
        self._children = [_Child(index) for index in range(replicas)]
        self._stopping = False
        self._held, self._given = os.pipe()

    def run(self) -> int:
        """Returns when SIGTERM or SIGINT came and all children have ended: 0 if all drained, else 1."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            for child in self._children:
                self._look_after(child)
            time.sleep(_POLL_S)
        return self._end()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            for child in self._children:
                if child.process is not None:
                    child.process.kill()
        self._stopping = True

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_again_at:
                self._start(child)
            return
        status = child.process.poll()
        if status is None:
            return
        if now - child.started_at > _HEALTHY_AFTER_S:
            child.pause_s = _FIRST_PAUSE_S
        _log.error("replica %d ended with status %d; starting it again in %g s", child.index, status, child.pause_s)
        child.process = None
        child.start_again_at = now + child.pause_s
        child.pause_s = min(child.pause_s * 2, _LAST_PAUSE_S)

    def _start(self, child: _Child) -> None:
        environment = {
            **os.environ,
            REPLICA_VARIABLE: str(child.index),
            PARENT_FD_VARIABLE: str(self._held),
        }
        child.process = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment, pass_fds=(self._held,))
        child.started_at = time.monotonic()

    def _end(self) -> int:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_LIMIT_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # SIGTERM ends a child that has not begun to serve: it had nothing to drain.
        drained = (0, -signal.SIGTERM)
        return 0 if all(process.returncode in drained for process in running) else 1

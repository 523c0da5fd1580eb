"""Child processes that announce themselves with a line."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 20.0


class Process:
    """A child process whose output is kept.

    Args:
        command: what to run.
        log: where its standard error goes.
        ready: pattern of the beginning of the line that says it is up.
        env: added to the environment.
        cwd: its working folder; None: this process's.
        new_session: whether it gets a process group of its own, which `stop_group` ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        ready: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        new_session: bool = False,
    ) -> None:
        self.log = log
        self._ready = re.compile(ready)
        self._lines: queue.Queue[str] = queue.Queue()
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
                cwd=cwd,
                start_new_session=new_session,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready_line = ""

    def wait_ready(self) -> str:
        """Returns the line that says the process is up."""
        while True:
            try:
                line = self._lines.get(timeout=START_TIMEOUT_S)
            except queue.Empty:
                raise AssertionError(f"{self.popen.args} was not ready in time:\n{self.tail()}") from None
            if self._ready.match(line):
                self.ready_line = line
                return line
            if not line:
                raise AssertionError(f"{self.popen.args} ended while starting:\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        self.popen.kill()
        self.popen.wait()
        self._close()

    def stop(self) -> int:
        """Asks the process to end (SIGTERM) and returns its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_TIMEOUT_S)
            self._close()
            return self.popen.returncode
        self.kill()
        raise AssertionError(f"{self.popen.args} did not end on SIGTERM:\n{self.tail()}")

    def stop_group(self) -> None:
        """Asks the process to end, then ends whatever is left of its group."""
        try:
            self.stop()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)

    def tail(self) -> str:
        """Returns the end of what it wrote to standard error."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _close(self) -> None:
        self._reader.join(STOP_TIMEOUT_S)
        assert self.popen.stdout is not None
        self.popen.stdout.close()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._lines.put(line.decode(errors="replace").rstrip())
        self._lines.put("")


def python(*arguments: str) -> list[str]:
    """Returns a command of this Python."""
    return [sys.executable, *arguments]


def script(name: str) -> str:
    """Returns the path of an installed command."""
    return str(Path(sys.executable).with_name(name))

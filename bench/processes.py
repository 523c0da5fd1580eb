"""Child processes of the bench: started, waited for, measured, and always ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

ROOT = Path(__file__).resolve().parents[1]
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02
_Found = TypeVar("_Found")


class ChildError(RuntimeError):
    """A process of the bench did not start; the message ends with the last lines of its log."""


class Child:
    """One running process, in a process group of its own.

    Args:
        arguments: the command.
        log: file that takes both of its outputs.
        environment: added to this process's own.
    """

    def __init__(self, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        # One thread for each process's arithmetic: with more, models on two cores fight over them.
        settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(arguments),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, **settings, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait_for_line(self, start: str, *, timeout_s: float = _START_TIMEOUT_S) -> str:
        """Returns the first line of output that begins with *start*, as soon as it is there.

        Raises:
            ChildError: the process ended, or was silent for *timeout_s* seconds.
        """

        def find() -> str | None:
            lines = self.log.read_text(errors="replace").splitlines()
            return next((line for line in lines if line.startswith(start)), None)

        return wait_for(find, child=self, timeout_s=timeout_s)

    def check_running(self) -> None:
        """Raises ChildError when the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChildError(f"{self.log.stem} ended with status {code}:\n{self.last_lines()}")

    def last_lines(self, count: int = 8) -> str:
        """Returns the end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def cpu_s(self) -> float:
        """Returns the processor time that the process and its children have used, in seconds."""
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid)
            return sum(sum(process.cpu_times()[:2]) for process in (family, *family.children(recursive=True)))
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process group."""
        os.killpg(self.pid, number)

    def stop(self) -> None:
        """Ends the process group: asked first, forced after 15 s."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


def wait_for(find: Callable[[], _Found | None], *, child: Child, timeout_s: float = _START_TIMEOUT_S) -> _Found:
    """Asks *find* again and again, and returns what it gives that is not None.

    Raises:
        ChildError: *child* ended, or *timeout_s* seconds went by.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = find()
        if found is not None:
            return found
        child.check_running()
        time.sleep(_POLL_S)
    raise ChildError(f"{child.log.stem} was not ready within {timeout_s:g} s:\n{child.last_lines()}")


@contextmanager
def running(arguments: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """A child process for the time of a `with` block."""
    child = Child(arguments, log=log, environment=environment)
    try:
        yield child
    finally:
        child.stop()


def python_module(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]


def script(name: str) -> str:
    """Returns the path of a console script that is installed beside this Python."""
    return str(Path(sys.executable).parent / name)

"""A model program that the kit starts itself."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Program", "ProgramError", "Ready"]

_READY = re.compile(r"ready: model (\S+):(\S+) of endpoint (\S+), replica (\S+), (?:grpc (\S+)|no grpc)")
_TAIL_LINES = 8
_STDOUT_LINE_BYTES = 1 << 20


class ProgramError(RuntimeError):
    """The program did not become ready or did not end; the message has the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What the line of readiness says."""

    model: str
    version: str
    endpoint: str
    replica: str
    grpc: str


class Program:
    """One model program, in a process group of its own. Belongs to the event loop.

    Args:
        command: command line as one would type it, without shell syntax.
        environment: variables beyond this process's own.
        log: file that takes its standard error.
    """

    def __init__(self, command: str, *, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.stdout: list[str] = []
        self.ready: Ready | None = None
        self._command = shlex.split(command)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None, "started before"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the process; does not wait for it to be ready.

        Raises:
            ProgramError: there is no such command.
        """
        with self.log.open("ab") as errors:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    start_new_session=True,
                    limit=_STDOUT_LINE_BYTES,
                )
            except OSError as error:
                raise ProgramError(f"{self._command[0]}: {error.strerror or error}") from error
        self._reading = asyncio.create_task(self._read(self._process))

    async def wait_ready(self, limit_s: float) -> Ready:
        """Waits for the line of readiness.

        Raises:
            ProgramError: the process ended, or said nothing in time.
        """
        try:
            async with asyncio.timeout(limit_s):
                while self.ready is None:
                    if self._reading is None or self._reading.done():
                        raise ProgramError(f"the program ended with status {self.returncode}:\n{self.tail()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ProgramError(
                f"the program printed no line `ready: ...` within {limit_s:g} s:\n{self.tail()}"
            ) from None
        return self.ready

    @property
    def returncode(self) -> int | None:
        """Exit status; negative: the signal that ended it; None: it runs."""
        return None if self._process is None else self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process alone."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    async def wait_ended(self, limit_s: float) -> int:
        """Returns the exit status.

        Raises:
            ProgramError: it did not end in time.
        """
        assert self._process is not None, "started before"
        try:
            async with asyncio.timeout(limit_s):
                return await self._process.wait()
        except TimeoutError:
            raise ProgramError(f"the program did not end within {limit_s:g} s:\n{self.tail()}") from None

    async def kill(self) -> None:
        """Ends the process and what it started, at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # all of the group may have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reading is not None:
            await self._reading

    def tail(self) -> str:
        """Returns the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "asked for a pipe"
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.stdout.append(line)
            if match := _READY.fullmatch(line):
                self.ready = Ready(match[1], match[2], match[3], match[4], match[5] or "")
            self._changed.set()
        await process.wait()
        self._changed.set()

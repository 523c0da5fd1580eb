"""A model program that the kit starts itself."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rendezvous_sdk.tasks import end_tasks

__all__ = ["Program", "ProgramError", "Ready"]

_READY = re.compile(r"ready: model (\S+):(\S+) of endpoint (\S+), replica (\S+), (?:grpc (\S+)|no grpc)")
_READY_SIGN = "ready:"
_READY_FORM = "ready: model NAME:VERSION of endpoint ENDPOINT, replica REPLICA, grpc HOST:PORT"
_TAIL_LINES = 8
_TAIL_CHARACTERS = 500
_STDOUT_LINE_BYTES = 1 << 20
_Value = TypeVar("_Value")


class ProgramError(RuntimeError):
    """The program did not become ready or did not end; the message names its command and has its last lines."""


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
        says_ready: whether it is a model program, which prints a line when it is ready.
        own_session: whether it has a session of its own; else it shares this one's, and its share of the processor.
    """

    def __init__(
        self,
        command: str,
        *,
        environment: Mapping[str, str],
        log: Path,
        says_ready: bool = True,
        own_session: bool = True,
    ) -> None:
        self.command = command
        self.log = log
        self.stdout: list[str] = []
        self.ready: Ready | None = None
        self._says_ready = says_ready
        self._own_session = own_session
        self._misspelt = ""
        self._started = time.monotonic()
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
        self._started = time.monotonic()
        with self.log.open("ab") as errors:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    start_new_session=self._own_session,
                    process_group=None if self._own_session else 0,
                    limit=_STDOUT_LINE_BYTES,
                )
            except OSError as error:
                raise ProgramError(f"--run {self.command!r}: {self._command[0]}: {error.strerror or error}") from error
        self._reading = asyncio.create_task(self._read(self._process))
        self._reading.add_done_callback(lambda _: self._changed.set())

    async def wait_ready(self, limit_s: float) -> Ready:
        """Waits for the line of readiness.

        Raises:
            ProgramError: the process ended, said something else, or said nothing in time.
        """
        try:
            async with asyncio.timeout(limit_s):
                while self.ready is None:
                    await self._next_change()
        except TimeoutError:
            raise ProgramError(
                f"the program {self.command!r} printed no line `{_READY_FORM}` within "
                f"{time.monotonic() - self._started:.0f} s; "
                f"{self.last_words()}"
            ) from None
        return self.ready

    async def beside(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        """Returns what *work* does, which waits for the program.

        Raises:
            ProgramError: the program ended first, or its line of readiness is none.
        """
        working = asyncio.create_task(work)
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else watching.result()
        finally:
            await end_tasks(working, watching)

    async def _watch(self) -> NoReturn:
        while True:
            await self._next_change()

    async def _next_change(self) -> None:
        if self._misspelt:
            raise ProgramError(
                f"the program {self.command!r} printed {self._misspelt!r}, an ill-formed line of readiness; "
                f"write `{_READY_FORM}`"
            )
        if self._reading is None or self._reading.done():
            raise ProgramError(f"the program {self.command!r} ended with status {self.returncode}; {self.last_words()}")
        self._changed.clear()
        await self._changed.wait()

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
        return _end(self.log.read_text(errors="replace").splitlines())

    def last_words(self) -> str:
        """Returns the end of its standard output and of its standard error, for a message."""
        ends = {"standard output": _end(self.stdout), "standard error": self.tail()}
        told = [f"its {name} ends with:\n{end}" for name, end in ends.items() if end]
        return "\n".join(told) or "it printed nothing"

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "asked for a pipe"
        while raw := await _line(process.stdout):
            line = raw.decode(errors="replace").rstrip()
            self.stdout.append(line)
            if match := _READY.fullmatch(line):
                self.ready = Ready(match[1], match[2], match[3], match[4], match[5] or "")
            elif self._says_ready and self.ready is None and line.lower().startswith(_READY_SIGN):
                self._misspelt = line[:_TAIL_CHARACTERS]
            self._changed.set()
        await process.wait()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Returns the next line, of one without end the first part; empty at the end of the stream."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        return await stream.read(_STDOUT_LINE_BYTES)


def _end(lines: Sequence[str]) -> str:
    return "\n".join(line[:_TAIL_CHARACTERS] for line in lines[-_TAIL_LINES:])

"""Keeps child processes running: restarts those that die, keeps their logs apart, leaves nothing behind.

Each child is the leader of a session and process group of its own, so a Ctrl-C in the terminal reaches only
the supervisor, and a child's own children end with it. If the supervisor itself is killed (SIGKILL), the
process `rendezvous_router.lifeline` ends the groups.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rendezvous_router.lifeline import signal_group

_SHORTEST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_LEFTOVER_GRACE_S = 1.0
_POLL_S = 0.02


class SupervisorError(RuntimeError):
    """A child could not be started; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process to keep running."""

    name: str
    """Name, unique in the supervisor; also that of its log, `<name>.log`."""
    command: Sequence[str]
    """Program and arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    folder: Path | None = None
    """Working folder; None: the supervisor's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEvent:
    """Something that happened to a child."""

    name: str
    """The child."""
    kind: str
    """`started`, `died` (and will be restarted) or `stopped` (was asked to)."""
    pid: int
    """Its process id."""
    status: int | None = None
    """Exit status; negative: the signal that ended it; None for `started`."""
    pause_s: float = 0.0
    """For `died`: seconds until it is started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How long to wait before a child is started again: doubles from shortest to longest."""

    shortest_s: float = _SHORTEST_PAUSE_S
    """First pause."""
    longest_s: float = _LONGEST_PAUSE_S
    """Cap."""
    stable_s: float = 10.0
    """A child that lived this long starts from the shortest pause again."""

    def pause_after(self, deaths: int) -> float:
        """Returns the pause in seconds after *deaths* deaths in a row (1 = the first)."""
        doubled = self.shortest_s * 2.0 ** min(deaths - 1, 30)
        return min(self.longest_s, doubled)


@dataclass(slots=True)
class _Kept:
    child: Child
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    restarts: int = 0
    last_status: int | None = None


class Supervisor:
    """Starts, restarts and stops child processes. One event loop; not thread-safe.

    Args:
        logs: folder of the logs, `<name>.log` each; made when missing. Logs are appended to.
        grace_s: seconds between SIGTERM and SIGKILL when a child is stopped.
        restarts: pauses before a restart.
        on_event: called with each ChildEvent.
    """

    def __init__(
        self,
        *,
        logs: Path,
        grace_s: float = 18.0,
        restarts: Restarts | None = None,
        on_event: Callable[[ChildEvent], None] | None = None,
    ) -> None:
        self._logs = logs
        self._grace_s = grace_s
        self._restarts = restarts or Restarts()
        self._on_event = on_event or (lambda _event: None)
        self._kept: dict[str, _Kept] = {}
        self._lifeline: asyncio.subprocess.Process | None = None

    async def start(self, child: Child) -> int:
        """Starts a child and keeps it running until `stop`; returns its first process id.

        Raises:
            SupervisorError: the name is taken, or the program cannot be run.
        """
        if child.name in self._kept:
            raise SupervisorError(f"child {child.name!r} is already kept: names are unique")
        await self._open_lifeline()
        kept = _Kept(child)
        process = await self._spawn(kept)
        self._kept[child.name] = kept
        kept.task = asyncio.create_task(self._keep(kept, process), name=f"keep {child.name}")
        return process.pid

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the children, in the order of their start."""
        return tuple(self._kept)

    def log_of(self, name: str) -> Path:
        """Returns the log file of the child *name*."""
        return self._logs / f"{name}.log"

    def pid_of(self, name: str) -> int | None:
        """Returns the process id of a child; None while it is being restarted, or is unknown."""
        kept = self._kept.get(name)
        return kept.process.pid if kept and kept.process and kept.process.returncode is None else None

    def restarts_of(self, name: str) -> int:
        """Returns how often a child was restarted."""
        return self._kept[name].restarts if name in self._kept else 0

    def last_status_of(self, name: str) -> int | None:
        """Returns the exit status of the child's latest death; None when it has not died."""
        return self._kept[name].last_status if name in self._kept else None

    async def stop_child(self, name: str) -> None:
        """Stops one child, as `stop` does, and forgets it; does nothing when it is unknown. Others are not waited for.

        Its name is free when this returns.
        """
        if (kept := self._kept.get(name)) is not None:
            await self._stop_one(kept)
            self._kept.pop(name, None)

    async def stop(self, *, first: Sequence[str] = ()) -> None:
        """Stops every child, one after another: those named in *first*, then the others, last started first.

        A child gets SIGTERM and, after the grace, SIGKILL; what it left in its process group gets SIGKILL.
        Returns when none is left. May be called again.
        """
        for name in (*first, *reversed(self._kept)):
            if name in self._kept:
                await self._stop_one(self._kept.pop(name))
        await self._close_lifeline()

    def kill(self) -> None:
        """Sends SIGKILL to every child's process group at once; `stop` then has nothing left to wait for."""
        for kept in self._kept.values():
            kept.stopping.set()
            if kept.process is not None:
                signal_group(kept.process.pid, signal.SIGKILL)

    async def _keep(self, kept: _Kept, process: asyncio.subprocess.Process) -> None:
        clock = asyncio.get_running_loop().time
        deaths = 0
        while True:
            started = clock()
            kept.last_status = await process.wait()
            await self._sweep(process.pid)
            if kept.stopping.is_set():
                self._tell(kept, "stopped", process.pid, status=kept.last_status)
                return
            deaths = 1 if clock() - started >= self._restarts.stable_s else deaths + 1
            restarted = await self._restart(kept, process.pid, deaths)
            if restarted is None:
                return
            process = restarted

    async def _restart(self, kept: _Kept, pid: int, deaths: int) -> asyncio.subprocess.Process | None:
        while True:
            pause_s = self._restarts.pause_after(deaths)
            self._tell(kept, "died", pid, status=kept.last_status, pause_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(kept.stopping.wait(), pause_s)
                return None
            kept.restarts += 1
            try:
                return await self._spawn(kept)
            except SupervisorError as error:
                with self.log_of(kept.child.name).open("a") as log:
                    log.write(f"{error}\n")
                deaths += 1

    async def _spawn(self, kept: _Kept) -> asyncio.subprocess.Process:
        child = kept.child
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            with self.log_of(child.name).open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *child.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **child.environment},
                    cwd=child.folder,
                    start_new_session=True,
                )
        except OSError as error:
            raise SupervisorError(
                f"{child.name}: cannot run {child.command[0]!r}: {error.strerror or error}"
            ) from error
        kept.process = process
        self._name_group("+", process.pid)
        self._tell(kept, "started", process.pid)
        return process

    async def _stop_one(self, kept: _Kept) -> None:
        kept.stopping.set()
        process = kept.process
        if process is not None and process.returncode is None:
            signal_group(process.pid, signal.SIGTERM)
        if kept.task is None:
            return
        done, _ = await asyncio.wait({kept.task}, timeout=self._grace_s)
        if not done and kept.process is not None:
            signal_group(kept.process.pid, signal.SIGKILL)
        await kept.task

    async def _sweep(self, group: int) -> None:
        """Ends what a dead child left in its group, so that a restart does not run beside it."""
        if signal_group(group, signal.SIGTERM):
            deadline = asyncio.get_running_loop().time() + min(self._grace_s, _LEFTOVER_GRACE_S)
            while signal_group(group, 0):
                if asyncio.get_running_loop().time() >= deadline:
                    signal_group(group, signal.SIGKILL)
                    break
                await asyncio.sleep(_POLL_S)
        self._name_group("-", group)

    def _tell(self, kept: _Kept, kind: str, pid: int, *, status: int | None = None, pause_s: float = 0.0) -> None:
        event = ChildEvent(name=kept.child.name, kind=kind, pid=pid, status=status, pause_s=pause_s)
        self._on_event(event)

    async def _open_lifeline(self) -> None:
        if self._lifeline is None or self._lifeline.returncode is not None:
            self._lifeline = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rendezvous_router.lifeline",
                str(self._grace_s),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            for kept in self._kept.values():
                if kept.process is not None and kept.process.returncode is None:
                    self._name_group("+", kept.process.pid)

    def _name_group(self, sign: str, group: int) -> None:
        if self._lifeline is not None and self._lifeline.stdin is not None:
            self._lifeline.stdin.write(f"{sign}{group}\n".encode())

    async def _close_lifeline(self) -> None:
        if self._lifeline is None:
            return
        lifeline, self._lifeline = self._lifeline, None
        if lifeline.stdin is not None:
            lifeline.stdin.close()
        await lifeline.wait()

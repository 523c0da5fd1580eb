"""The one thread in which a model runs; the event loop stays free for pings, health and in-progress signals.

Author's code that runs longer than the scoring limit is interrupted: an exception is raised in its thread, as
Ctrl-C would. Code that does not heed it (a call into a library that does not return) is left behind in its thread,
and a fresh one goes on with the next call. Source: docs/protocol.md, P24a.
"""

import asyncio
import ctypes
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rendezvous_proto.errors import ModelFailedError

__all__ = ["ModelThread", "ThreadLeftBehind"]

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_HEED_S = 1.0


class _ScoringInterrupted(BaseException):
    """Raised in the author's code; no `Exception`, so that `except Exception` does not swallow it."""


class ThreadLeftBehind(BaseException):
    """Raised in a thread that was left behind, once its code returns: what it computed is not wanted any more."""


class _Section:
    """One run of the author's code."""

    __slots__ = ("interrupted_at", "is_left_behind", "started_at", "thread_id")

    def __init__(self) -> None:
        self.thread_id = threading.get_ident()
        self.started_at = time.monotonic()
        self.interrupted_at = 0.0
        self.is_left_behind = False


class ModelThread:
    """Runs calls one after another, in the order in which they were submitted.

    A daemon thread: a model that hangs does not keep the process from ending.
    `submit` belongs to the event loop on which the object was made.

    Args:
        limit_s: seconds that the author's code may take where it is run by `limited`.
    """

    def __init__(self, limit_s: float = math.inf) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._section: _Section | None = None
        self._current: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._left_behind = 0
        self._start_thread()
        if limit_s < math.inf:
            self._timer = self._loop.call_later(limit_s, self._watch)

    @property
    def waiting(self) -> int:
        """Calls that have not begun, cancelled ones included: what they hold is held until their turn."""
        return self._calls.qsize()

    def submit(self, call: Callable[[], _Result]) -> "asyncio.Future[_Result]":
        """Queues *call* and returns its future.

        Cancelling the future before the call has begun skips the call. When the thread was left behind during the
        call, the future raises ModelFailedError.
        """
        future: asyncio.Future[_Result] = self._loop.create_future()

        def run() -> None:
            if future.cancelled():
                return
            self._current = future
            try:
                result = call()
            except ThreadLeftBehind:
                return
            except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_finish, future, result)

        self._calls.put(run)
        return future

    def limited(self, call: Callable[[], _Result]) -> _Result:
        """Runs the author's code, in this thread, for as long as it may.

        Raises:
            ModelFailedError: it ran longer than the limit and was interrupted.
            ThreadLeftBehind: it did not heed the interruption; let it pass, this thread is to end.
            BaseException: whatever the code raises.
        """
        section = _Section()
        try:
            try:
                self._enter(section)
                result = call()
            finally:
                self._leave(section)
        except ThreadLeftBehind:
            raise
        except BaseException as error:
            self._leave(section)  # the interruption may have come while it was left
            if section.interrupted_at:
                raise self._over_limit() from error
            raise
        if section.interrupted_at:
            raise self._over_limit()
        return result

    def stop(self) -> None:
        """Ends the thread after what is queued; does not wait for it."""
        if self._timer is not None:
            self._timer.cancel()
        self._calls.put(None)

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            if self._thread is not threading.current_thread():
                return

    def _enter(self, section: _Section) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                section.is_left_behind = True
                raise ThreadLeftBehind
            self._section = section

    def _leave(self, section: _Section) -> None:
        with self._lock:
            if section.is_left_behind:
                raise ThreadLeftBehind
            if self._section is section:
                self._section = None
            if section.interrupted_at:
                # Not raised yet: it must not come up in code that is not the author's.
                _raise_in(section.thread_id, None)

    def _watch(self) -> None:
        """Looks after the code that runs now; runs on the event loop, once a limit while nothing is late."""
        now = time.monotonic()
        section = self._section
        pause_s = self._limit_s
        if section is not None and section.interrupted_at:
            pause_s = section.interrupted_at + _HEED_S - now
            if pause_s <= 0:
                self._leave_behind(section)
                pause_s = self._limit_s
        elif section is not None:
            pause_s = section.started_at + self._limit_s - now
            if pause_s <= 0:
                self._interrupt(section)
                pause_s = _HEED_S
        self._timer = self._loop.call_later(pause_s, self._watch)

    def _interrupt(self, section: _Section) -> None:
        with self._lock:
            if self._section is not section:
                return
            section.interrupted_at = time.monotonic()
            _raise_in(section.thread_id, _ScoringInterrupted)
        _log.warning("the model has been scoring for %g s, its scoring limit: interrupted", self._limit_s)

    def _leave_behind(self, section: _Section) -> None:
        with self._lock:
            if self._section is not section:
                return
            self._section = None
            section.is_left_behind = True
            abandoned, self._current = self._current, None
            self._start_thread()
        self._left_behind += 1
        _log.error(
            "the model does not heed its interruption: left behind, %d in all; each keeps its thread and its memory",
            self._left_behind,
        )
        if abandoned is not None:
            _fail(abandoned, self._over_limit())

    def _over_limit(self) -> ModelFailedError:
        return ModelFailedError(
            f"the model took longer than {self._limit_s:g} s (its scoring limit)", {"limit_s": f"{self._limit_s:g}"}
        )


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Raises an exception in another thread at its next bytecode; None takes back what was not raised yet."""
    target = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), target)


def _finish(future: "asyncio.Future[_Result]", result: _Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[_Result]", error: BaseException) -> None:
    if not future.done():
        is_exception = isinstance(error, Exception) and not isinstance(error, StopIteration)
        future.set_exception(error if is_exception else RuntimeError(f"{type(error).__name__}: {error}"))

"""The one thread in which a model runs; the event loop stays free for pings, health and in-progress signals."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class ModelThread:
    """Runs calls one after another, in the order in which they were submitted.

    A daemon thread: a model that hangs does not keep the process from ending.
    `submit` belongs to the event loop on which the object was made.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], _Result]) -> "asyncio.Future[_Result]":
        """Queues *call* and returns its future.

        Cancelling the future before the call has begun skips the call.
        """
        future: asyncio.Future[_Result] = self._loop.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_finish, future, result)

        self._calls.put(run)
        return future

    def stop(self) -> None:
        """Ends the thread after what is queued; does not wait for it."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _finish(future: "asyncio.Future[_Result]", result: _Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[_Result]", error: BaseException) -> None:
    if not future.done():
        is_exception = isinstance(error, Exception) and not isinstance(error, StopIteration)
        future.set_exception(error if is_exception else RuntimeError(f"{type(error).__name__}: {error}"))

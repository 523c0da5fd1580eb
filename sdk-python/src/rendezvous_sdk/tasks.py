"""Ending asyncio tasks for certain."""

import asyncio
from typing import Any

__all__ = ["end_tasks"]

_AGAIN_AFTER_S = 0.05


async def end_tasks(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancels tasks and waits until they have ended; what they raise is dropped.

    One cancellation is not enough: `asyncio.wait_for` of Python 3.11 swallows it when its future completes
    in the same turn of the loop, and nats-py swallows it while it flushes.
    """
    running = {task for task in tasks if task is not None}
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=_AGAIN_AFTER_S)
        for task in done:
            if not task.cancelled():
                task.exception()

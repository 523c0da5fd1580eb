"""Work that would keep other requests waiting is done in a thread."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["ASIDE_BYTES", "do_aside"]

ASIDE_BYTES = 64 << 10
"""Bodies and answers larger than this are read and written in a thread, so that other requests do not wait."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


async def do_aside(
    size_bytes: int, work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Returns what *work* returns, done in a thread if it is about more than `ASIDE_BYTES`, else at once.

    Cancellation: the thread ends its work, and nobody waits for it.
    """
    if size_bytes > ASIDE_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)

"""Signals to the first process of a container, which the kernel spares where it has no handler."""

import asyncio
import logging
import os
import signal
from types import FrameType

__all__ = ["drain_on_signals", "heed_sigterm_early"]

_log = logging.getLogger(__name__)


def heed_sigterm_early() -> None:
    """Lets SIGTERM end process 1 of a container before it serves; other processes end by the signal anyway."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def drain_on_signals(stop: asyncio.Event) -> None:
    """Sets *stop* at the first SIGTERM or SIGINT; a second one ends the process at once. Called on the event loop."""
    loop = asyncio.get_running_loop()

    def drain(number: int) -> None:
        if stop.is_set():
            _end_at_once(number)
        _log.info("draining; a second signal ends this process at once")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain, number)


def _end_at_once(number: int) -> None:
    """Ends this process as signal *number* would if nobody handled it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # reached in process 1 only


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)  # nothing had been taken that could be lost

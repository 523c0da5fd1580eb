"""Watches a model server, and opens and closes the postbox with its health."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from rendezvous_proto.errors import UnavailableError
from rendezvous_sdk.scoring import unix_us

from rendezvous_router.bridge.errors import FarSilentError, FarWaitError

__all__ = ["FarWatch"]

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
_SILENCE_S = 5.0
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 2.0
_STEADY_S = 10.0
_REPEAT_LOG_S = 15.0


class FarWatch:
    """Asks every second how the model server is. Belongs to the event loop.

    It is down when it says so, or cannot be reached, by a question or by a scoring call. If it is merely silent it
    may be busy: then it is down after five seconds without any sign of life. After a lost call it is asked again at
    growing intervals, 0.2 to 2 seconds, so that one that comes and goes is not run into each time.

    Args:
        check: asks once; see `rendezvous_router.bridge.far.Far.check`.
        step_back: called when it went down.
        come_back: called when it is up (again).
        heard_at: when the model server last answered a scoring call, by the monotonic clock.
    """

    def __init__(
        self,
        *,
        check: Callable[[], Awaitable[None]],
        step_back: Callable[[], Awaitable[None]],
        come_back: Callable[[], Awaitable[None]],
        heard_at: Callable[[], float],
    ) -> None:
        self._check = check
        self._step_back = step_back
        self._come_back = come_back
        self._heard_at = heard_at
        self._is_up = False
        self._reason = "not asked yet"
        self._changed_unix_us = unix_us()
        self._answered_at = time.monotonic()
        self._up_since = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._logged_at = 0.0
        self._lost = ""
        self._woken = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the model server is up, and the postbox read."""
        return self._is_up

    @property
    def status(self) -> dict[str, object]:
        """What `rendezvous models` shows: `state` (`up` or `down`), since when, and why it is down."""
        status: dict[str, object] = {
            "state": "up" if self._is_up else "down",
            "state_since_unix_us": self._changed_unix_us,
        }
        return status if self._is_up else {**status, "reason": self._reason}

    def lose(self, error: UnavailableError) -> None:
        """Is told that a call did not reach the model server."""
        self._lost = f"a call failed: {error.message}"
        self._woken.set()

    async def run(self) -> None:
        """Watches for ever."""
        while True:
            fault, self._lost = self._lost, ""
            if fault:
                await self._go_down(fault)
            else:
                await self._ask()
            await self._pause()

    async def _ask(self) -> None:
        try:
            await self._check()
        except FarSilentError as error:
            quiet_s = time.monotonic() - max(self._answered_at, self._heard_at())
            if quiet_s > _SILENCE_S:
                await self._go_down(f"{error}, for {quiet_s:.0f} s")
        except FarWaitError as error:
            await self._go_down(str(error))
        else:
            self._answered_at = time.monotonic()
            await self._go_up()

    async def _go_down(self, reason: str) -> None:
        now = time.monotonic()
        self._reason = reason
        if not self._is_up:
            if now - self._logged_at >= _REPEAT_LOG_S:
                self._logged_at = now
                _log.warning("still waiting for the model server: %s", reason)
            return
        self._is_up = False
        self._changed_unix_us = unix_us()
        self._logged_at = now
        if now - self._up_since > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        _log.warning("stepping back, the model server is down: %s; its parcels wait in the postbox", reason)
        await self._step_back()

    async def _go_up(self) -> None:
        if self._is_up:
            return
        self._is_up = True
        self._up_since = time.monotonic()
        self._changed_unix_us = unix_us()
        _log.info("the model server is up: reading the postbox")
        await self._come_back()

    async def _pause(self) -> None:
        pause_s = INTERVAL_S
        if not self._is_up:
            pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _LAST_PAUSE_S)
        try:
            await asyncio.wait_for(self._woken.wait(), pause_s)
        except TimeoutError:
            return
        self._woken.clear()

"""The broker's present time: read from it now and then, carried on by a monotonic clock in between."""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime, timedelta

from nats import errors
from nats.aio.client import Client

__all__ = ["BrokerClock"]

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFRESH_S = 30.0
_RETRY_S = 1.0
_REPEAT_LOG_S = 15.0
_REQUEST_TIMEOUT_S = 2.0


class BrokerClock:
    """Tells the broker's time, whatever happens to this machine's. Belongs to the event loop.

    Args:
        nc: the connection.
        stream: stream of a consumer that exists; the broker's time is in what it says of it.
        consumer: its name.

    Source: docs/protocol.md, P71.
    """

    def __init__(self, nc: Client, *, stream: str, consumer: str) -> None:
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.INFO.{stream}.{consumer}"
        self._ahead_us: int | None = None

    def now_us(self) -> int:
        """Returns the broker's present time, microseconds since 1970-01-01 UTC.

        Raises:
            RuntimeError: it was never read.
        """
        if self._ahead_us is None:
            raise RuntimeError("the broker's clock was never read: await wait_read() first")
        return _monotonic_us() + self._ahead_us

    async def wait_read(self) -> None:
        """Reads until the broker answers, for ever, saying what is waited for."""
        logged_at = -_REPEAT_LOG_S
        while (failure := await self._read()) is not None:
            if time.monotonic() - logged_at >= _REPEAT_LOG_S:
                logged_at = time.monotonic()
                _log.warning("waiting for the broker's time: %r", failure)
            await asyncio.sleep(_RETRY_S)

    async def follow(self) -> None:
        """Reads again and again, for ever; while the broker does not answer, what was read is carried on."""
        pause_s = _REFRESH_S
        while True:
            await asyncio.sleep(pause_s)
            failure = await self._read()
            pause_s = _REFRESH_S if failure is None else _RETRY_S
            if failure is not None:
                _log.debug("broker's time not read: %r", failure)

    async def _read(self) -> Exception | None:
        """Reads once; returns why it could not."""
        sent_us = _monotonic_us()
        try:
            reply = await self._nc.request(self._subject, timeout=_REQUEST_TIMEOUT_S)
            middle_us = (sent_us + _monotonic_us()) // 2
            broker_at = datetime.fromisoformat(json.loads(reply.data).get("ts", ""))
        except (errors.Error, TimeoutError, ValueError) as error:
            return error
        self._ahead_us = (broker_at - _EPOCH) // timedelta(microseconds=1) - middle_us
        return None


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000

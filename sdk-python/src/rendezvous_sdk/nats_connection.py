"""A NATS connection with the settings that a long-running process needs.

nats-py's defaults give up after sixty attempts and say nothing. Here a connection reconnects for ever,
notices a silent server within seconds, logs what happens to it, and tells any number of listeners that it is
back.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from nats import errors
from nats.aio.client import Client

_log = logging.getLogger(__name__)

RECONNECT_WAIT_S = 0.2
PING_INTERVAL_S = 3
CONNECT_TIMEOUT_S = 2
DRAIN_TIMEOUT_S = 3
BUFFER_BYTES = 8 * 1024 * 1024
_REPEAT_LOG_S = 10.0

Listener = Callable[[], None]


class Connection(Client):
    """nats-py's client that tells any number of listeners of each reconnection.

    Attributes:
        reconnect_listeners: called in order, on the event loop, after subscriptions were replayed.
        disconnect_listeners: called in order, on the event loop, as soon as the connection is lost.
        slow_consumer_drops: messages that the client dropped because a subscription's buffer was full.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reconnect_listeners: list[Listener] = []
        self.disconnect_listeners: list[Listener] = []
        self.slow_consumer_drops = 0


async def connect(
    url: str,
    *,
    name: str,
    on_closed: Listener | None = None,
    on_reconnected: Listener | None = None,
    timeout_s: float | None = None,
    buffer_bytes: int = BUFFER_BYTES,
) -> Connection:
    """Connects and stays connected.

    Args:
        url: `nats://host:port`, several separated by commas.
        name: shown by the server's monitoring.
        on_closed: called when the connection is closed for good (also by `close()`).
        on_reconnected: called after each reconnection.
        timeout_s: seconds to wait for the first connection; None waits for ever, with a log line now and
            then.
        buffer_bytes: how much may be published while disconnected, sent after the reconnection; -1 refuses to
            publish while disconnected (`nats.errors.OutboundBufferLimitError`), for messages that are worth
            nothing later and must not be believed sent.

    Returns:
        The connection.

    Raises:
        ConnectionError: no server answered within `timeout_s`.
        nats.errors.Error: the server refused (credentials, protocol).
    """
    connection = Connection()
    if on_reconnected is not None:
        connection.reconnect_listeners.append(on_reconnected)
    events = _Events(connection, url, on_closed)
    connecting = connection.connect(
        servers=url.split(","),
        name=name,
        error_cb=events.error,
        disconnected_cb=events.disconnected,
        reconnected_cb=events.reconnected,
        closed_cb=events.closed,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        # the annotation says int, the code sleeps that many seconds
        reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
        connect_timeout=CONNECT_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        max_outstanding_pings=2,
        drain_timeout=DRAIN_TIMEOUT_S,
        pending_size=buffer_bytes,
    )
    try:
        await asyncio.wait_for(connecting, timeout_s)
    except TimeoutError as error:
        raise ConnectionError(
            f"no NATS server answered at {redact(url)} within {timeout_s:g} s: start one, or give its address"
        ) from error
    return connection


def redact(url: str) -> str:
    """Returns *url* (or several, separated by commas) without user names, passwords and tokens."""
    return ",".join(_redact_one(part) for part in url.split(","))


def _redact_one(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Events:
    """Logs what happens to one connection, the same error at most once in ten seconds."""

    def __init__(self, connection: Connection, url: str, on_closed: Listener | None) -> None:
        self._connection = connection
        self._url = redact(url)
        self._on_closed = on_closed
        self._logged: dict[str, float] = {}

    async def error(self, error: Exception) -> None:
        if isinstance(error, errors.SlowConsumerError):
            self._connection.slow_consumer_drops += 1
        text = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        if now - self._logged.get(text, -_REPEAT_LOG_S) >= _REPEAT_LOG_S:
            self._logged[text] = now
            _log.warning("NATS at %s: %s", self._url, text)

    async def disconnected(self) -> None:
        if self._connection.is_closed:
            return
        _log.warning("disconnected from NATS at %s; trying to reconnect", self._url)
        for listener in tuple(self._connection.disconnect_listeners):
            listener()

    async def reconnected(self) -> None:
        _log.info("reconnected to NATS at %s", self._url)
        self._logged.clear()
        for listener in tuple(self._connection.reconnect_listeners):
            listener()

    async def closed(self) -> None:
        if self._on_closed is not None:
            self._on_closed()

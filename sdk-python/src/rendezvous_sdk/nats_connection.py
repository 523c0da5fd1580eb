"""A NATS connection with the settings that a long-running process needs.

nats-py's defaults give up after sixty attempts and say nothing. Here a connection reconnects for ever,
notices a silent server within seconds, logs what happens to it, and tells any number of listeners that it is
back.
"""

import asyncio
import logging
import random
import re
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from nats import errors
from nats.aio.client import Client
from rendezvous_proto.errors import InvalidRequestError, UnauthenticatedError

from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.tasks import end_tasks

_log = logging.getLogger(__name__)

RECONNECT_WAIT_S = 0.2
PING_INTERVAL_S = 3
CONNECT_TIMEOUT_S = 2
DRAIN_TIMEOUT_S = 3
BUFFER_BYTES = 8 * 1024 * 1024
REFUSED_PAUSE_S = 2.0
"""Pause after a refused key, give or take a fifth: it may be added later."""
_REPEAT_LOG_S = 10.0

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)
_REFUSED = (
    "authorization violation",
    "authentication expired",
    "authentication revoked",
    "authentication timeout",
)
_SENT_AWAY = (*_REFUSED, "maximum connections exceeded", "maximum account active connections exceeded")
"""What a server says before it closes a connection that may well come back."""
_NO_TLS = "the server does not offer TLS, and nothing is sent to it without: leave out ca, cert and tls"
_OWN_CERTIFICATE = "give one that its authority signed (RENDEZVOUS_CERT, RENDEZVOUS_CERT_KEY)"
_HUNG_UP = "the server ended the connection as it began: if it asks for clients' certificates, " + _OWN_CERTIFICATE
_ALERT = re.compile(r"alert (unknown ca|bad certificate|certificate \w+)")

Listener = Callable[[], None]


class Connection(Client):
    """nats-py's client that tells any number of listeners of each reconnection.

    It comes back also after the server refused its key or sent it away, shows a key and certificates as they are in
    their files at that moment, and says nothing of a key to a server that speaks no TLS although it should.

    Args:
        credentials: key and certificates; None: none.

    Attributes:
        reconnect_listeners: called in order, on the event loop, after subscriptions were replayed.
        disconnect_listeners: called in order, on the event loop, as soon as the connection is lost.
        slow_consumer_drops: messages that the client dropped because a subscription's buffer was full.
        refused: set once the server has refused the credentials, or asked for some.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        super().__init__()
        self.credentials = credentials or Credentials()
        self.reconnect_listeners: list[Listener] = []
        self.disconnect_listeners: list[Listener] = []
        self.slow_consumer_drops = 0
        self.refused = asyncio.Event()
        self._denied: set[str] = set()

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A context of the files as they are now: nats-py asks before each handshake."""
        try:
            return self.credentials.ssl_context()
        except InvalidRequestError as error:  # nats-py would die of it, and never reconnect
            raise errors.Error(error.message) from error

    def is_denied(self, subject: str) -> bool:
        """Returns whether the server has said on this connection that the key may not publish to *subject*."""
        return subject.lower() in self._denied  # the server's word comes in lower case

    def deny(self, subject: str) -> None:
        """Remembers that the server has said so."""
        self._denied.add(subject.lower())

    def permit(self) -> None:
        """Forgets it: another connection, perhaps other permissions."""
        self._denied.clear()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection:
            assert self._current_server is not None, "nats-py has just connected to it"
            uri = self._current_server.uri
            if self.credentials.uses_tls or uri.scheme == "tls":
                if not info.get("tls_required") and not info.get("tls_available"):
                    raise errors.Error(_NO_TLS)
                info["tls_required"] = True  # nats-py stays in the clear where the server leaves the choice
            try:
                self.credentials.check_exposure(uri.hostname or "", has_tls=bool(info.get("tls_required")))
            except InvalidRequestError as error:
                raise errors.Error(error.message) from error
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        await super()._process_connect_init()
        if not self.is_connected:  # nats-py takes the end of the connection for neither yes nor no
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            raise errors.Error(_HUNG_UP)

    async def _process_err(self, err_msg: str) -> None:
        if any(sign in err_msg for sign in _SENT_AWAY):  # nats-py would close for good
            error = errors.Error(f"nats: {err_msg}")
            await self._error_cb(error)
            await self._process_op_err(error)
        else:
            await super()._process_err(err_msg)


async def connect(
    url: str,
    *,
    name: str,
    on_closed: Listener | None = None,
    on_reconnected: Listener | None = None,
    on_refused: Listener | None = None,
    timeout_s: float | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    credentials: Credentials | None = None,
) -> Connection:
    """Connects and stays connected.

    Args:
        url: `nats://host:port`, several separated by commas.
        name: shown by the server's monitoring.
        on_closed: called when the connection is closed for good (also by `close()`).
        on_reconnected: called after each reconnection.
        on_refused: called each time that the server refuses the key, or asks for one.
        timeout_s: seconds to wait for the first connection; None waits for ever, with a log line now and
            then.
        buffer_bytes: how much may be published while disconnected, sent after the reconnection; -1 refuses to
            publish while disconnected (`nats.errors.OutboundBufferLimitError`), for messages that are worth
            nothing later and must not be believed sent.
        credentials: key and certificates; None takes what the environment says.

    Returns:
        The connection.

    Raises:
        ConnectionError: no server answered within `timeout_s`.
        UnauthenticatedError: the server refused the key or asks for one, and `timeout_s` is given: who waits for ever
            tries again for ever.
        InvalidRequestError: the key is malformed or would travel in the clear, or a file cannot be read.
        nats.errors.Error: the server refused (protocol).
    """
    shown = Credentials.read() if credentials is None else credentials
    _check(url, shown)
    connection = Connection(shown)
    if on_reconnected is not None:
        connection.reconnect_listeners.append(on_reconnected)
    events = _Events(connection, url, on_closed, on_refused)
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
        inbox_prefix=shown.inbox_prefix,
        user=None if shown.key is None else shown.key.id,
        password=None if shown.key is None else shown.key.secret,
    )
    if timeout_s is None:
        await connecting
    else:
        await _connect_within(asyncio.create_task(connecting), connection, events, timeout_s)
    return connection


def _check(url: str, shown: Credentials) -> None:
    """Raises what is wrong before anything is tried."""
    for part in url.split(","):
        parts = urlsplit(part if "://" in part else f"nats://{part}")
        shown.check_exposure(parts.hostname or "", has_tls=shown.uses_tls or parts.scheme == "tls")
    if shown.uses_tls:
        shown.ssl_context()


async def _connect_within(
    connecting: "asyncio.Task[None]", connection: Connection, events: "_Events", timeout_s: float
) -> None:
    refused = asyncio.create_task(connection.refused.wait())
    try:
        await asyncio.wait({connecting, refused}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            connecting.result()
            return
        if refused.done():
            raise UnauthenticatedError(events.refusal)
        why = f" ({events.last})" if events.last else ""
        raise ConnectionError(
            f"no NATS server answered at {events.url} within {timeout_s:g} s{why}: start one, or give its address"
        )
    finally:
        await end_tasks(connecting, refused)


def redact(url: str) -> str:
    """Returns *url* (or several, separated by commas) without user names, passwords and tokens."""
    return ",".join(_redact_one(part) for part in url.split(","))


def _redact_one(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Events:
    """Logs what happens to one connection, the same error at most once in ten seconds."""

    def __init__(
        self, connection: Connection, url: str, on_closed: Listener | None, on_refused: Listener | None
    ) -> None:
        self.url = redact(url)
        self.last = ""
        self._connection = connection
        self._on_closed = on_closed
        self._on_refused = on_refused
        self._logged: dict[str, float] = {}

    @property
    def refusal(self) -> str:
        """What to say where the server refuses who asks."""
        key = self._connection.credentials.key
        if key is None:
            return f"NATS at {self.url} asks for a key: set RENDEZVOUS_KEY or RENDEZVOUS_KEY_FILE"
        return f"NATS at {self.url} refuses key {key.id}: it is unknown, wrong, revoked or expired"

    async def error(self, error: Exception) -> None:
        text = str(error)
        if isinstance(error, errors.SlowConsumerError):
            self._connection.slow_consumer_drops += 1
        if (denied := _DENIED.search(text)) is not None:
            self._connection.deny(denied[2])
            self._log(self._lack(denied[1], denied[2]))
        elif any(sign in text.lower() for sign in _REFUSED):
            self._connection.refused.set()
            if self._on_refused is not None:
                self._on_refused()
            self._log(f"{self.refusal}; tried again every {REFUSED_PAUSE_S:g} s")
            if not self._connection.is_connected:
                # nats-py awaits this between its attempts: each costs the server the check of a hash.
                await asyncio.sleep(REFUSED_PAUSE_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        else:
            meaning = _meaning(error)
            plain = f"{type(error).__name__}: {text}".removesuffix(": ")
            self.last = meaning or self.last or plain  # what a handshake said is worth more than the reset after it
            self._log(f"NATS at {self.url}: {meaning or plain}")

    async def disconnected(self) -> None:
        if self._connection.is_closed:
            return
        _log.warning("disconnected from NATS at %s; trying to reconnect", self.url)
        for listener in tuple(self._connection.disconnect_listeners):
            listener()

    async def reconnected(self) -> None:
        _log.info("reconnected to NATS at %s", self.url)
        self._logged.clear()
        self._connection.permit()
        self._connection.refused.clear()
        for listener in tuple(self._connection.reconnect_listeners):
            listener()

    async def closed(self) -> None:
        if self._on_closed is not None:
            self._on_closed()

    def _lack(self, verb: str, subject: str) -> str:
        key = self._connection.credentials.key
        who = "this connection" if key is None else f"key {key.id}"
        what = "publish to" if verb == "publish" else "subscribe to"
        return (
            f"NATS at {self.url}: {who} may not {what} {subject}: it lacks the scope, or is of another model or version"
        )

    def _log(self, text: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(text, -_REPEAT_LOG_S) >= _REPEAT_LOG_S:
            self._logged[text] = now
            _log.warning("%s", text)


def _meaning(error: Exception) -> str:
    """Returns what an error of a handshake means; empty: it is about something else."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted ({error.verify_message}): give the authority that signed it "
            "(RENDEZVOUS_CA), and an address that it is for"
        )
    if isinstance(error, ssl.SSLError) and (alert := _ALERT.search(text)) is not None:
        if alert[1] == "certificate required":
            return f"it asks for clients' certificates: {_OWN_CERTIFICATE}"
        return f"it does not accept the own certificate ({alert[1]}): {_OWN_CERTIFICATE}"
    return text if text in (_HUNG_UP, _NO_TLS) else ""

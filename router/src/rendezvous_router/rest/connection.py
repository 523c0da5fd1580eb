"""One HTTP connection: uvicorn's, with the limits that it lacks. The parser is httptools (llhttp, in C).

Limits here are those that must hold before a request exists: how long its head may take and how large it may be, how
slowly a body may come, how slowly an answer may be read, and how many connections there are. Whoever exceeds one is
answered with a problem, if it is not too late for that, and disconnected.
"""

import asyncio
import logging
import resource
from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

import httptools
from rendezvous_proto.errors import InvalidRequestError, OverloadedError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from rendezvous_router.rest.problems import PROBLEM, problem_of

__all__ = ["BODY_BYTES_PER_S", "BODY_S", "HEAD_BYTES", "HEAD_S", "IDLE_S", "READ_S", "Connection", "raise_open_files"]

HEAD_S = 10
"""Longest time from a request's first byte, or the connection's start, to the end of its headers."""
HEAD_BYTES = 16 << 10
"""Largest head: target and headers."""
BODY_S = 10
"""What a body may take beyond its size at the least rate."""
BODY_BYTES_PER_S = 4096
"""Least rate of a body."""
IDLE_S = 60
"""How long a connection without a request stays open."""
EARLY_BYTES = 32 << 20
"""What is read, and dropped, of a body whose request is answered already: many clients send all of it before they read,
and a connection that is closed on unread octets is reset, which takes the answer away."""
EARLY_S = 5
"""How long it is read."""
HANDSHAKE_S = 10
"""Longest time from an HTTPS connection's start to the end of its handshake."""
READ_S = 30
"""Longest time in which a client may read nothing of an answer that waits for it."""
SPARE_FILES = 1024
"""Files that the rest of the process may open."""

_log = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """Of one client. Made by uvicorn.

    Args:
        most: connections at most; one more is refused.
        settings: uvicorn's own.
    """

    def __init__(self, *, most: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._most = most
        self._head_bytes = 0
        self._is_head = True
        self._fault: HTTPStatus | None = None
        self._body_since = 0.0
        self._body_bytes = 0
        self._has_offer = False
        self._is_again = False
        self._early_bytes: int | None = None
        self._watched: RequestResponseCycle | None = None
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Takes a connection, or refuses it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self._end(
                HTTPStatus.SERVICE_UNAVAILABLE,
                OverloadedError(
                    f"{self._most} connections are open, the limit (--rest-connections): retry after a moment, "
                    "and keep connections for several requests",
                    {"limit": self._most},
                ),
            )
            return
        self._timer = self.loop.call_later(HEAD_S, self._end_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timers."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came; starts a timer if it is not a whole request."""
        if self.transport.is_closing():
            return
        if self._early_bytes is not None:
            self._early_bytes -= len(data)
            if self._early_bytes < 0 and self._is_answered():
                self.transport.close()
                return
        if self._is_head:
            self._head_bytes += len(data)
        else:
            self._body_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._is_head and self._head_bytes > HEAD_BYTES:
            self._fault = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")
        elif self._timer is None and self._head_bytes:
            self._start_timer()
        if not self._is_head:
            self._watch_answer()

    def on_url(self, url: bytes) -> None:
        """Counts the target."""
        if not self._is_again:
            super().on_url(url)
            self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts a header."""
        if not self._is_again:
            super().on_header(name, value)
            self._count(len(name) + len(value) + 4)

    def on_message_begin(self) -> None:
        """Starts to count a head."""
        if not self._is_again:
            super().on_message_begin()
            self._counted = 0

    def on_headers_complete(self) -> None:
        """Goes from the head to the body."""
        if self._is_again:
            return
        self._has_offer = self.parser.should_upgrade()
        self._stop_timer()
        self._is_head = False
        self._body_bytes = 0
        self._body_since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Waits for the next head."""
        if self._has_offer:
            return  # the parser stops at the head of a request that offers another protocol: the body is to come
        super().on_message_complete()
        self._stop_timer()
        self._is_head = True
        self._head_bytes = 0
        if self._early_bytes is not None and self._is_answered():
            self.transport.close()

    def on_response_complete(self) -> None:
        """Waits for the next request; or, if the body still comes, ends writing, drops what comes, and closes then.

        To close at once would take the answer away from a client that is still sending.
        """
        super().on_response_complete()
        if self._early_bytes is None or self.transport.is_closing():
            return
        if not self.cycle.more_body:
            self.transport.close()
            return
        self._early_bytes = EARLY_BYTES
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()
        self._stop_timer()
        self._timer = self.loop.call_later(EARLY_S, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 # uvicorn's words are replaced
        """Answers what the parser refuses."""
        status = self._fault or HTTPStatus.BAD_REQUEST
        if status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            what = f"target and headers have more than {HEAD_BYTES} bytes, the limit: send fewer or shorter headers"
        else:
            what = "this is not an HTTP/1.1 request: see docs/rest.md"
        self._end(status, InvalidRequestError(what))

    def pause_writing(self) -> None:
        """Begins to wait for a client that does not read."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads on."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, or one whose client has yet to read its answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _decline(self, rest: bytes) -> None:
        """Goes on over HTTP/1.1 where a client offers another protocol, as Java's does with its first request.

        The parser takes what follows the head for that protocol. A new one is told of the body by a head of its own.
        """
        framing = b"".join(
            b"%s: %s\r\n" % (name, value)
            for name, value in self.headers
            if name in (b"content-length", b"transfer-encoding")
        )
        self._has_offer = False
        self.parser = httptools.HttpRequestParser(self)
        self._is_again = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        except httptools.HttpParserError:  # a framing that the parser looks at only where no protocol is offered
            self.send_400_response("")
            return
        finally:
            self._is_again = False
        if rest:
            self._feed(rest)

    def _is_answered(self) -> bool:
        return bool(self.cycle.response_complete)

    def _watch_answer(self) -> None:
        """Sees to it that an answer which goes out before its request's end says that the connection ends with it."""
        cycle, send = self.cycle, self.cycle.send
        if cycle is self._watched:
            return
        self._watched = cycle

        async def send_early(message: Any) -> None:
            is_early = message["type"] == "http.response.start" and cycle.more_body
            if is_early:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)
            if is_early:
                self._early_bytes = EARLY_BYTES
                cycle.keep_alive = True  # else it is closed at once

        cycle.send = send_early  # type: ignore[method-assign] # of this one request

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > HEAD_BYTES:
            self._fault = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise httptools.HttpParserError  # ends in `send_400_response`

    def _start_timer(self) -> None:
        if self._is_head:
            self._timer = self.loop.call_later(HEAD_S, self._end_slow_head)
        else:
            self._timer = self.loop.call_later(BODY_S, self._watch_body)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_slow_head(self) -> None:
        self._timer = None
        what = f"the request's head did not arrive within {HEAD_S} s: send it at once"
        self._end(HTTPStatus.REQUEST_TIMEOUT, InvalidRequestError(what))

    def _watch_body(self) -> None:
        late_s = self.loop.time() - self._body_since - BODY_S - self._body_bytes / BODY_BYTES_PER_S
        if late_s < 0:
            self._timer = self.loop.call_later(max(1.0, -late_s), self._watch_body)
            return
        self._timer = None
        what = f"the body comes slower than {BODY_BYTES_PER_S} bytes a second, after {BODY_S} s: send it faster"
        self._end(HTTPStatus.REQUEST_TIMEOUT, InvalidRequestError(what))

    def _end(self, status: HTTPStatus, error: InvalidRequestError | OverloadedError) -> None:
        """Answers with a problem, unless another answer is on its way or would be mistaken for this one; closes."""
        self._stop_timer()
        transport = self.transport
        if transport.is_closing():
            return
        if self._early_bytes is not None and self._is_answered():
            transport.close()
            return
        cycle = self.cycle
        is_busy = cycle is not None and not cycle.response_complete
        if not is_busy or (not self._is_head and not cycle.response_started and not self.pipeline):
            transport.write(_raw_answer(status, error))
        if is_busy:
            cycle.disconnected = True
            cycle.message_event.set()
        transport.close()


def raise_open_files(connections: int) -> None:
    """Lets this process open as many files as so many *connections* need, as far as the system allows."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning(
            "this process may open %d files, %d REST connections need %d: raise the limit (ulimit -n), or lower "
            "--rest-connections",
            allowed,
            connections,
            wanted,
        )


def _raw_answer(status: HTTPStatus, error: InvalidRequestError | OverloadedError) -> bytes:
    body = problem_of(error, status=status)
    retry = "retry-after: 1\r\n" if error.retryable else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\n"
        f"{retry}connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body

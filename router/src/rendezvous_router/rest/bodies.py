"""Bodies of requests: read as a stream against a limit, and inflated against the same limit."""

import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

import zstandard
from rendezvous_proto.errors import InvalidRequestError, TooLargeError

from rendezvous_router.rest.problems import HttpFaultError

__all__ = ["ENCODINGS", "MEMBERS", "ClientGoneError", "read_body"]

ENCODINGS = ("gzip", "deflate", "zstd")
"""Content encodings that are taken, beside none."""
WINDOW_BYTES = 8 << 20
"""Most memory that a zstd body may ask for."""
MEMBERS = 16
"""Most members of gzip, or frames of zstd, that a body may consist of: each costs, also if it is empty."""
_STEP_BYTES = 256 << 10

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client went away before its body was there: nobody is left to be answered."""


class _Inflater(Protocol):
    def inflate(self, octets: bytes) -> Iterable[bytes]:
        """Yields the contents of the next octets in pieces of bounded size."""

    def is_complete(self) -> bool:
        """Tells whether the end of the contents has come."""


async def read_body(receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int) -> bytes:
    """Returns a request's body, inflated if it is compressed.

    Args:
        receive: of ASGI.
        headers: of ASGI: names in lower case.
        limit: largest body, as received and inflated, bytes.

    Raises:
        TooLargeError: the body is larger.
        InvalidRequestError: it is not what its `Content-Encoding` says.
        HttpFaultError: another encoding (415).
        ClientGoneError: the client went away.
    """
    encoding, declared = b"", -1
    for name, value in headers:
        if name == b"content-length":
            declared = int(value)  # the parser took it for a number
        elif name == b"content-encoding":
            encoding = encoding + b"," + value if encoding else value
    if declared > limit:
        raise _too_large(limit, declared)
    inflater = _inflater_of(encoding.decode("latin-1").strip().lower())
    message = await receive()
    if not encoding and not message.get("more_body"):
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body: bytes = message["body"]
        return body if len(body) <= limit else _refuse(limit)
    return await _collect(receive, message, inflater, limit)


async def _collect(
    receive: Receive, message: MutableMapping[str, Any], inflater: _Inflater | None, limit: int
) -> bytes:
    whole = bytearray()
    received = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        octets: bytes = message.get("body", b"")
        received += len(octets)
        if received > limit:
            raise _too_large(limit)
        for piece in (octets,) if inflater is None else inflater.inflate(octets):
            whole += piece
            if len(whole) > limit:
                raise _too_large(limit)
        if not message.get("more_body"):
            break
        message = await receive()
    if inflater is not None and not inflater.is_complete():
        raise InvalidRequestError("body: its compressed contents end too early: send them whole")
    return bytes(whole)


def _inflater_of(encoding: str) -> _Inflater | None:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return _Zlib("gzip", zlib.MAX_WBITS | 16)
    if encoding == "deflate":
        return _Zlib("deflate", zlib.MAX_WBITS)
    if encoding == "zstd":
        return _Zstd()
    raise HttpFaultError(
        415,
        InvalidRequestError(
            f"Content-Encoding {encoding[:80]!r} is not taken: use one of {', '.join(ENCODINGS)}, or none",
            {"known": ",".join(ENCODINGS)},
        ),
        [("accept-encoding", ", ".join(ENCODINGS))],
    )


class _Zlib:
    def __init__(self, encoding: str, wbits: int) -> None:
        self._encoding = encoding
        self._wbits = wbits
        self._inflater = zlib.decompressobj(wbits)
        self._members = 1

    def inflate(self, octets: bytes) -> Iterable[bytes]:
        while octets:
            if self._inflater.eof:  # members may follow each other
                self._members = _counted(self._members)
                self._inflater = zlib.decompressobj(self._wbits)
            try:
                yield self._inflater.decompress(octets, _STEP_BYTES)
            except zlib.error as error:
                raise InvalidRequestError(f"body: is not {self._encoding}, as its Content-Encoding says") from error
            octets = self._inflater.unconsumed_tail or self._inflater.unused_data

    def is_complete(self) -> bool:
        return self._inflater.eof


class _Zstd:
    """Frame by frame, in steps of the input: one compressed block gives at most 128 KiB."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
        self._inflater = self._context.decompressobj()
        self._members = 1

    def inflate(self, octets: bytes) -> Iterable[bytes]:
        for start in range(0, len(octets), _ZSTD_STEP):
            piece = octets[start : start + _ZSTD_STEP]
            while piece:
                if self._inflater.eof:
                    self._members = _counted(self._members)
                    self._inflater = self._context.decompressobj()
                try:
                    yield self._inflater.decompress(piece)
                except zstandard.ZstdError as error:
                    raise InvalidRequestError(
                        f"body: is not zstd, as its Content-Encoding says, or needs a window of more than "
                        f"{WINDOW_BYTES} bytes"
                    ) from error
                piece = self._inflater.unused_data

    def is_complete(self) -> bool:
        return bool(self._inflater.eof)


_ZSTD_STEP = 64
"""Octets of input at a time: a block of nothing but one repeated byte takes four and gives 128 KiB, so that one step
gives 2 MiB at most."""


def _counted(members: int) -> int:
    if members == MEMBERS:
        raise InvalidRequestError(
            f"body: it has more than {MEMBERS} compressed members: compress it in one piece", {"limit": MEMBERS}
        )
    return members + 1


def _too_large(limit: int, actual: int | None = None) -> TooLargeError:
    size = f"of {actual} bytes" if actual is not None else "of more bytes"
    known = {"limit": limit} if actual is None else {"limit": limit, "actual": actual}
    return TooLargeError(f"body {size}: the limit is {limit} bytes, inflated; send fewer rows to a request", known)


def _refuse(limit: int) -> bytes:
    raise _too_large(limit)

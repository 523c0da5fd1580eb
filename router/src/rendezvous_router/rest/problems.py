"""Errors as RFC 9457 problems, from the one table of errors. Nothing of an exception's text but its own message."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from rendezvous_proto.errors import ErrorCode, InternalError, RendezvousError
from starlette.responses import Response

__all__ = ["PROBLEM", "TYPES", "HttpFaultError", "problem_of", "problem_response"]

PROBLEM = "application/problem+json"
"""Media type of every error outside of the Open Inference Protocol."""
TYPES = "urn:rendezvous:error:"
"""Beginning of a problem's `type`; the code in lower case with hyphens follows."""
RETRY_S = 1
"""What `Retry-After` says where the error does not know better."""
RETRY_ATTRIBUTE = "retry_after_ms"
"""Attribute of an error that says how long to wait."""

Headers = Sequence[tuple[str, str]]

_log = logging.getLogger(__name__)


class HttpFaultError(Exception):
    """A mistake about HTTP itself, which the table of errors does not have: path, method, media type, encoding.

    Args:
        status: the answer's.
        error: what is told, its code's own status apart.
        headers: go with the answer (`Allow`, `Accept-Encoding`, ...).
    """

    def __init__(self, status: int, error: RendezvousError, headers: Headers = ()) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error
        self.headers = headers


class _Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    attributes: dict[str, str] = {}
    request_id: str = ""


_encoder = msgspec.json.Encoder()


def problem_of(error: RendezvousError, *, status: int | None = None, request_id: str = "") -> bytes:
    """Returns an error as JSON.

    Args:
        error: what went wrong.
        status: HTTP status; None: that of the error's code.
        request_id: id of the request, if it is known.
    """
    message = error.to_proto()  # cut to what may travel
    code = ErrorCode(error.code)
    return _encoder.encode(
        _Problem(
            type=TYPES + code.name.lower().replace("_", "-"),
            title=error.facts.meaning,
            status=status or error.facts.http_status,
            detail=_sound(message.message),
            code=code.name,
            retryable=error.retryable,
            attributes={_sound(name): _sound(value) for name, value in message.attributes.items()},
            request_id=request_id,
        )
    )


def problem_response(fault: BaseException, request_id: str = "") -> Response:
    """Returns the answer to a request that ended in *fault*; what is no error of ours is logged and INTERNAL."""
    status: int | None = None
    headers: list[tuple[str, str]] = []
    if isinstance(fault, HttpFaultError):
        status, error, headers = fault.status, fault.error, list(fault.headers)
    elif isinstance(fault, RendezvousError):
        error = fault
    else:
        _log.error("a request failed inside the REST door", exc_info=fault)
        error = InternalError("a fault of the router: see its log, and please report it")
    if error.retryable:
        headers.append(("retry-after", str(retry_after_s(error))))
    if error.code == ErrorCode.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    if request_id:
        headers.append(("x-request-id", request_id))
    return Response(
        problem_of(error, status=status, request_id=request_id),
        status or error.facts.http_status,
        dict(headers),
        PROBLEM,
    )


def retry_after_s(error: RendezvousError) -> int:
    """Returns how long to wait before the next try, whole seconds, at least 1."""
    try:
        return max(RETRY_S, math.ceil(float(error.attributes.get(RETRY_ATTRIBUTE, "0")) / 1e3))
    except (ValueError, OverflowError):
        return RETRY_S


def phrase_of(status: int) -> str:
    """Returns the name of an HTTP status."""
    return HTTPStatus(status).phrase


def _sound(text: str) -> str:
    return text.encode(errors="replace").decode()

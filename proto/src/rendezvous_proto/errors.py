"""The closed list of errors: codes, the table of their meaning, and one exception class per code.

::

    Exception
    └── RendezvousError             code, message, attributes; to_proto(), from_proto(), of()
        ├── InvalidRequestError     INVALID_REQUEST
        ├── InvalidFrameError       INVALID_FRAME
        ├── SignatureMismatchError  SIGNATURE_MISMATCH
        ├── TooLargeError           TOO_LARGE
        ├── UnknownEndpointError    UNKNOWN_ENDPOINT
        ├── UnknownModelError       UNKNOWN_MODEL
        ├── RequestIdConflictError  REQUEST_ID_CONFLICT
        ├── InvalidSpecError        INVALID_SPEC
        ├── ExpiredError            EXPIRED
        ├── NoAnswerError           NO_ANSWER
        ├── OverloadedError         OVERLOADED
        ├── UnavailableError        UNAVAILABLE
        ├── ModelFailedError        MODEL_FAILED
        ├── InvalidOutputError      INVALID_OUTPUT
        ├── UnauthenticatedError    UNAUTHENTICATED
        ├── PermissionDeniedError   PERMISSION_DENIED
        ├── UnimplementedError      UNIMPLEMENTED
        └── InternalError           INTERNAL

Nothing here imports a web or RPC framework: statuses are names and numbers, adapters map them.
Source: docs/protocol.md, section "Errors".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar

from rendezvous_proto import v1

__all__ = [
    "ERROR_METADATA_KEY",
    "ERROR_TABLE",
    "ErrorCode",
    "ErrorFacts",
    "ExpiredError",
    "InternalError",
    "InvalidFrameError",
    "InvalidOutputError",
    "InvalidRequestError",
    "InvalidSpecError",
    "ModelFailedError",
    "NoAnswerError",
    "OverloadedError",
    "PermissionDeniedError",
    "RendezvousError",
    "RequestIdConflictError",
    "SignatureMismatchError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownEndpointError",
    "UnknownModelError",
    "shown",
]

ERROR_METADATA_KEY = "rendezvous-error-bin"
"""Key of the trailing gRPC metadata that holds the serialized `v1.Error` beside a status that is not OK."""

_MESSAGE_CHARACTERS = 1000
_MESSAGE_BYTES = 1500
"""As UTF-8: a status takes three for each that is not ASCII, and gRPC begins to refuse metadata at 8 KiB."""
_SHOWN_CHARACTERS = 80
_ATTRIBUTES_BYTES = 4096


class ErrorCode(IntEnum):
    """What went wrong: the values of the proto enum, without its prefix and without `UNSPECIFIED`."""

    INVALID_REQUEST = 1
    INVALID_FRAME = 2
    SIGNATURE_MISMATCH = 3
    TOO_LARGE = 4
    UNKNOWN_ENDPOINT = 5
    UNKNOWN_MODEL = 6
    REQUEST_ID_CONFLICT = 7
    INVALID_SPEC = 8
    EXPIRED = 9
    NO_ANSWER = 10
    OVERLOADED = 11
    UNAVAILABLE = 12
    MODEL_FAILED = 13
    INVALID_OUTPUT = 14
    UNAUTHENTICATED = 15
    PERMISSION_DENIED = 16
    UNIMPLEMENTED = 17
    INTERNAL = 18


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What is fixed about one code."""

    meaning: str
    """For people, one sentence."""
    retryable: bool
    """Whether the same request, with the same id, may succeed later."""
    grpc_status: str
    """Name of the gRPC status."""
    http_status: int
    """HTTP status."""


_ROWS: tuple[tuple[ErrorCode, str, bool, str, int], ...] = (
    (
        ErrorCode.INVALID_REQUEST,
        "A field of the request (id, endpoint name, context) is malformed.",
        False,
        "INVALID_ARGUMENT",
        400,
    ),
    (
        ErrorCode.INVALID_FRAME,
        "The frame contradicts itself: lengths, bitmap, UTF-8, duplicate or unnamed columns, no rows.",
        False,
        "INVALID_ARGUMENT",
        400,
    ),
    (
        ErrorCode.SIGNATURE_MISMATCH,
        ("The frame does not match the signature: missing, extra, mistyped or misshapen column, value not allowed."),
        False,
        "INVALID_ARGUMENT",
        400,
    ),
    (ErrorCode.TOO_LARGE, "More rows or bytes than the limit.", False, "INVALID_ARGUMENT", 413),
    (
        ErrorCode.UNKNOWN_ENDPOINT,
        "The endpoint does not exist (here, or for this caller).",
        False,
        "NOT_FOUND",
        404,
    ),
    (
        ErrorCode.UNKNOWN_MODEL,
        "A model was forced or addressed that the endpoint does not have.",
        False,
        "NOT_FOUND",
        404,
    ),
    (
        ErrorCode.REQUEST_ID_CONFLICT,
        "The same request id was used before with other content.",
        False,
        "ALREADY_EXISTS",
        409,
    ),
    (ErrorCode.INVALID_SPEC, "The endpoint's specification is not valid.", False, "INVALID_ARGUMENT", 400),
    (
        ErrorCode.EXPIRED,
        "The deadline had passed before the request could be scored.",
        False,
        "DEADLINE_EXCEEDED",
        504,
    ),
    (
        ErrorCode.NO_ANSWER,
        "No score satisfied the policy by the deadline, and the policy's `otherwise` is `error`.",
        True,
        "DEADLINE_EXCEEDED",
        504,
    ),
    (
        ErrorCode.OVERLOADED,
        "Too many requests in flight; try again later.",
        True,
        "RESOURCE_EXHAUSTED",
        429,
    ),
    (
        ErrorCode.UNAVAILABLE,
        (
            "The postbox, the router or the model cannot be reached or is shutting down; "
            "try again with the same request id."
        ),
        True,
        "UNAVAILABLE",
        503,
    ),
    (ErrorCode.MODEL_FAILED, "The model raised an error on this input.", False, "INTERNAL", 500),
    (
        ErrorCode.INVALID_OUTPUT,
        "The model answered something that its signature does not allow: rows, columns, types, NaN.",
        False,
        "INTERNAL",
        502,
    ),
    (ErrorCode.UNAUTHENTICATED, "No or no valid credentials.", False, "UNAUTHENTICATED", 401),
    (ErrorCode.PERMISSION_DENIED, "The credentials do not allow this.", False, "PERMISSION_DENIED", 403),
    (ErrorCode.UNIMPLEMENTED, "This server does not offer the operation.", False, "UNIMPLEMENTED", 501),
    (ErrorCode.INTERNAL, "A fault of this system; please report it.", False, "INTERNAL", 500),
)

ERROR_TABLE: Mapping[ErrorCode, ErrorFacts] = MappingProxyType(
    {code: ErrorFacts(*facts) for code, *facts in _ROWS}  # type: ignore[arg-type] # a row's types are fixed above
)
"""Facts of every code, in the order of the codes. The table in docs/protocol.md is generated from it."""


class RendezvousError(Exception):
    """Root of all errors of Rendezvous; catch it, raise a leaf.

    Args:
        message: For people: what, the value, the limit, what to do. Never a stack trace, path or secret.
            Cut after 1,000 characters or 1,500 bytes.
        attributes: For programs: the particulars by name; values become text. Default: none.
    """

    code: ClassVar[ErrorCode]
    """What went wrong; fixed by the class."""
    message: str
    """For people."""
    attributes: dict[str, str]
    """For programs: the particulars by name (`column`, `limit`, `actual`, ...)."""

    def __init__(self, message: str, attributes: Mapping[str, object] | None = None) -> None:
        self.message = message = _cut_message(message)
        self.attributes = {name: str(value) for name, value in (attributes or {}).items()}
        super().__init__(message, self.attributes)  # both, so that it can be pickled

    def __str__(self) -> str:
        return self.message

    @property
    def facts(self) -> ErrorFacts:
        """The row of `ERROR_TABLE` for this error's code."""
        return ERROR_TABLE[self.code]

    @property
    def retryable(self) -> bool:
        """Whether the same request, with the same id, may succeed later."""
        return self.facts.retryable

    def to_proto(self) -> v1.Error:
        """Returns the message that travels; attributes of more than 4 KiB together are cut, then left out."""
        return v1.Error(code=self.code, message=self.message, attributes=_cut_attributes(self.attributes))  # type: ignore[arg-type] # same numbers

    @staticmethod
    def of(code: int, message: str, attributes: Mapping[str, object] | None = None) -> "RendezvousError":
        """Returns an instance of the leaf class of *code*; of a code not in the list, an InternalError."""
        leaf = _LEAVES.get(code)
        if leaf is None:
            return InternalError(message, {**(attributes or {}), "unknown_code": code})
        return leaf(message, attributes)

    @staticmethod
    def from_proto(error: v1.Error) -> "RendezvousError":
        """Returns the leaf exception for a received message; never raises."""
        return RendezvousError.of(error.code, error.message, dict(error.attributes))


def shown(value: str) -> str:
    """Returns *value* as an error may echo it: cut after 80 characters."""
    return value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."


def _cut_message(message: str) -> str:
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[: _MESSAGE_CHARACTERS - 3] + "..."
    if not message.isascii() and len(octets := message.encode(errors="replace")) > _MESSAGE_BYTES:
        message = octets[: _MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
    return message


def _cut_attributes(attributes: dict[str, str]) -> dict[str, str]:
    if _size(attributes) <= _ATTRIBUTES_BYTES:
        return attributes
    cut = {shown(name): shown(value) for name, value in attributes.items()}
    while _size(cut) > _ATTRIBUTES_BYTES:
        cut.popitem()
    return cut


def _size(attributes: dict[str, str]) -> int:
    return sum(
        len(name.encode(errors="replace")) + len(text.encode(errors="replace")) for name, text in attributes.items()
    )


class InvalidRequestError(RendezvousError):
    """A field of the request is malformed."""

    code = ErrorCode.INVALID_REQUEST


class InvalidFrameError(RendezvousError):
    """The frame contradicts itself."""

    code = ErrorCode.INVALID_FRAME


class SignatureMismatchError(RendezvousError):
    """The frame does not match the signature."""

    code = ErrorCode.SIGNATURE_MISMATCH


class TooLargeError(RendezvousError):
    """More rows or bytes than the limit."""

    code = ErrorCode.TOO_LARGE


class UnknownEndpointError(RendezvousError):
    """The endpoint does not exist."""

    code = ErrorCode.UNKNOWN_ENDPOINT


class UnknownModelError(RendezvousError):
    """The endpoint has no such model."""

    code = ErrorCode.UNKNOWN_MODEL


class RequestIdConflictError(RendezvousError):
    """The same request id was used before with other content."""

    code = ErrorCode.REQUEST_ID_CONFLICT


class InvalidSpecError(RendezvousError):
    """The endpoint's specification is not valid."""

    code = ErrorCode.INVALID_SPEC


class ExpiredError(RendezvousError):
    """The deadline had passed before the request could be scored."""

    code = ErrorCode.EXPIRED


class NoAnswerError(RendezvousError):
    """No score satisfied the policy by the deadline."""

    code = ErrorCode.NO_ANSWER


class OverloadedError(RendezvousError):
    """Too many requests in flight."""

    code = ErrorCode.OVERLOADED


class UnavailableError(RendezvousError):
    """The postbox, the router or the model cannot be reached or is shutting down."""

    code = ErrorCode.UNAVAILABLE


class ModelFailedError(RendezvousError):
    """The model raised an error on this input."""

    code = ErrorCode.MODEL_FAILED


class InvalidOutputError(RendezvousError):
    """The model answered something that its signature does not allow."""

    code = ErrorCode.INVALID_OUTPUT


class UnauthenticatedError(RendezvousError):
    """No or no valid credentials."""

    code = ErrorCode.UNAUTHENTICATED


class PermissionDeniedError(RendezvousError):
    """The credentials do not allow this."""

    code = ErrorCode.PERMISSION_DENIED


class UnimplementedError(RendezvousError):
    """This server does not offer the operation."""

    code = ErrorCode.UNIMPLEMENTED


class InternalError(RendezvousError):
    """A fault of this system."""

    code = ErrorCode.INTERNAL


_LEAVES: dict[int, type[RendezvousError]] = {leaf.code: leaf for leaf in RendezvousError.__subclasses__()}

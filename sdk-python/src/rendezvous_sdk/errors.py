"""The typed errors of the SDK: the shared list of `rendezvous_proto.errors`, under the SDK's own name.

One root, `RendezvousError`, and one class for each `ErrorCode`; the tree is drawn in
`rendezvous_proto.errors`.
"""

from rendezvous_proto.errors import (
    ERROR_TABLE,
    ErrorCode,
    ErrorFacts,
    ExpiredError,
    InternalError,
    InvalidFrameError,
    InvalidOutputError,
    InvalidRequestError,
    InvalidSpecError,
    ModelFailedError,
    NoAnswerError,
    OverloadedError,
    PermissionDeniedError,
    RendezvousError,
    RequestIdConflictError,
    SignatureMismatchError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownEndpointError,
    UnknownModelError,
)

__all__ = [
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
]

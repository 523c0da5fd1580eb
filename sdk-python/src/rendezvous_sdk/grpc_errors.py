"""Errors as gRPC carries them: status by the table, details = message, the whole in trailing metadata."""

from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ERROR_METADATA_KEY,
    ErrorCode,
    RendezvousError,
)

__all__ = ["from_rpc", "status_of", "trailing_metadata"]

_METADATA_BYTES = 7_000
"""Room for message and error in a status: gRPC refuses at random from 8 KiB of metadata on, and always at 16 KiB."""

_BY_STATUS: dict[grpc.StatusCode, ErrorCode] = {
    grpc.StatusCode.INVALID_ARGUMENT: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.NOT_FOUND: ErrorCode.UNKNOWN_ENDPOINT,
    grpc.StatusCode.ALREADY_EXISTS: ErrorCode.REQUEST_ID_CONFLICT,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.NO_ANSWER,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorCode.OVERLOADED,
    grpc.StatusCode.UNAVAILABLE: ErrorCode.UNAVAILABLE,
    # A server that shuts down cancels what reached it but had not been taken in: as good as not reached.
    grpc.StatusCode.CANCELLED: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: ErrorCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED: ErrorCode.UNIMPLEMENTED,
}


def status_of(error: RendezvousError) -> grpc.StatusCode:
    """Returns the status that the table gives the error's code."""
    return grpc.StatusCode[error.facts.grpc_status]


def trailing_metadata(error: RendezvousError) -> tuple[tuple[str, bytes], ...]:
    """Returns the metadata that carries the error beside the status: all of it, or as many attributes as fit."""
    carried = error.to_proto()
    room = _METADATA_BYTES - len(quote(error.message))
    names = list(carried.attributes)
    while names and carried.ByteSize() * 4 // 3 > room:  # in base64
        del carried.attributes[names.pop()]
    return ((ERROR_METADATA_KEY, carried.SerializeToString()),)


def from_rpc(error: grpc.RpcError) -> RendezvousError:
    """Returns the typed error of a failed call; from its metadata, else from its status."""
    metadata = error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    for key, value in metadata or ():
        if key == ERROR_METADATA_KEY and isinstance(value, bytes):
            try:
                return RendezvousError.from_proto(v1.Error.FromString(value))
            except DecodeError:
                break
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return RendezvousError.of(ErrorCode.UNAVAILABLE, str(error))
    status, details = error.code(), error.details() or ""
    code = _BY_STATUS.get(status, ErrorCode.INTERNAL)
    if code is ErrorCode.OVERLOADED and "larger than max" in details:
        code = ErrorCode.TOO_LARGE  # gRPC's own limit on messages
    return RendezvousError.of(code, details or status.name, {"grpc_status": status.name})

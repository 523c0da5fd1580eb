"""Errors as gRPC carries them: status by the table, details = message, the whole in trailing metadata."""

import contextlib
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import (
    ERROR_METADATA_KEY,
    ErrorCode,
    RendezvousError,
)

__all__ = ["RETRY_ATTRIBUTE", "RETRY_METADATA_KEY", "from_rpc", "status_of", "trailing_metadata"]

RETRY_ATTRIBUTE = "retry_after_ms"
"""Attribute of an error: milliseconds before which another attempt is in vain."""

RETRY_METADATA_KEY = "retry-after-ms"
"""The same in trailing metadata."""

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


def trailing_metadata(error: RendezvousError) -> tuple[tuple[str, str | bytes], ...]:
    """Returns the metadata that carries the error beside the status: all of it, or as many attributes as fit.

    An error that says when to try again (`retry_after_ms`) says so in metadata of its own, too.
    """
    carried = error.to_proto()
    room = _METADATA_BYTES - len(quote(error.message))
    names = list(carried.attributes)
    while names and carried.ByteSize() * 4 // 3 > room:  # in base64
        del carried.attributes[names.pop()]
    found: tuple[tuple[str, str | bytes], ...] = ((ERROR_METADATA_KEY, carried.SerializeToString()),)
    wait_ms = error.attributes.get(RETRY_ATTRIBUTE)
    return found if wait_ms is None else (*found, (RETRY_METADATA_KEY, str(wait_ms)))


def from_rpc(error: grpc.RpcError, *, uses_tls: bool | None = None) -> RendezvousError:
    """Returns the typed error of a failed call; from its metadata, else from its status.

    Args:
        error: the failure.
        uses_tls: whether the connection was to be encrypted, for what a failed one may mean; None: nobody knows.
    """
    metadata = error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    shown: dict[str, str | bytes] = dict(metadata or ())
    wait_ms = shown.get(RETRY_METADATA_KEY)
    hint = {RETRY_ATTRIBUTE: wait_ms} if isinstance(wait_ms, str) else {}
    if isinstance(value := shown.get(ERROR_METADATA_KEY), bytes):
        with contextlib.suppress(DecodeError):  # then the status says what can be said
            told = RendezvousError.from_proto(v1.Error.FromString(value))
            return RendezvousError.of(told.code, told.message, {**hint, **told.attributes})
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return RendezvousError.of(ErrorCode.UNAVAILABLE, str(error))
    status, details = error.code(), error.details() or ""
    code = _BY_STATUS.get(status, ErrorCode.INTERNAL)
    if code is ErrorCode.OVERLOADED and "larger than max" in details:
        code = ErrorCode.TOO_LARGE  # gRPC's own limit on messages
    if code is ErrorCode.UNAVAILABLE and (why := _tls_hint(details, uses_tls)):
        return RendezvousError.of(code, why, {"grpc_status": status.name, "details": details})
    return RendezvousError.of(code, details or status.name, {**hint, "grpc_status": status.name})


def _tls_hint(details: str, uses_tls: bool | None) -> str:
    """Says what gRPC's words for a failed handshake mean; empty: they are about something else."""
    if "WRONG_VERSION_NUMBER" in details:
        return "the server at this address does not speak TLS: leave out ca, cert and tls, or ask whoever runs it"
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification Check failed" in details:
        reason = details.partition("CERTIFICATE_VERIFY_FAILED: ")[2].removesuffix(": OK")
        reason = reason or "it is not for this address"
        return (
            f"the server's certificate is not accepted ({reason}): give the authority that signed it "
            "(ca=, RENDEZVOUS_CA), and an address that it is for"
        )
    if "Socket closed" in details or "recvmsg:Connection reset" in details:
        if uses_tls is False:
            return (
                f"the connection was closed ({details}): if the server serves TLS, give its authority "
                "(ca=, RENDEZVOUS_CA)"
            )
        if uses_tls:
            return (
                f"the connection was closed ({details}): if the server asks for clients' certificates, "
                "give one that its authority signed (cert=, cert_key=)"
            )
    return ""

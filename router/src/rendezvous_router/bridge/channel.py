"""Channels to model servers, and what their failures mean to a bridge."""

from dataclasses import replace

import grpc
from rendezvous_proto.errors import (
    ErrorCode,
    ModelFailedError,
    OverloadedError,
    RendezvousError,
    UnavailableError,
)
from rendezvous_sdk.credentials import Credentials

from rendezvous_router.bridge.address import FarAddress
from rendezvous_router.bridge.errors import BridgeError, FarSilentError, FarWaitError

__all__ = [
    "CallTimedOutError",
    "far_failure",
    "open_channel",
    "reason_of",
    "start_failure",
    "timed_out",
    "wait_failure",
]

_STATUS = grpc.StatusCode
_LOST = (_STATUS.UNAVAILABLE, _STATUS.CANCELLED)
_NOT_GRPC = ("http1", "parsing HTTP/2")
_DETAILS_CHARACTERS = 300


class CallTimedOutError(ModelFailedError):
    """The model server did not answer before the call's deadline."""


def open_channel(address: FarAddress, max_message_bytes: int, credentials: Credentials) -> grpc.Channel:
    """Returns a channel that tries again within a second when its server comes back, and notices when it is gone.

    Raises:
        InvalidRequestError: a file of the credentials cannot be read.
    """
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # Servers that count pings strictly close the connection of a client that pings while it has no call.
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    secure = replace(credentials, tls=True).channel_credentials() if address.tls else None
    if secure is None:
        return grpc.insecure_channel(address.target, options)
    return grpc.secure_channel(address.target, secure, options)


def reason_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Returns status and details, on one line, of a failed call."""
    if not isinstance(error, grpc.Call):
        return _STATUS.UNKNOWN, str(error)
    details = " ".join((error.details() or "").split())
    if len(details) > _DETAILS_CHARACTERS:
        details = details[:_DETAILS_CHARACTERS] + "..."
    return error.code(), details


def wait_failure(address: FarAddress, error: grpc.RpcError) -> FarWaitError:
    """Returns why the far side is not well, of a call that should have told."""
    status, details = reason_of(error)
    if status is _STATUS.DEADLINE_EXCEEDED:
        return FarSilentError(f"{address} does not answer")
    return FarWaitError(f"{address}: {status.name}: {details}")


def start_failure(address: FarAddress, error: grpc.RpcError, hint: str) -> BridgeError | FarWaitError:
    """Returns why the far side does not say what it is; *hint* ends the message where it is something else."""
    status, details = reason_of(error)
    if status is _STATUS.UNIMPLEMENTED or any(sign in details for sign in _NOT_GRPC):
        return BridgeError(f"{address} does not answer as it should ({status.name}: {details}): is it {hint}")
    return wait_failure(address, error)


def far_failure(error: grpc.RpcError, typed: RendezvousError, timeout_s: float) -> RendezvousError:
    """Returns what a failed scoring call means.

    Args:
        error: the failure.
        typed: the same as one of our errors.
        timeout_s: the call's deadline, seconds.

    Returns:
        UnavailableError where the connection failed, OverloadedError where the server takes no more calls; else
        the model's own error, or a ModelFailedError that names the status.
    """
    status, details = reason_of(error)
    if status in _LOST:
        return UnavailableError(details or status.name, {"grpc_status": status.name})
    if isinstance(typed, OverloadedError) or typed.code is ErrorCode.TOO_LARGE:
        return typed
    if "grpc_status" not in typed.attributes:
        return typed  # the model's own, in full
    if status is _STATUS.DEADLINE_EXCEEDED:
        return timed_out(timeout_s)
    return ModelFailedError(
        f"the model server answered {status.name}: {details or 'no details'}", {"grpc_status": status.name}
    )


def timed_out(timeout_s: float) -> CallTimedOutError:
    """Returns the error of a call that took too long."""
    return CallTimedOutError(
        f"the model server took longer than {timeout_s:g} s (--timeout)", {"limit_s": f"{timeout_s:g}"}
    )

"""What the synchronous and the asynchronous client share: requests, retries, options of the channel. No I/O."""

import math
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, NoAnswerError, RendezvousError
from rendezvous_proto.frames import encode_frame
from rendezvous_proto.ids import new_id
from rendezvous_proto.postbox import check_name

from rendezvous_sdk.grpc_errors import RETRY_ATTRIBUTE
from rendezvous_sdk.options import ClientOptions

__all__ = ["Attempts", "build_request", "channel_options", "column_names"]

_LEAST_ATTEMPT_S = 0.001


def channel_options(options: ClientOptions) -> list[tuple[str, int]]:
    """Returns gRPC's channel arguments."""
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.keepalive_time_ms", int(options.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # A server that restarts is found again quickly; gRPC's default grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # Retries are ours: with the same request id, and for retryable codes only.
        ("grpc.enable_retries", 0),
    ]


def build_request(
    table: Any,
    *,
    endpoint: str,
    inputs: Iterable[v1.ColumnSpec] = (),
    request_id: str | None = None,
    context: Mapping[str, str] | None = None,
    explain: bool = False,
    force_model: str | None = None,
    force_trace: bool = False,
) -> v1.ScoreRequest:
    """Encodes a table as a request, its columns with the types of the endpoint's signature.

    Args:
        table: whatever `encode_frame` takes, or a `v1.Frame`; a `v1.ScoreRequest` is returned as it is.
        endpoint: endpoint asked.
        inputs: the endpoint's input columns; empty when it declares none.
        request_id: None makes one.
        context: for policies.
        explain: whether every model's score is wanted.
        force_model: model whose score is wanted, whatever the policy says.
        force_trace: whether the request is to be traced, whatever the sampling says; see `Answer.trace_id`.

    Raises:
        InvalidRequestError: the id is malformed.
        InvalidFrameError: the table cannot be encoded, or not with the declared types.
    """
    if isinstance(table, v1.ScoreRequest):
        return table
    if request_id is not None:
        check_name("request id", request_id)
    if isinstance(table, v1.Frame):
        frame = table
    else:
        names = column_names(table)
        types = {spec.name: spec.type for spec in inputs if spec.name in names}
        frame = encode_frame(table, types=types)
    request = v1.ScoreRequest(request_id=request_id or new_id(), endpoint=endpoint, inputs=frame, context=context or {})
    if explain or force_model or force_trace:
        request.diagnostics.explain = explain
        request.diagnostics.force_model = force_model or ""
        request.diagnostics.force_trace = force_trace
    return request


def column_names(table: Any) -> set[Any]:
    """Returns the names of a table's columns."""
    if isinstance(table, Mapping):
        return set(table)
    if hasattr(table, "column_names"):
        return set(table.column_names)
    if hasattr(table, "columns"):
        return set(table.columns)
    if isinstance(table, list | tuple):
        return {name for row in table if isinstance(row, Mapping) for name in row}
    return set()


def asked_pause_s(error: RendezvousError) -> float:
    """Returns the seconds before which, as the server says, another attempt is in vain; 0: it does not say."""
    try:
        wait_ms = float(error.attributes.get(RETRY_ATTRIBUTE, 0))
    except ValueError:
        return 0.0
    return wait_ms / 1000 if 0 < wait_ms < math.inf else 0.0


class Attempts:
    """The attempts of one call: how long each may take, and how long to pause before the next.

    Args:
        options: pauses and the default deadline.
        timeout_s: deadline of the call, seconds from now; None takes the default.

    Raises:
        InvalidRequestError: the deadline is not positive.
    """

    def __init__(self, options: ClientOptions, timeout_s: float | None) -> None:
        self.timeout_s = options.timeout_s if timeout_s is None else timeout_s
        if not self.timeout_s > 0:
            raise InvalidRequestError(f"timeout is {self.timeout_s:g} s: it must be more than 0")
        self._options = options
        self._deadline = time.monotonic() + self.timeout_s
        self._pauses = self._grow()

    def left_s(self) -> float:
        """Returns the seconds left for an attempt that begins now."""
        return max(_LEAST_ATTEMPT_S, self._deadline - time.monotonic())

    def pause_after(self, error: RendezvousError) -> float:
        """Returns the seconds to pause before the next attempt: growing, jittered, on top of what the server asks for.

        Raises:
            RendezvousError: *error* itself, when another attempt makes no sense or there is no time for it.
        """
        pause_s = next(self._pauses) + asked_pause_s(error)
        is_final = isinstance(error, NoAnswerError) or not error.retryable
        if is_final or time.monotonic() + pause_s >= self._deadline:
            raise error
        return pause_s

    def _grow(self) -> Iterator[float]:
        pause_s = self._options.first_pause_s
        while True:
            yield pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, protects nothing
            pause_s = min(pause_s * 2, self._options.last_pause_s)

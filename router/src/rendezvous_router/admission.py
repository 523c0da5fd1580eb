"""What a request must be before it is accepted: sizes, known names, time left, room. The errors say what to do."""

from collections.abc import Iterable

from rendezvous.spec import EndpointSpec
from rendezvous_proto.errors import (
    ExpiredError,
    InvalidFrameError,
    InvalidRequestError,
    OverloadedError,
    TooLargeError,
    UnknownEndpointError,
    UnknownModelError,
)
from rendezvous_proto.nearest import nearest_name
from rendezvous_proto.v1 import ScoreRequest

from rendezvous_router.endpoint import Endpoint
from rendezvous_router.fair_share import ROOM_RETRY_MS

CONTEXT_ENTRIES = 64
"""Entries of a request's context at most."""


def check_size(message: ScoreRequest, spec: EndpointSpec, size_bytes: int) -> None:
    """Checks bytes, rows and context against the endpoint's limits.

    Raises:
        TooLargeError, InvalidFrameError, InvalidRequestError: one is out of its limit.
    """
    limits = spec.limits
    if size_bytes > limits.max_bytes:
        raise TooLargeError(
            f"request of {size_bytes} bytes: the limit of endpoint {spec.endpoint} is {limits.max_bytes} bytes; "
            "send fewer rows to a request",
            {
                "setting": "limits.max_bytes",
                "of": f"endpoint {spec.endpoint}",
                "limit": limits.max_bytes,
                "actual": size_bytes,
            },
        )
    rows = message.inputs.rows
    if rows < 1:
        raise InvalidFrameError(f"inputs: rows = {rows}: a request has at least 1 row", {"actual": rows, "limit": 1})
    if rows > limits.max_rows:
        raise TooLargeError(
            f"request of {rows} rows: the limit of endpoint {spec.endpoint} is {limits.max_rows} rows; "
            "send several requests, or use ScoreStream",
            {
                "setting": "limits.max_rows",
                "of": f"endpoint {spec.endpoint}",
                "limit": limits.max_rows,
                "actual": rows,
            },
        )
    if message.context and len(message.context) > CONTEXT_ENTRIES:
        raise InvalidRequestError(
            f"context of {len(message.context)} entries: the limit is {CONTEXT_ENTRIES}",
            {"limit": CONTEXT_ENTRIES, "actual": len(message.context)},
        )


def forced_model(message: ScoreRequest, endpoint: Endpoint) -> str | None:
    """Returns the model whose answer the client demands, if it does.

    Raises:
        UnknownModelError: the endpoint has no such model.
    """
    name = message.diagnostics.force_model
    if not name or name in endpoint.roles:
        return name or None
    known = sorted(endpoint.roles)
    near = nearest_name(name, known)
    hint = f", did you mean {near!r}?" if near else f"; it has {', '.join(known)}"
    raise UnknownModelError(
        f"endpoint {endpoint.name} has no model {name[:80]!r} to be forced{hint}", {"model": name[:80]}
    )


def budget_s(endpoint: Endpoint, remaining_s: float | None, margin_s: float) -> float:
    """Returns the time that a request has, seconds.

    Args:
        endpoint: has a deadline.
        remaining_s: seconds to the client's deadline; None: it has none.
        margin_s: kept back, so that the answer is with the client in time; at most a tenth of the whole.

    Raises:
        ExpiredError: the client's deadline has passed.
    """
    whole_s = endpoint.policy.deadline_s
    if remaining_s is not None and remaining_s <= 0:
        raise ExpiredError(
            f"the deadline had passed {-remaining_s * 1e3:.0f} ms before the request arrived: allow more time",
            {"remaining_ms": round(remaining_s * 1e3)},
        )
    if remaining_s is not None:
        whole_s = min(whole_s, remaining_s)
    return whole_s - min(margin_s, whole_s / 10)


def check_room(who: str, in_flight: int, limit: int, setting: str) -> None:
    """Checks that there is room for one more request.

    Raises:
        OverloadedError: *who* has as many in flight as *setting* allows.
    """
    if in_flight >= limit:
        raise OverloadedError(
            f"{who} has {in_flight} requests in flight, the limit ({setting}) is {limit}: "
            f"retry after {ROOM_RETRY_MS} ms, with the same request id",
            {"setting": setting, "of": who, "limit": limit, "actual": in_flight, "retry_after_ms": ROOM_RETRY_MS},
        )


def no_endpoint(name: str, known: Iterable[str]) -> InvalidRequestError | UnknownEndpointError:
    """Returns the error for a request whose endpoint is not there, or not told."""
    known = sorted(known)
    if not name:
        return InvalidRequestError(
            f"endpoint: not given, and there are {len(known)} to choose from: name one",
            {"known": ",".join(known)},
        )
    near = nearest_name(name, known)
    hint = f", did you mean {near!r}?" if near else ""
    return UnknownEndpointError(f"endpoint {name[:80]!r} does not exist here{hint}", {"endpoint": name[:80]})

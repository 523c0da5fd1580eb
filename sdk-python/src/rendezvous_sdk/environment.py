"""What a model program is told by its environment; the names are the same for every language's SDK.

Precedence: argument > environment > default. Only the entry points (`serve`, the command line) read this.
"""

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from rendezvous_proto.errors import InvalidRequestError

__all__ = ["options_from_environment", "parse_duration_s", "parse_since"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_AGO_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


def parse_duration_s(text: str) -> float:
    """Returns seconds for `500ms`, `1.5s`, `2m` or a number of seconds.

    Raises:
        InvalidRequestError: *text* is nothing of that.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidRequestError(f"{text!r} is no duration: write it as 500ms, 1.5s or 2m")
    return float(match[1]) * _UNITS_S[match[2]]


def parse_since(text: str, *, now: dt.datetime | None = None) -> dt.datetime:
    """Returns a moment of the past for `30d`, `12h`, `45m`, `90s`, an ISO date or time, or `all`.

    Args:
        text: a duration before now; an ISO 8601 date or time, UTC unless it says otherwise; or `all`: as far back as
            the postbox goes.
        now: the present, with a time zone; None: the clock's.

    Raises:
        InvalidRequestError: *text* is nothing of that.
    """
    text = text.strip()
    if text == "all":
        return _EPOCH
    try:
        if match := _AGO.fullmatch(text):
            ago = dt.timedelta(seconds=float(match[1]) * _AGO_UNITS_S[match[2]])
            return max(_EPOCH, (now or dt.datetime.now(dt.UTC)) - ago)
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except OverflowError:
        return _EPOCH
    except ValueError as error:
        raise InvalidRequestError(
            f"{text!r} is no moment of the past: write a duration before now (30d, 12h, 45m), an ISO date or time "
            "(2026-03-01, 2026-03-01T12:00), or all"
        ) from error


def options_from_environment(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns the fields of `ServeOptions` that the environment sets; variables that are empty set nothing.

    Args:
        environment: variables; None takes this process's.

    Raises:
        InvalidRequestError: a variable is not what its field needs; names the variable.
    """
    found: dict[str, Any] = {}
    variables = os.environ if environment is None else environment
    for variable, (field, parse) in _VARIABLES.items():
        if text := variables.get(variable, ""):
            try:
                found[field] = parse(text)
            except (InvalidRequestError, ValueError) as error:
                raise InvalidRequestError(f"{variable}: {error}", {"variable": variable, "value": text}) from error
    return found


_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "RENDEZVOUS_ENDPOINT": ("endpoint", str),
    "RENDEZVOUS_MODEL": ("name", str),
    "RENDEZVOUS_VERSION": ("version", str),
    "RENDEZVOUS_NATS": ("nats", str),
    "RENDEZVOUS_GRPC_HOST": ("grpc_host", str),
    "RENDEZVOUS_GRPC_PORT": ("grpc_port", int),
    "RENDEZVOUS_ACK_WAIT": ("ack_wait_s", parse_duration_s),
    "RENDEZVOUS_SCORING_LIMIT": ("scoring_limit_s", parse_duration_s),
    "RENDEZVOUS_SINCE": ("since", parse_since),
    "RENDEZVOUS_ENRICHER": ("enricher", int),
}

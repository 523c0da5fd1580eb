"""What a model program is told by its environment; the names are the same for every language's SDK.

Precedence: argument > environment > default. Only the entry points (`serve`, the command line) read this.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from rendezvous_proto.errors import InvalidRequestError

__all__ = ["options_from_environment", "parse_duration_s"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def parse_duration_s(text: str) -> float:
    """Returns seconds for `500ms`, `1.5s`, `2m` or a number of seconds.

    Raises:
        InvalidRequestError: *text* is nothing of that.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidRequestError(f"{text!r} is no duration: write it as 500ms, 1.5s or 2m")
    return float(match[1]) * _UNITS_S[match[2]]


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
}

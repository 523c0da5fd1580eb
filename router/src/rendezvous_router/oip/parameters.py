"""Parameters of a request: what of them is ours, what is the field's, what cannot be.

| parameter | meaning |
|---|---|
| `timeout` | microseconds to the request's deadline; 0: none |
| `priority` | taken and not looked at |
| `context.<key>` | an entry of the request's context |
| `explain` | true: the answer's parameters hold the decision with every model's arrival |

Others are left alone, as the protocol wants it; those that would change what an answer means are refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rendezvous_proto.errors import InvalidRequestError, UnimplementedError, shown

__all__ = ["Value", "Wishes", "legal_id", "read_wishes", "refuse_shared_memory"]

Value = bool | int | float | str
"""Value of a parameter."""

CONTEXT = "context."
"""Before the key of an entry of the context, in a parameter's name."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_US = 10**15
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(slots=True, frozen=True, kw_only=True)
class Wishes:
    """What the parameters of a request ask for."""

    timeout_s: float | None = None
    """Seconds to the deadline; None: no wish."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Entries of the context."""
    explain: bool = False
    """Whether to tell how every model stood."""


_NONE = Wishes()


def read_wishes(parameters: Mapping[str, Value]) -> Wishes:
    """Returns what *parameters* ask for.

    Raises:
        InvalidRequestError: a value is of the wrong kind or out of range.
        UnimplementedError: a stateful sequence is asked for.
    """
    if not parameters:
        return _NONE
    if any(parameters.get(name) for name in _SEQUENCES):
        raise UnimplementedError(
            "parameter sequence_id: requests are scored one by one, there are no stateful sequences here; "
            "leave it out, or send the key as parameter context.<key>"
        )
    return Wishes(
        timeout_s=_timeout_s(parameters.get("timeout", 0)),
        context={
            name.removeprefix(CONTEXT): _text(name, value)
            for name, value in parameters.items()
            if name.startswith(CONTEXT)
        },
        explain=_flag("explain", parameters.get("explain", False)),
    )


def refuse_shared_memory(tensor: str, parameters: Mapping[str, object]) -> None:
    """Refuses a tensor whose contents are elsewhere, or whose outputs should be made into something else.

    Raises:
        UnimplementedError: its parameters say so.
    """
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise UnimplementedError(
                f"tensor {shown(tensor)!r} has the parameter {name}, which is not offered here: "
                "send and take tensors in the messages themselves",
                {"tensor": shown(tensor), "parameter": name},
            )


def legal_id(given: str) -> str:
    """Returns the request id for the `id` of a request: itself, or nothing where ours may not look like that."""
    return given if _ID.fullmatch(given) else ""


def _timeout_s(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = -1
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_US:
        raise InvalidRequestError(
            "parameter timeout: it is the time to the deadline in microseconds, a whole number, 0 for none",
            {"parameter": "timeout"},
        )
    return value / 1e6 if value else None


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"parameter {name}: it is true or false", {"parameter": name})
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, bool | int | float | str):
        raise InvalidRequestError(
            f"parameter {shown(name)!r}: it is text, a number, true or false", {"parameter": shown(name)}
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""What a request says beside its body: query, headers, deadline, id."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.nearest import nearest_name

__all__ = ["TIMEOUT_HEADER", "Asked", "read_headers", "read_query", "remaining_s"]

TIMEOUT_HEADER = "rendezvous-timeout-ms"
"""How long the client waits, milliseconds."""
CONTEXT = "context."
_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}
_NAMES = ("explain", "trace", "model")
_MOST_PARAMETERS = 80
_MILLISECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


class Asked:
    """What the query says."""

    __slots__ = ("context", "explain", "model", "trace")

    def __init__(self) -> None:
        self.explain = False
        self.trace = False
        self.model = ""
        self.context: dict[str, str] = {}

    def apply(self, request: v1.ScoreRequest) -> None:
        """Puts it into *request*.

        Raises:
            InvalidRequestError: the body says something else of the same.
        """
        if self.explain or self.trace or self.model:
            request.diagnostics.explain = self.explain
            request.diagnostics.force_trace = self.trace
            request.diagnostics.force_model = self.model
        for name, value in self.context.items():
            if request.context.get(name, value) != value:
                raise InvalidRequestError(
                    f"context {name[:80]!r} is given in the query and, otherwise, in the body: give it once"
                )
            request.context[name] = value


def read_query(query: bytes) -> Asked:
    """Returns what the query says.

    Raises:
        InvalidRequestError: a parameter is unknown, there twice, or not what it should be.
    """
    asked = Asked()
    seen = set()
    for name, value in _parameters(query):
        if name in seen:
            raise InvalidRequestError(f"query: {name[:80]!r} is there twice", {"parameter": name[:80]})
        seen.add(name)
        if name.startswith(CONTEXT) and name != CONTEXT:
            asked.context[name[len(CONTEXT) :]] = value
        elif name == "model":
            asked.model = value
        elif name in ("explain", "trace"):
            setattr(asked, name, _flag(name, value))
        else:
            near = nearest_name(name, _NAMES)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(_NAMES)} and {CONTEXT}<key>"
            raise InvalidRequestError(f"query: {name[:80]!r} is unknown: {hint}", {"parameter": name[:80]})
    return asked


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Returns the headers by name in lower case; of those there twice, the first."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def remaining_s(headers: dict[str, str], spent_s: float) -> float | None:
    """Returns the seconds to the client's deadline; None: it has none.

    Args:
        headers: of the request.
        spent_s: since they arrived, seconds.

    Raises:
        InvalidRequestError: the header is no number.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if _MILLISECONDS.fullmatch(text) is None:
        raise InvalidRequestError(
            f"Rendezvous-Timeout-Ms: {text[:40]!r} is no number of milliseconds, as 250", {"header": TIMEOUT_HEADER}
        )
    return float(text) / 1e3 - spent_s


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        pairs: list[tuple[Any, Any]] = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise InvalidRequestError(
            f"query: is not UTF-8, or has more than {_MOST_PARAMETERS} parameters, the limit"
        ) from error
    return pairs


def _flag(name: str, value: str) -> bool:
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise InvalidRequestError(f"query: {name} = {value[:40]!r}: must be true or false", {"parameter": name})
    return flag

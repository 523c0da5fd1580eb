"""What turned out to be true of a request, as clients report it."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidRequestError, shown
from rendezvous_proto.ids import new_id

__all__ = ["Outcome", "record_request"]

Value = float | int | bool | str
"""Number, text or flag; NumPy's scalars, too."""

_KINDS = {
    "truth": v1.OutcomeKind.OUTCOME_KIND_TRUTH,
    "reward": v1.OutcomeKind.OUTCOME_KIND_REWARD,
    "verdict": v1.OutcomeKind.OUTCOME_KIND_VERDICT,
}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One report; made by `truth`, `reward` and `verdict`.

    It carries an id from its making on, so that it counts once however often it is recorded. A correction is another
    one, for the same target, kind and output: of those the latest `observed_at` counts.

    Raises:
        InvalidRequestError: there is no target, or two; the time has no zone; the value is none.
    """

    kind: str
    """`truth`, `reward` or `verdict`."""
    value: Value
    """What is known."""
    request_id: str | None = None
    """The request that it is about; None: `key` says."""
    key: tuple[str, str] | None = None
    """Name and value of an entry of `context`: every request that was sent with it; None: `request_id` says."""
    row: int | None = None
    """Row of the request, from 0; None: all of its rows."""
    output: str = ""
    """Output column; empty, of a truth: the first that such a value fits."""
    observed_at: dt.datetime | None = None
    """When it became known, with a time zone; None: when the router takes it."""
    source: str = ""
    """Who says so."""
    feedback_id: str = field(default_factory=new_id)
    """Identity of the report: 1 to 64 of A-Z a-z 0-9 _ -; by default a new one."""

    def __post_init__(self) -> None:
        """Checks what the router could not tell apart."""
        if self.kind not in _KINDS:
            raise InvalidRequestError(f"kind {shown(str(self.kind))!r}: must be {', '.join(_KINDS)}")
        if (self.request_id is None) == (self.key is None):
            raise InvalidRequestError("an outcome is about a request_id or a key: give one of them")
        if self.observed_at is not None and self.observed_at.tzinfo is None:
            raise InvalidRequestError(
                f"observed_at is {self.observed_at}, a time without a zone: give it one, UTC for instance"
            )

    @classmethod
    def truth(cls, value: Value, **about: Any) -> "Outcome":
        """Returns what a model had to predict; the arguments are the fields of `Outcome`."""
        return cls(kind="truth", value=value, **about)

    @classmethod
    def reward(cls, value: float, **about: Any) -> "Outcome":
        """Returns how good an answer turned out to be, more is better; the arguments are the fields of `Outcome`."""
        return cls(kind="reward", value=value, **about)

    @classmethod
    def verdict(cls, value: Value, **about: Any) -> "Outcome":
        """Returns what a person says of an answer; the arguments are the fields of `Outcome`."""
        return cls(kind="verdict", value=value, **about)

    def to_proto(self) -> v1.Outcome:
        """Returns the message that travels.

        Raises:
            InvalidRequestError: the value is no number, text or flag, or a whole number beyond 2^53; or the row is no
                number of a row.
        """
        message = v1.Outcome(
            feedback_id=self.feedback_id, kind=_KINDS[self.kind], output=self.output, source=self.source
        )
        if self.request_id is not None:
            message.request_id = self.request_id
        elif self.key is not None:
            message.key.name, message.key.value = self.key
        if self.row is not None:
            if not 0 <= self.row < 2**31:
                raise InvalidRequestError(f"row {self.row}: rows count from 0; leave it out for all rows")
            message.row = int(self.row)
        if self.observed_at is not None:
            message.observed_unix_us = (self.observed_at - _EPOCH) // _MICROSECOND
        _put_value(message, self.value)
        return message


def record_request(outcomes: Outcome | Iterable[Outcome], endpoint: str) -> v1.RecordRequest:
    """Returns the request that records *outcomes*.

    Raises:
        InvalidRequestError: one cannot be encoded.
    """
    several: Sequence[Outcome] = [outcomes] if isinstance(outcomes, Outcome) else list(outcomes)
    return v1.RecordRequest(endpoint=endpoint, outcomes=[each.to_proto() for each in several])


def _put_value(message: v1.Outcome, value: Any) -> None:
    if isinstance(value, str):
        message.text = value
    elif isinstance(value, bool | np.bool_):
        message.flag = bool(value)
    elif isinstance(value, int | np.integer):
        if abs(int(value)) > _EXACT:
            raise InvalidRequestError(f"value {shown(str(value))}: a number is exact up to 2^53: send it as text")
        message.number = float(value)
    elif isinstance(value, float | np.floating):
        message.number = float(value)
    else:
        raise InvalidRequestError(f"value of type {type(value).__name__}: must be a number, a text or a flag")

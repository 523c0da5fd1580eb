"""Bodies of feedback: one outcome, a list, or CSV with a line for each."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import repeat
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.v1 import ColumnSpec, DataType, Outcome, OutcomeKind

from rendezvous_router.feedback.checking import MOST_OUTCOMES
from rendezvous_router.feedback.fitting import number_of
from rendezvous_router.feedback.recorder import Sent
from rendezvous_router.rest.csv_body import read_csv
from rendezvous_router.rest.json_body import check_json
from rendezvous_router.rest.media import JSON

__all__ = ["COLUMNS", "OutcomeBody", "read_outcomes"]

COLUMNS = (
    "feedback_id",
    "request_id",
    "key_name",
    "key_value",
    "row",
    "kind",
    "output",
    "value",
    "observed_at",
    "source",
)
"""Columns that a CSV of outcomes may have."""
_KINDS = {
    "truth": OutcomeKind.OUTCOME_KIND_TRUTH,
    "reward": OutcomeKind.OUTCOME_KIND_REWARD,
    "verdict": OutcomeKind.OUTCOME_KIND_VERDICT,
}
_WHOLE = 2**53
_SPECS = [ColumnSpec(name=name, type=DataType.DATA_TYPE_STRING, allow_missing=True) for name in COLUMNS]

Row = Annotated[int, Meta(ge=0, lt=2**31)]


class KeyBody(Struct, forbid_unknown_fields=True):
    """An entry of the context of requests."""

    name: str
    """Its name."""
    value: str
    """Its value."""


class OutcomeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One outcome."""

    kind: Literal["truth", "reward", "verdict"]
    """What kind of thing is known."""
    value: bool | int | float | str
    """What is known."""
    feedback_id: str = ""
    """Identity of this report."""
    request_id: str | UnsetType = UNSET
    """The request."""
    key: KeyBody | UnsetType = UNSET
    """Or an entry of its context."""
    row: Row | None = None
    """Row of the request; None: all."""
    output: str = ""
    """Output column."""
    observed_at: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
    """When it became known, RFC 3339."""
    source: str = ""
    """Who says so."""
    endpoint: str | UnsetType = UNSET
    """Which; only where the body is one outcome and the path has none."""

    def message(self) -> Outcome | str:
        """Returns it as a message, or what is wrong with it."""
        if self.request_id is not UNSET and self.key is not UNSET:
            return "request_id and key are both there: give one of them"
        outcome = Outcome(
            feedback_id=self.feedback_id, kind=_KINDS[self.kind], row=self.row, output=self.output, source=self.source
        )
        if self.request_id is not UNSET:
            outcome.request_id = self.request_id
        if not isinstance(self.key, UnsetType):
            outcome.key.name, outcome.key.value = self.key.name, self.key.value
        if not isinstance(self.observed_at, UnsetType):
            outcome.observed_unix_us = _unix_us(self.observed_at)
        return _with_value(outcome, self.value)


class OutcomesBody(Struct, forbid_unknown_fields=True):
    """Several outcomes."""

    outcomes: list[OutcomeBody]
    """They."""
    endpoint: str | UnsetType = UNSET
    """Which; only where the path has none."""


class _Either(Struct):
    """Enough of a body to see what it is."""

    outcomes: msgspec.Raw | UnsetType = UNSET


_look = msgspec.json.Decoder(_Either).decode
_decode_one = msgspec.json.Decoder(OutcomeBody).decode
_decode_list = msgspec.json.Decoder(list[OutcomeBody]).decode
_decode_many = msgspec.json.Decoder(OutcomesBody).decode


def read_outcomes(body: bytes, media: str) -> tuple[str, Sent]:
    """Returns the endpoint that a body names, or nothing, and its outcomes.

    Args:
        body: the body.
        media: JSON's media type, else CSV's.

    Raises:
        RendezvousError: it is no such body; says where.
    """
    if media != JSON:
        columns, rows = read_csv(body, _SPECS, MOST_OUTCOMES)
        return "", Sent(rows, _lines(columns, rows))
    try:
        endpoint, bodies, extra = _decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = str(error) if isinstance(error, msgspec.ValidationError) else "is not JSON in UTF-8"
        raise InvalidRequestError(f"body: {what}") from error
    check_json(body, extra + sum(map(_keys, bodies)))
    return endpoint, Sent(len(bodies), map(OutcomeBody.message, bodies))


def _decoded(body: bytes) -> tuple[str, Sequence[OutcomeBody], int]:
    """Returns the endpoint, the outcomes, and how many keys there are around them."""
    if body.lstrip(b" \t\r\n")[:1] == b"[":
        return "", _decode_list(body), 0
    if _look(body).outcomes is UNSET:
        one = _decode_one(body)
        return one.endpoint or "", [one], 0
    many = _decode_many(body)
    return many.endpoint or "", many.outcomes, 1 + (many.endpoint is not UNSET)


def _keys(body: OutcomeBody) -> int:
    """How many keys stand in an outcome at least; a few of them said as their defaults cost time, no more."""
    found = 2 + bool(body.feedback_id) + bool(body.output) + bool(body.source) + (body.row is not None)
    found += (body.request_id is not UNSET) + (body.observed_at is not UNSET) + (body.endpoint is not UNSET)
    return found + (3 if body.key is not UNSET else 0)


def _with_value(outcome: Outcome, value: Any) -> Outcome | str:
    if isinstance(value, bool):
        outcome.flag = value
    elif isinstance(value, str):
        outcome.text = value
    elif isinstance(value, int) and abs(value) > _WHOLE:
        return f"value of {value.bit_length()} bits: a number is exact up to 2^53: send it as text"
    else:
        outcome.number = value
    return outcome


def _unix_us(moment: datetime) -> int:
    whole = moment.replace(microsecond=0).timestamp()
    return math.floor(whole) * 1_000_000 + moment.microsecond


def _lines(columns: dict[str, list[Any]], rows: int) -> Iterator[Outcome | str]:
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise InvalidRequestError(
            f"body: column {unknown[0][:80]!r} is unknown: there are {', '.join(COLUMNS)}", {"known": ",".join(COLUMNS)}
        )
    cells = zip(*(columns.get(name) or repeat(None, rows) for name in COLUMNS), strict=True)
    return (_of_line(dict(zip(COLUMNS, (cell or "" for cell in line), strict=True))) for line in cells)


def _of_line(line: dict[str, str]) -> Outcome | str:
    if bool(line["request_id"]) == bool(line["key_name"]):
        return "give either request_id, or key_name and key_value"
    if line["kind"] not in _KINDS:
        return f"kind {line['kind'][:40]!r}: must be truth, reward or verdict"
    outcome = Outcome(
        feedback_id=line["feedback_id"], kind=_KINDS[line["kind"]], output=line["output"], source=line["source"]
    )
    if line["request_id"]:
        outcome.request_id = line["request_id"]
    else:
        outcome.key.name, outcome.key.value = line["key_name"], line["key_value"]
    try:
        if line["row"]:
            outcome.row = msgspec.convert(line["row"], Row, strict=False)
        if line["observed_at"]:
            moment = msgspec.convert(line["observed_at"], Annotated[datetime, Meta(tz=True)])
            outcome.observed_unix_us = _unix_us(moment)
    except msgspec.ValidationError as error:
        return f"row or observed_at: {error}"
    outcome.text = line["value"]
    if outcome.kind == OutcomeKind.OUTCOME_KIND_VERDICT and (number := number_of(outcome)) is not None:
        outcome.number = number
    return outcome

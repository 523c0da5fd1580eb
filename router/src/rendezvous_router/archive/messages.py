"""What was read of a stream, decoded as far as it can be, and the columns that an endpoint declares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from rendezvous.spec import EndpointSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import check_frame
from rendezvous_sdk.archive.schema import SignatureColumn

__all__ = ["Body", "ColumnsKey", "Declared", "Taken", "columns_key", "decode", "is_sound"]

Body = v1.Parcel | v1.ParcelScore | v1.DecisionBatch | v1.FeedbackBatch
ColumnsKey = tuple[tuple[str, int, tuple[int, ...]], ...]
"""Names, types and shapes of a frame's columns."""

_BODIES: Mapping[str, type[Body]] = {
    "input": v1.Parcel,
    "raw": v1.Parcel,
    "decision": v1.DecisionBatch,
    "feedback": v1.FeedbackBatch,
    "score": v1.ParcelScore,
}
_KINDS = {"input": "inputs", "raw": "raw", "decision": "decisions", "feedback": "feedback", "score": "scores"}


@dataclass(slots=True, eq=False)
class Taken:
    """One message of a stream."""

    sequence: int
    """Its place in the stream."""
    stored_us: int
    """When it was stored, microseconds since 1970-01-01 UTC by the broker's clock."""
    kind: str
    """Kind of the rows that it makes: `inputs`, `raw`, `scores`, `decisions`, `feedback`."""
    body: Body | None
    """What it says; None: it is not what its subject promises."""
    payload: bytes
    """Its bytes, where `body` is None; else empty."""
    size: int
    """Bytes of its payload."""
    stage: int = 0
    """Of a raw parcel: the stage of enrichment that it is for, from 1."""
    model: str = ""
    """Of a score: the model by its subject, on which nobody else may publish."""


def decode(subject: str, payload: bytes, sequence: int, stored_us: int) -> Taken:
    """Decodes a message by its subject; one that is not what that promises keeps its bytes. Never fails.

    So does a score of another endpoint or model than its subject's: a model may publish on its own subjects only, and
    what it writes into the message proves nothing.
    """
    _, endpoint, place, *rest = subject.split(".")
    body = _sound_body(_BODIES[place], payload)
    model = rest[0] if place == "score" and rest else ""
    if isinstance(body, v1.ParcelScore) and not _is_of(body, endpoint, model):
        body = None
    kept = b"" if body is not None else payload
    stage = _stage(rest) if place == "raw" else 0
    return Taken(sequence, stored_us, _KINDS[place], body, kept, len(payload), stage, model)


def _is_of(score: v1.ParcelScore, endpoint: str, model: str) -> bool:
    return score.model == model and score.endpoint in ("", endpoint)


def _stage(tokens: list[str]) -> int:
    return int(tokens[0]) if tokens and tokens[0].isdecimal() and len(tokens[0]) < 9 else 1


def _sound_body(kind: type[Body], payload: bytes) -> Body | None:
    body = kind()
    try:
        body.ParseFromString(payload)
    except DecodeError:
        return None
    if isinstance(body, v1.Parcel):
        return body if _is_sound_parcel(body, len(payload)) else None
    if isinstance(body, v1.ParcelScore):
        return body if _is_sound_score(body, len(payload)) else None
    if isinstance(body, v1.DecisionBatch):
        return body if len(body.records) and all(0 <= each.rows <= _MOST_ROWS for each in body.records) else None
    return body if len(body.outcomes) else None


_MOST_ROWS = 2**31 - 1
_KEYS_REMEMBERED = 256


def _is_sound_parcel(parcel: v1.Parcel, size: int) -> bool:
    rows = [item.rows for item in parcel.items]
    return bool(rows) and min(rows) >= 1 and sum(rows) == parcel.inputs.rows and is_sound(parcel.inputs, size)


def _is_sound_score(score: v1.ParcelScore, size: int) -> bool:
    rows = 0
    for item in score.items:
        if item.HasField("error") == (item.rows > 0) or item.rows < 0:
            return False
        rows += item.rows
    return bool(len(score.items)) and rows == score.outputs.rows and is_sound(score.outputs, size)


def is_sound(frame: v1.Frame, size: int) -> bool:
    """Returns whether a frame does not contradict itself, nor claims more rows than a message of *size* bytes has."""
    if frame.rows > size:
        return False  # columns of no elements may claim any number of rows
    try:
        check_frame(frame)
    except InvalidFrameError:
        return False
    return all(0 not in column.shape for column in frame.columns)


def columns_key(frame: v1.Frame) -> ColumnsKey:
    """Returns what tells a frame's columns from those of others."""
    return tuple([(column.name, column.type, tuple(column.shape)) for column in frame.columns])


@dataclass(slots=True)
class Declared:
    """The columns that an endpoint's specification declares, in all its revisions that are known.

    A frame whose columns are all declared is kept as typed columns, any other as it is; so nobody who publishes frames
    of ever new columns makes ever new schemas.
    """

    defaults: dict[str, tuple[SignatureColumn, ...]] = field(default_factory=dict)
    """Columns of the newest specification, by kind: those of rows that have no typed values."""
    _known: dict[str, set[SignatureColumn]] = field(default_factory=dict)
    _covered: dict[tuple[str, ColumnsKey], bool] = field(default_factory=dict)

    def learn(self, spec: EndpointSpec) -> None:
        """Takes note of a specification; of several, the newest must come last."""
        self._covered.clear()
        added = [column for enricher in spec.enrichers.values() for column in enricher.outputs]
        self._set("raw", spec.inputs, added)
        self._set("inputs", spec.model_inputs() if spec.inputs else ())
        self._set("scores", spec.outputs)
        self._set("decisions", spec.outputs)
        self._set("enrichments", (), added)

    def covers(self, kind: str, key: ColumnsKey) -> bool:
        """Returns whether all of a frame's columns are declared."""
        covered = self._covered.get((kind, key))
        if covered is None:
            known = self._known.get(kind, ())
            covered = all(SignatureColumn(name, _type_name(number), shape) in known for name, number, shape in key)
            if len(self._covered) < _KEYS_REMEMBERED:
                self._covered[kind, key] = covered
        return covered

    def _set(self, kind: str, columns: Iterable[object], others: Iterable[object] = ()) -> None:
        self.defaults[kind] = tuple(SignatureColumn.of(each) for each in columns)
        self._known.setdefault(kind, set()).update(self.defaults[kind], (SignatureColumn.of(each) for each in others))


def _type_name(number: int) -> str:
    return v1.DataType.Name(number).removeprefix("DATA_TYPE_")

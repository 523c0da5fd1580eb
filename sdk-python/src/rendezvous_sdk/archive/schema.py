"""Columns of the archive: Arrow schemas of each kind, and how a signature's columns are named in them.

Signature columns follow the fixed ones and keep their names; one that equals a fixed one, or one before it (whatever
its case), gets `_` appended until it is unique. Field metadata tells the original: `rendezvous.name`,
`rendezvous.type`, `rendezvous.shape`.

Source: ADR 0021; docs/record.md.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rendezvous_proto.frames import type_name

__all__ = [
    "ARROW_TYPES",
    "FIXED",
    "SignatureColumn",
    "column_names",
    "fixed_schema",
    "has_schema_id",
    "is_signature_field",
    "schema_id",
    "schema_of",
    "signature_of",
    "stored_type",
]

ARROW_TYPES: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "UINT8": pa.uint8(),
    "UINT16": pa.uint16(),
    "UINT32": pa.uint32(),
    "UINT64": pa.uint64(),
    "INT8": pa.int8(),
    "INT16": pa.int16(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FP16": pa.float16(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.binary(),
    "STRING": pa.string(),
}
"""Arrow type of one element, by the type's name."""

_ENTRIES = re.compile(r" \('[^']*'\)")
_NAME, _TYPE, _SHAPE = b"rendezvous.name", b"rendezvous.type", b"rendezvous.shape"
_KIND = b"rendezvous.kind"
_PARTITIONS = ("tenant", "endpoint", "kind", "day")
"""Names that the folders give to every row."""

_AT = pa.timestamp("us", tz="UTC")
_PROVENANCE = pa.list_(pa.struct([("component", pa.string()), ("version", pa.string())]))
_ARRIVALS = pa.list_(
    pa.struct(
        [
            ("model", pa.string()),
            ("version", pa.string()),
            ("role", pa.string()),
            ("status", pa.string()),
            ("after_us", pa.int64()),
            ("error_code", pa.string()),
            ("error_message", pa.string()),
            ("after_ns", pa.int64()),
        ]
    )
)

_INPUTS = pa.schema(
    [
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("rows", pa.int32()),
        ("parcel_id", pa.string()),
        ("stream_sequence", pa.int64()),
        ("stored_at", _AT),
        ("deadline_at", _AT),
        ("router", pa.string()),
        ("spec_revision", pa.int64()),
        ("context", pa.map_(pa.string(), pa.string())),
        ("force_model", pa.string()),
        ("explain", pa.bool_()),
        ("traceparent", pa.string()),
        ("provenance", _PROVENANCE),
        ("payload", pa.binary()),
    ]
)
_SCORES = pa.schema(
    [
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("replica", pa.string()),
        ("delivery", pa.int32()),
        ("origin", pa.string()),
        ("run", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("received_at", _AT),
        ("started_at", _AT),
        ("finished_at", _AT),
        ("stored_at", _AT),
        ("after_us", pa.int64()),
        ("late", pa.bool_()),
        ("parcel_id", pa.string()),
        ("parcel_sequence", pa.int64()),
        ("score_sequence", pa.int64()),
        ("payload", pa.binary()),
    ]
)
_DECISIONS = pa.schema(
    [
        ("request_id", pa.string()),
        ("rule", pa.string()),
        ("chosen", pa.string()),
        ("models", pa.list_(pa.string())),
        ("spec_revision", pa.int64()),
        ("decided_after_us", pa.int64()),
        ("deadline_left_us", pa.int64()),
        ("budget_ns", pa.int64()),
        ("decided_after_ns", pa.int64()),
        ("due_after_ns", pa.int64()),
        ("spec", pa.string()),
        ("reason", pa.string()),
        ("arrivals", _ARRIVALS),
        ("rows", pa.int32()),
        ("parcel_id", pa.string()),
        ("first_row", pa.int32()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("decided_at", _AT),
        ("router", pa.string()),
        ("stored_at", _AT),
        ("stream_sequence", pa.int64()),
        ("batch_index", pa.int32()),
        ("payload", pa.binary()),
    ]
)
_FEEDBACK = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("key_name", pa.string()),
        ("key_value", pa.string()),
        ("kind", pa.string()),
        ("output", pa.string()),
        ("number", pa.float64()),
        ("text", pa.string()),
        ("observed_at", _AT),
        ("source", pa.string()),
        ("stored_at", _AT),
        ("stream_sequence", pa.int64()),
        ("batch_index", pa.int32()),
        ("payload", pa.binary()),
    ]
)
_STAGE = pa.field("stage", pa.int32())
"""Stage of enrichment, from 1, of a raw parcel and of an enricher's answer."""
FIXED: dict[str, pa.Schema] = {
    "inputs": _INPUTS,
    "raw": _INPUTS.append(_STAGE),
    "scores": _SCORES,
    "enrichments": _SCORES.append(_STAGE),
    "decisions": _DECISIONS,
    "feedback": _FEEDBACK,
}
"""Columns that every file of a kind has, by kind."""


@dataclass(frozen=True, slots=True)
class SignatureColumn:
    """One column of an endpoint's signature, as the archive sees it."""

    name: str
    """Its name in the signature."""
    type: str
    """Name of its type: `FP64`, `STRING`, ..."""
    shape: tuple[int, ...] = ()
    """Shape of one row's value; empty for a scalar."""

    @classmethod
    def of(cls, column: Any) -> "SignatureColumn":
        """Returns it of anything with `name`, `type` (number or name) and `shape`: a column, or a specification's."""
        kind = column.type if isinstance(column.type, str) else type_name(column.type)
        return cls(column.name, kind, tuple(column.shape))


def stored_type(column: SignatureColumn) -> pa.DataType:
    """Returns the Arrow type of one row's value: a shape makes nested fixed-size lists, the last dimension innermost.

    Raises:
        KeyError: the type has no name here.
    """
    kind = ARROW_TYPES[column.type]
    for dimension in reversed(column.shape):
        kind = pa.list_(kind, dimension)
    return kind


def column_names(kind: str, columns: Sequence[SignatureColumn]) -> list[str]:
    """Returns under which names a kind's files have the signature's columns, in their order."""
    taken = {*_PARTITIONS, *(name.lower() for name in FIXED[kind].names)}
    names = []
    for column in columns:
        name = column.name
        while name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        names.append(name)
    return names


def fixed_schema(kind: str) -> pa.Schema:
    """Returns the columns that every file of a kind has."""
    return FIXED[kind]


def schema_of(kind: str, columns: Iterable[SignatureColumn] = ()) -> pa.Schema:
    """Returns the schema of a kind's files: the fixed columns, then the signature's.

    Args:
        kind: one of `KINDS`.
        columns: inputs of the signature for `inputs` and `raw`, else its outputs; none for `feedback`. In `decisions`
            each becomes a list with one element for each row of the request.
    """
    columns = tuple(columns)
    fields = list(FIXED[kind])
    for name, column in zip(column_names(kind, columns), columns, strict=True):
        stored = stored_type(column)
        told = {_NAME: column.name, _TYPE: column.type, _SHAPE: json.dumps(column.shape)}
        fields.append(pa.field(name, pa.list_(stored) if kind == "decisions" else stored, metadata=told))
    return pa.schema(fields, metadata={_KIND: kind})


def is_signature_field(field: pa.Field) -> bool:
    """Returns whether a column of a file is a signature's, not a fixed one."""
    return _NAME in (field.metadata or {})


def signature_of(schema: pa.Schema) -> dict[str, SignatureColumn]:
    """Returns the signature's columns of a file's schema, by their name in the file, in order."""
    return {each.name: _original(each) for each in schema if is_signature_field(each)}


def schema_id(schema: pa.Schema) -> str:
    """Returns a short text that is equal for equal schemas (names, types, order, originals): 16 hexadecimal digits.

    It is the same for a table and for the file that it is written to.
    """
    return _digest(schema, _plain)


def has_schema_id(schema: pa.Schema, told: str) -> bool:
    """Returns whether a manifest tells a schema; earlier versions told another id of merged files with maps."""
    return told in (schema_id(schema), _digest(schema, _plain_lists))


def _digest(schema: pa.Schema, text_of: Callable[[pa.DataType], str]) -> str:
    told = []
    for each in schema:
        originals = [(each.metadata or {}).get(key, b"").decode() for key in (_NAME, _TYPE, _SHAPE)]
        told.append([each.name, text_of(each.type), *originals])
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()[:16]


def _plain(kind: pa.DataType) -> str:
    """Returns a type as text; elements of lists and maps have another name once they were read from a file."""
    return _ENTRIES.sub("", _plain_lists(kind)) if pa.types.is_map(kind) else _plain_lists(kind)


def _plain_lists(kind: pa.DataType) -> str:
    return str(kind).replace("<element: ", "<item: ")


def _original(field: pa.Field) -> SignatureColumn:
    told = field.metadata
    return SignatureColumn(told[_NAME].decode(), told[_TYPE].decode(), tuple(json.loads(told[_SHAPE])))

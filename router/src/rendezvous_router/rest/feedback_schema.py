"""The OpenAPI document's part on feedback."""

from collections.abc import Iterable
from typing import Any

from rendezvous_proto.v1 import ColumnSpec

from rendezvous_router.feedback.checking import (
    KEY_NAME_CHARACTERS,
    KEY_VALUE_CHARACTERS,
    MOST_OUTCOMES,
    SOURCE_CHARACTERS,
    TEXT_CHARACTERS,
)
from rendezvous_router.rest.media import CSV, JSON

__all__ = ["OUTCOME", "feedback_operation"]

Schema = dict[str, Any]

_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_STATUSES = (400, 401, 403, 404, 408, 413, 415, 429, 431, 500, 503)
_OUTCOME_REFERENCE: Schema = {"$ref": "#/components/schemas/Outcome"}
OUTCOME: Schema = {
    "type": "object",
    "description": "What turned out to be true of a request, or of every request whose context has the entry `key`.",
    "properties": {
        "feedback_id": {**_ID, "description": "However often it comes, it counts once. Not given: made."},
        "request_id": {**_ID, "description": "The request; or give `key`."},
        "key": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": KEY_NAME_CHARACTERS},
                "value": {"type": "string", "minLength": 1, "maxLength": KEY_VALUE_CHARACTERS},
            },
            "required": ["name", "value"],
            "additionalProperties": False,
        },
        "row": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1, "description": "Not given: all rows."},
        "kind": {"enum": ["truth", "reward", "verdict"]},
        "output": {"type": "string", "description": "Output column; not given: the first that such a value fits."},
        "value": {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS},
                {"type": "boolean"},
            ]
        },
        "observed_at": {
            "type": "string",
            "format": "date-time",
            "description": "When it became known. Of several outcomes for the same the latest counts. Not given: now.",
        },
        "source": {"type": "string", "maxLength": SOURCE_CHARACTERS, "description": "Who says so."},
    },
    "required": ["kind", "value"],
    "additionalProperties": False,
    "oneOf": [{"required": ["request_id"]}, {"required": ["key"]}],
}
"""One outcome in JSON."""
_REPLY: Schema = {
    "type": "object",
    "properties": {"endpoint": {"type": "string"}, "feedback_ids": {"type": "array", "items": {"type": "string"}}},
    "required": ["endpoint", "feedback_ids"],
}


def feedback_operation(endpoint: str, outputs: Iterable[ColumnSpec]) -> Schema:
    """Returns the operation by which outcomes come.

    Args:
        endpoint: of its path; empty: the body names it.
        outputs: its output columns.
    """
    several: Schema = {"type": "array", "items": _OUTCOME_REFERENCE, "minItems": 1, "maxItems": MOST_OUTCOMES}
    named: Schema = {} if endpoint else {"endpoint": _ID}
    many: Schema = {
        "type": "object",
        "properties": {"outcomes": several, **named},
        "required": ["outcomes"],
        "additionalProperties": False,
    }
    bodies: Schema = {"anyOf": [_OUTCOME_REFERENCE, several, many]}
    known = ", ".join(f"`{column.name}`" for column in outputs)
    return {
        "operationId": f"feedback_{endpoint}" if endpoint else "feedback",
        "summary": f"Report what turned out to be true at {endpoint or 'an endpoint'}.",
        "description": "One outcome, or several: all are kept, or none. They may come late, in any order, and be "
        "corrected by later ones." + (f" Outputs: {known}." if known else ""),
        "requestBody": {"required": True, "content": {JSON: {"schema": bodies}, CSV: {"schema": {"type": "string"}}}},
        "responses": {
            "200": {"description": "They are kept, under these ids.", "content": {JSON: {"schema": _REPLY}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _STATUSES},
        },
    }

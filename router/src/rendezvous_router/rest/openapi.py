"""The OpenAPI 3.1 document, made from the live endpoints' signatures: a path and schemas of its own for each."""

from collections.abc import Iterable
from typing import Any

from rendezvous_proto import v1
from rendezvous_proto.errors import ERROR_TABLE
from rendezvous_proto.frames import type_name

from rendezvous_router.endpoint import Endpoint
from rendezvous_router.rest.columns import NON_FINITE
from rendezvous_router.rest.feedback_schema import OUTCOME, feedback_operation
from rendezvous_router.rest.media import ARROW_FILE, ARROW_STREAM, CSV, JSON
from rendezvous_router.rest.problems import PROBLEM, TYPES, phrase_of
from rendezvous_router.version import VERSION

__all__ = ["openapi_of"]

Schema = dict[str, Any]

_HTTP_FAULTS = (406, 408, 415, 431)
_STATUSES = sorted({facts.http_status for facts in ERROR_TABLE.values()} | set(_HTTP_FAULTS))
_LARGEST = {"FP16": 65504.0, "FP32": 3.4028234663852886e38}
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}


def openapi_of(endpoints: Iterable[Endpoint]) -> Schema:
    """Returns the document for whoever may see *endpoints*."""
    paths: Schema = {
        "/v1/endpoints": {"get": _plain("List the endpoints.", "listEndpoints", _list_schema(), _READ_STATUSES)},
        "/v1/feedback": {"post": feedback_operation("", [])},
        "/healthz": {"get": _text("Whether the process is alive.", "healthz", (200,))},
        "/readyz": {"get": _text("Whether requests are taken now.", "readyz", (200, 503))},
    }
    schemas: Schema = {
        "Problem": _PROBLEM,
        "Decision": _DECISION,
        "Timing": _TIMING,
        "ModelError": _MODEL_ERROR,
        "Outcome": OUTCOME,
    }
    for endpoint in endpoints:
        name = endpoint.name
        paths[f"/v1/endpoints/{name}"] = {
            "get": _plain(f"What {name} is.", f"describe_{name}", _DESCRIPTION, _READ_STATUSES)
        }
        paths[f"/v1/endpoints/{name}/score"] = {"post": _score(endpoint)}
        paths[f"/v1/endpoints/{name}/feedback"] = {"post": feedback_operation(name, endpoint.info.signature.outputs)}
        schemas[f"{name}.input"] = _row(endpoint.info.signature.inputs)
        schemas[f"{name}.output"] = _row(endpoint.info.signature.outputs)
        schemas[f"{name}.request"] = _request_schema(endpoint)
        schemas[f"{name}.answer"] = _answer_schema(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rendezvous",
            "version": VERSION,
            "description": "Score rows at an endpoint: several models see them, one answer comes back, on time. "
            "Errors are RFC 9457 problems. This document holds the endpoints that your key may see.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _problem_response(status) for status in _STATUSES},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key, `rv_...`, where keys are asked for."}
            },
        },
        "security": [{"key": []}, {}],
    }


_READ_STATUSES = (401, 403, 404, 408, 431, 500, 503)
_SCORE_STATUSES = (400, 401, 403, 404, 406, 408, 409, 413, 415, 429, 431, 500, 502, 503, 504)
_TIMING: Schema = {
    "type": "object",
    "description": "When the request was worked on, microseconds since 1970-01-01 UTC.",
    "properties": {name: {"type": "integer"} for name in ("received_unix_us", "started_unix_us", "finished_unix_us")},
}
_MODEL_ERROR: Schema = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
_ARRIVAL: Schema = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "role": {"enum": ["champion", "challenger", "canary", "shadow"]},
        "status": {"enum": ["scored", "failed", "pending"]},
        "after_us": {"type": "integer", "description": "From acceptance to its score, microseconds."},
        "error": {"$ref": "#/components/schemas/ModelError"},
    },
    "required": ["model", "version", "role", "status", "after_us"],
}
_DECISION: Schema = {
    "type": "object",
    "description": "How the answer was chosen.",
    "properties": {
        "rule": {"type": "string", "examples": ["steps[0].best"]},
        "models": {"type": "array", "items": {"type": "string"}},
        "reason": {"type": "string"},
        "spec_revision": {"type": "integer"},
        "decided_after_us": {"type": "integer"},
        "deadline_left_us": {"type": "integer"},
        "arrivals": {"type": "array", "items": _ARRIVAL, "description": "With explain: every model."},
    },
    "required": ["rule", "models", "reason", "spec_revision", "decided_after_us", "deadline_left_us"],
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. `code` is one of the closed list of errors.",
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": [TYPES + "signature-mismatch"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"enum": [code.name for code in ERROR_TABLE]},
        "retryable": {"type": "boolean", "description": "Whether the same request, same id, may succeed later."},
        "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "retryable"],
}
_COLUMN: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "type": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "missing": {"type": "boolean"},
        "nan": {"type": "boolean"},
        "description": {"type": "string"},
    },
    "required": ["name", "type", "shape", "missing", "nan"],
}
_DESCRIPTION: Schema = {
    "type": "object",
    "properties": {
        "endpoint": {"type": "string"},
        "revision": {"type": "integer"},
        "description": {"type": "string"},
        "inputs": {"type": "array", "items": _COLUMN},
        "outputs": {"type": "array", "items": _COLUMN},
        "models": {"type": "object", "additionalProperties": {"type": "string"}},
        "deadline_ms": {"type": "number"},
        "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["endpoint", "revision", "inputs", "outputs", "models", "deadline_ms", "limits"],
}


def _list_schema() -> Schema:
    return {
        "type": "object",
        "properties": {"endpoints": {"type": "array", "items": _DESCRIPTION}},
        "required": ["endpoints"],
    }


def _score(endpoint: Endpoint) -> Schema:
    name = endpoint.name
    request, answer = (f"#/components/schemas/{name}.{what}" for what in ("request", "answer"))
    arrow: Schema = {media: {"schema": {"contentMediaType": media}} for media in (ARROW_STREAM, ARROW_FILE)}
    bodies = {JSON: {"schema": {"$ref": request}}, CSV: {"schema": {"type": "string"}}, **arrow}
    return {
        "operationId": f"score_{name}",
        "summary": f"Score rows at {name}.",
        "description": endpoint.spec.description or f"Rows in, one answer for each, by the policy of {name}.",
        "parameters": _parameters(sorted(endpoint.roles)),
        "requestBody": {"required": True, "content": bodies},
        "responses": {
            "200": {
                "description": "The answer, in the form of the body unless Accept says otherwise.",
                "headers": _ANSWER_HEADERS,
                "content": {JSON: {"schema": {"$ref": answer}}, CSV: {"schema": {"type": "string"}}, **arrow},
            },
            **_problems(_SCORE_STATUSES),
        },
    }


_ANSWER_HEADERS: Schema = {
    name: {"schema": {"type": "string"}, "description": what}
    for name, what in (
        ("X-Request-Id", "The request's id, sent or made here."),
        ("Rendezvous-Model", "Model that gave the answer; empty: the policy's `otherwise`."),
        ("Rendezvous-Version", "Its version."),
        ("Rendezvous-Rule", "Rule that decided."),
        ("traceparent", "Trace in which it was answered."),
    )
}


def _parameters(models: list[str]) -> list[Schema]:
    def query(name: str, schema: Schema, what: str) -> Schema:
        return {"name": name, "in": "query", "schema": schema, "description": what}

    def header(name: str, schema: Schema, what: str) -> Schema:
        return {"name": name, "in": "header", "schema": schema, "description": what}

    return [
        query("explain", {"type": "boolean"}, "Show every model's score; JSON only."),
        query("trace", {"type": "boolean"}, "Record a trace, whatever the sampling says."),
        query("model", {"enum": models} if models else {"type": "string"}, "Answer with this model's score."),
        header("X-Request-Id", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "A retry carries the same."),
        header("Rendezvous-Timeout-Ms", {"type": "number", "exclusiveMinimum": 0}, "How long you wait."),
    ]


def _request_schema(endpoint: Endpoint) -> Schema:
    row = {"$ref": f"#/components/schemas/{endpoint.name}.input"}
    rows = {"type": "array", "items": row, "minItems": 1}
    common = {
        "context": {"type": "object", "additionalProperties": {"type": "string"}},
        "request_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    }
    columns = _columns(endpoint.info.signature.inputs)
    return {
        "anyOf": [
            {"title": "Rows", **_object({"rows": rows, **common}, ["rows"])},
            {"title": "Columns", **_object({"columns": columns, **common}, ["columns"])},
            {"title": "Rows only", **rows},
        ]
    }


def _answer_schema(endpoint: Endpoint) -> Schema:
    rows = {"type": "array", "items": {"$ref": f"#/components/schemas/{endpoint.name}.output"}}
    columns = _columns(endpoint.info.signature.outputs)
    score = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "rows": rows,
            "columns": columns,
            "error": {"$ref": "#/components/schemas/ModelError"},
            "timing": {"$ref": "#/components/schemas/Timing"},
        },
    }
    return _object(
        {
            "request_id": {"type": "string"},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "rows": rows,
            "columns": columns,
            "decision": {"$ref": "#/components/schemas/Decision"},
            "timing": {"$ref": "#/components/schemas/Timing"},
            "scores": {"type": "array", "items": score},
        },
        ["request_id", "model", "version", "decision", "timing"],
    )


def _row(specs: Iterable[v1.ColumnSpec]) -> Schema:
    declared = {spec.name: _value(spec) for spec in specs}
    required = [spec.name for spec in specs if not spec.allow_missing]
    return _object(declared, required) if declared else {"type": "object"}


def _columns(specs: Iterable[v1.ColumnSpec]) -> Schema:
    declared = {spec.name: {"type": "array", "items": _value(spec), "minItems": 1} for spec in specs}
    return _object(declared, list(declared)) if declared else {"type": "object"}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _value(spec: v1.ColumnSpec) -> Schema:
    schema = _element(type_name(spec.type), spec.allow_nan)
    for size in reversed(spec.shape):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    if spec.allow_missing:
        schema = {"anyOf": [schema, {"type": "null"}]}
    text = f"{type_name(spec.type)}{list(spec.shape) if spec.shape else ''}"
    return {**schema, "description": f"{text}. {spec.description}" if spec.description else text}


def _element(kind: str, allow_nan: bool) -> Schema:
    if kind in _INTEGERS:
        sign, bits = _INTEGERS[kind]
        low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind.startswith("FP"):
        number: Schema = {"type": "number"}
        if kind in _LARGEST:
            number |= {"minimum": -_LARGEST[kind], "maximum": _LARGEST[kind]}
        return {"anyOf": [number, {"enum": list(NON_FINITE)}]} if allow_nan else number
    if kind == "BOOL":
        return {"type": "boolean"}
    base64: Schema = {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
    return base64 if kind == "BYTES" else {"type": "string"}


def _plain(summary: str, operation: str, schema: Schema, statuses: Iterable[int]) -> Schema:
    content = {JSON: {"schema": schema}}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": "As asked.", "content": content}, **_problems(statuses)},
    }


def _text(summary: str, operation: str, statuses: Iterable[int]) -> Schema:
    content = {"text/plain": {"schema": {"type": "string"}}}
    responses: Schema = {str(status): {"description": phrase_of(status), "content": content} for status in statuses}
    return {"operationId": operation, "summary": summary, "security": [], "responses": responses}


def _problems(statuses: Iterable[int]) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _problem_response(status: int) -> Schema:
    codes = [code.name for code, facts in ERROR_TABLE.items() if facts.http_status == status]
    return {
        "description": f"{phrase_of(status)}: {', '.join(codes) or 'INVALID_REQUEST'}.",
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }

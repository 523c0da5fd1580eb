"""Names in the postbox: subjects, streams, consumers, buckets, keys, headers and limits. No I/O.

Every function refuses names that could break out of their place in a subject (dots, wildcards, spaces).
Source: docs/protocol.md, section "Names".
"""

import re

from rendezvous_proto.errors import InvalidRequestError

__all__ = [
    "DECOY_CONSUMER",
    "DEFAULT_ACK_WAIT_S",
    "ENDPOINTS_BUCKET",
    "ENDPOINTS_HISTORY",
    "MAX_ACK_PENDING",
    "MAX_PARCEL_BYTES",
    "MODELS_BUCKET",
    "MSG_ID_HEADER",
    "REPLICAS_BUCKET",
    "REPLICAS_REFRESH_S",
    "REPLICAS_TTL_S",
    "ROUTERS_BUCKET",
    "ROUTERS_REFRESH_S",
    "ROUTERS_TTL_S",
    "check_name",
    "check_version",
    "consumer_name",
    "decision_subject",
    "durable_stream",
    "durable_subjects",
    "endpoint_key",
    "feedback_subject",
    "input_subject",
    "model_key",
    "raw_message_id",
    "raw_subject",
    "raw_subjects",
    "replica_key",
    "router_key",
    "router_scores_subject",
    "score_stream",
    "score_subject",
    "score_subjects",
    "version_token",
]

MSG_ID_HEADER = "Nats-Msg-Id"
"""Header by which JetStream drops a second publish of the same message within the stream's window."""

MAX_PARCEL_BYTES = 900 * 1024
"""Most bytes of one message in the postbox; with headers below nats-server's default of 1 MiB."""

DEFAULT_ACK_WAIT_S = 1.0
"""Seconds after which a parcel that was not acknowledged is delivered again."""

MAX_ACK_PENDING = 1000
"""Most parcels of one model version that are delivered and not yet acknowledged, over all its replicas."""

DECOY_CONSUMER = "decoy"
"""Durable consumer of the archive, on both streams."""

ENDPOINTS_BUCKET = "rv_endpoints"
"""Bucket of specifications: key `endpoint_key`, value the specification as JSON."""

ENDPOINTS_HISTORY = 64
"""Revisions of each specification that are kept; the most that JetStream allows."""

MODELS_BUCKET = "rv_models"
"""Bucket of registrations: key `model_key`, value `v1.ModelInfo` as proto JSON."""

REPLICAS_BUCKET = "rv_replicas"
"""Bucket of live replicas: key `replica_key`, value their status as JSON."""

REPLICAS_TTL_S = 15.0
"""Seconds after which a replica that does not refresh its status is gone."""

REPLICAS_REFRESH_S = 2.0
"""Seconds between two refreshes of a replica's status."""

ROUTERS_BUCKET = "rv_routers"
"""Bucket of live routers: key `router_key`, value their status as JSON."""

ROUTERS_TTL_S = 15.0
"""Seconds after which a router that does not refresh its status is gone."""

ROUTERS_REFRESH_S = 1.0
"""Seconds between two refreshes of a router's status."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHOWN_CHARACTERS = 80


def check_name(kind: str, value: str) -> str:
    """Returns *value* if it may be a name (of an endpoint, model, router, replica, request).

    Args:
        kind: What is named, for the message: `endpoint`, `model`, `request id`, ...
        value: The name: 1 to 64 of A-Z a-z 0-9 _ -.

    Raises:
        InvalidRequestError: If it is anything else; attributes `kind` and `value`.
    """
    if _NAME.fullmatch(value) is None:
        raise _refusal(kind, value, "A-Z a-z 0-9 _ -")
    return value


def check_version(value: str) -> str:
    """Returns *value* if it may be a model's version: 1 to 64 of A-Z a-z 0-9 _ - and dots.

    Raises:
        InvalidRequestError: If it is anything else; attributes `kind` and `value`.
    """
    if _VERSION.fullmatch(value) is None:
        raise _refusal("version", value, "A-Z a-z 0-9 _ - .")
    return value


def _refusal(kind: str, value: str, allowed: str) -> InvalidRequestError:
    shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
    message = f"{kind} {shown!r} is not allowed ({len(value)} characters): use 1 to 64 of {allowed}"
    return InvalidRequestError(message, {"kind": kind, "value": shown, "allowed": allowed})


def raw_subject(endpoint: str, stage: int = 1) -> str:
    """Returns the subject of parcels for the enrichers of a stage, 1 or later.

    The first stage's parcels are as the clients sent them; those of later stages have what was added before.
    """
    subject = f"rv.{check_name('endpoint', endpoint)}.raw"
    return subject if stage == 1 else f"{subject}.{stage}"


def raw_subjects(endpoint: str) -> str:
    """Returns the wildcard for the parcels of all stages but the first."""
    return f"rv.{check_name('endpoint', endpoint)}.raw.*"


def raw_message_id(parcel_id: str, stage: int = 1) -> str:
    """Returns the `Nats-Msg-Id` of a parcel for the enrichers of a stage; that of its `input` is the parcel's id."""
    return f"{parcel_id}.raw" if stage == 1 else f"{parcel_id}.raw.{stage}"


def input_subject(endpoint: str) -> str:
    """Returns the subject of parcels for models."""
    return f"rv.{check_name('endpoint', endpoint)}.input"


def decision_subject(endpoint: str) -> str:
    """Returns the subject of decisions."""
    return f"rv.{check_name('endpoint', endpoint)}.decision"


def feedback_subject(endpoint: str) -> str:
    """Returns the subject of outcomes that clients report afterwards."""
    return f"rv.{check_name('endpoint', endpoint)}.feedback"


def durable_subjects(endpoint: str) -> list[str]:
    """Returns the subjects that the durable stream captures."""
    named = (raw_subject, raw_subjects, input_subject, decision_subject, feedback_subject)
    return [name(endpoint) for name in named]


def score_subject(endpoint: str, model: str, router: str) -> str:
    """Returns the subject on which *model* answers the parcels of *router*."""
    check_name("endpoint", endpoint)
    return f"rv.{endpoint}.score.{check_name('model', model)}.{check_name('router', router)}"


def score_subjects(endpoint: str) -> str:
    """Returns the wildcard for all scores of an endpoint; the score stream captures it."""
    return f"rv.{check_name('endpoint', endpoint)}.score.>"


def router_scores_subject(router: str) -> str:
    """Returns the wildcard for all scores addressed to *router*; it subscribes to that."""
    return f"rv.*.score.*.{check_name('router', router)}"


def durable_stream(endpoint: str) -> str:
    """Returns the name of the stream that keeps inputs, decisions and feedback, flushed to disk."""
    return f"RV_{check_name('endpoint', endpoint)}"


def score_stream(endpoint: str) -> str:
    """Returns the name of the stream that keeps scores."""
    return f"RV_{check_name('endpoint', endpoint)}_SCORES"


def version_token(version: str) -> str:
    """Returns *version* as one token of a subject, key or consumer: dots become dashes.

    Versions that differ only in that (`1.0`, `1-0`) are one version to the postbox.
    """
    return check_version(version).replace(".", "-")


def consumer_name(model: str, version: str) -> str:
    """Returns the durable consumer that all replicas of one model version share."""
    return f"{check_name('model', model)}__{version_token(version)}"


def endpoint_key(endpoint: str) -> str:
    """Returns the key in `ENDPOINTS_BUCKET`."""
    return check_name("endpoint", endpoint)


def model_key(endpoint: str, model: str, version: str) -> str:
    """Returns the key in `MODELS_BUCKET`."""
    return f"{check_name('endpoint', endpoint)}.{check_name('model', model)}.{version_token(version)}"


def replica_key(endpoint: str, model: str, version: str, replica: str) -> str:
    """Returns the key in `REPLICAS_BUCKET`."""
    return f"{model_key(endpoint, model, version)}.{check_name('replica', replica)}"


def router_key(router: str) -> str:
    """Returns the key in `ROUTERS_BUCKET`."""
    return check_name("router", router)

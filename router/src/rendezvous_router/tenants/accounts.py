"""The register as nats-server needs it: one account a tenant, one user a key, permissions down to the subjects.

Everything is an allow-list. Accounts share nothing unless a `Share` says so; a user has what its role needs and
nothing else (docs/protocol.md, "What a model may do"). The text has hashes only and may be shown to whoever runs NATS.
"""

import json
from collections.abc import Iterable
from typing import Any

from rendezvous_proto.keys import Key, inbox_prefix
from rendezvous_proto.postbox import (
    DECOY_CONSUMER,
    ENDPOINTS_BUCKET,
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    consumer_name,
    durable_stream,
    input_subject,
)

from rendezvous_router.tenants.keys import CONTROL, KeyRecord, derive_key
from rendezvous_router.tenants.register import ROLES, Register, Share, Tenant

__all__ = ["accounts_text", "model_subjects"]

_API = "$JS.API"
_NOBODYS_HASH = f"$2a$04${'.' * 53}"
"""Hash of no password."""
_SPECS = f"$KV.{ENDPOINTS_BUCKET}.>"
_ROLE_PUBLISHES = {
    "router": (
        "rv.*.raw",
        "rv.*.raw.*",
        "rv.*.input",
        "rv.*.decision",
        "rv.*.feedback",
        f"{_API}.>",
        "$JS.ACK.>",
        "$KV.>",
    ),
    "decoy": (
        f"{_API}.INFO",
        f"{_API}.STREAM.INFO.*",
        f"{_API}.STREAM.NAMES",
        f"{_API}.STREAM.MSG.GET.*",
        f"{_API}.DIRECT.GET.>",
        f"{_API}.CONSUMER.*.*.{DECOY_CONSUMER}",
        f"{_API}.CONSUMER.*.*.{DECOY_CONSUMER}.>",
        f"{_API}.CONSUMER.DURABLE.CREATE.*.{DECOY_CONSUMER}",
        f"{_API}.CONSUMER.MSG.NEXT.*.{DECOY_CONSUMER}",
        f"$JS.ACK.*.{DECOY_CONSUMER}.>",
        f"$JS.ACK.*.*.*.{DECOY_CONSUMER}.>",
    ),
    "models": (
        f"{_API}.INFO",
        f"{_API}.STREAM.INFO.*",
        f"{_API}.STREAM.NAMES",
        *(
            f"{_API}.STREAM.{verb}.KV_{name}"
            for verb in ("CREATE", "UPDATE")
            for name in (MODELS_BUCKET, REPLICAS_BUCKET)
        ),
        *(f"{_API}.CONSUMER.{verb}.>" for verb in ("CREATE", "DURABLE.CREATE", "INFO", "MSG.NEXT")),
        "$JS.ACK.>",
        f"$KV.{MODELS_BUCKET}.>",
        f"$KV.{REPLICAS_BUCKET}.>",
        "rv.*.score.>",
    ),
}
_ROLE_SUBSCRIBES = {"router": ("rv.*.score.*.*", _SPECS), "decoy": (_SPECS,), "models": ()}
_CONTROL_PUBLISHES = (f"{_API}.>", "$JS.ACK.>", _SPECS)


def accounts_text(register: Register, installation_secret: str, now_unix_s: float) -> str:
    """Returns the part `accounts` of a nats-server configuration.

    Args:
        register: tenants, keys, shares.
        installation_secret: tells the ids of the installation's own processes.
        now_unix_s: keys that are no longer valid then are left out.
    """
    accounts: dict[str, Any] = {
        tenant.name: _account(tenant, register.shares, installation_secret, now_unix_s)
        for tenant in register.tenants.values()
    }
    # A server without any account lets everybody in.
    accounts = accounts or {"nobody": {"users": [{"user": "nobody", "password": _NOBODYS_HASH}]}}
    return f"accounts: {json.dumps(accounts, indent=2)}\n"


def model_subjects(record: KeyRecord) -> tuple[str, ...]:
    """Returns the subjects that the owner of a key with scopes `model:...` may publish on."""
    subjects = [f"{_API}.STREAM.INFO.KV_{bucket}" for bucket in (MODELS_BUCKET, REPLICAS_BUCKET)]
    for endpoint, model in record.models:
        stream = durable_stream(endpoint)
        for version in record.versions:
            consumer = consumer_name(model, version)
            subjects += [
                f"{_API}.CONSUMER.INFO.{stream}.{consumer}",
                f"{_API}.CONSUMER.MSG.NEXT.{stream}.{consumer}",
                f"$JS.ACK.{stream}.{consumer}.>",
                f"$JS.ACK.*.*.{stream}.{consumer}.>",
            ]
        subjects += [
            f"rv.{endpoint}.score.{model}.*",
            f"$KV.{MODELS_BUCKET}.{endpoint}.{model}.*",
            f"$KV.{REPLICAS_BUCKET}.{endpoint}.{model}.>",
        ]
    return tuple(dict.fromkeys(subjects))


def _account(tenant: Tenant, shares: Iterable[Share], installation_secret: str, now_unix_s: float) -> dict[str, Any]:
    users = [_role_user(tenant, role, derive_key(installation_secret, tenant.name, role)) for role in ROLES]
    users += [_key_user(record) for record in tenant.keys.values() if record.uses_nats and record.is_valid(now_unix_s)]
    storage, connections = tenant.limits.storage_bytes, tenant.limits.connections
    account: dict[str, Any] = {
        "jetstream": "enabled" if storage is None else {"max_file": storage, "max_mem": storage},
        "users": users,
        "exports": [
            {"stream": input_subject(share.endpoint), "accounts": [share.receiver]}
            for share in shares
            if share.owner == tenant.name
        ],
        "imports": [
            {
                "stream": {"account": share.owner, "subject": input_subject(share.endpoint)},
                "to": input_subject(share.alias),
            }
            for share in shares
            if share.receiver == tenant.name
        ],
    }
    if connections is not None:
        account["limits"] = {"max_connections": connections}
    return account


def _role_user(tenant: Tenant, role: str, key: Key) -> dict[str, Any]:
    return _user(key, tenant.role_hashes[role], _ROLE_PUBLISHES[role], _ROLE_SUBSCRIBES[role])


def _key_user(record: KeyRecord) -> dict[str, Any]:
    publishes = model_subjects(record) if record.models else ()
    subscribes: tuple[str, ...] = ()
    if CONTROL in record.scopes:
        publishes, subscribes = (*publishes, *_CONTROL_PUBLISHES), (_SPECS,)
    return _user(Key(record.id, ""), record.nats_hash, publishes, subscribes)


def _user(key: Key, password_hash: str, publishes: Iterable[str], subscribes: Iterable[str]) -> dict[str, Any]:
    return {
        "user": key.id,
        "password": password_hash,
        "permissions": {
            "publish": {"allow": list(publishes)},
            "subscribe": {"allow": [f"{inbox_prefix(key)}.>", *subscribes]},
        },
    }

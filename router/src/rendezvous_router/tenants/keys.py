"""Keys: how they are made, what is kept of them, how one is told from another.

A key is `rv_<id>_<secret>`. The id is public: it finds the record and is the user's name in NATS. The secret has 260
random bits, so that one round of a salted hash is enough to keep it: nobody guesses it, whatever the hash costs.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import bcrypt
import msgspec
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.keys import ID_CHARACTERS, SECRET_CHARACTERS, Key
from rendezvous_proto.postbox import check_name, check_version

__all__ = [
    "CONTROL",
    "FEEDBACK",
    "SCORE",
    "KeyHolder",
    "KeyRecord",
    "KeyRing",
    "check_record",
    "derive_key",
    "is_secret_of",
    "make_key",
    "nats_hash",
    "new_record",
    "parse_scopes",
]

SCORE = "score"
"""Scope: ask endpoints for scores, and for what they are."""
FEEDBACK = "feedback"
"""Scope: report outcomes."""
CONTROL = "control"
"""Scope: administer the tenant's endpoints: specifications, streams, record; deleting them included."""
MODEL = "model:"
"""Beginning of the scope of a model's key, `model:<endpoint>/<name>`."""
_ID = re.compile(f"[a-z2-7]{{{ID_CHARACTERS}}}")
_HEX = re.compile(r"([0-9a-f]{2})+")
_SALT_BYTES = 16
_BCRYPT_ROUNDS = 6
"""Cost of the hash that nats-server checks at each connection; the secret is random, so little is enough."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key."""

    id: str
    """Its public part."""
    scopes: tuple[str, ...]
    """What it allows: `score`, `feedback`, `control`, `model:<endpoint>/<name>`."""
    salt: str
    """Salt of its hash, hexadecimal."""
    digest: str
    """HMAC-SHA256 of the secret under the salt, hexadecimal."""
    nats_hash: str = ""
    """bcrypt hash of the secret, for nats-server; empty where the scopes give no access to NATS."""
    versions: tuple[str, ...] = ()
    """Versions of its models that it may serve."""
    created_unix_s: int
    """When it was made."""
    expires_unix_s: int | None = None
    """From when on it is refused; None: never."""
    revoked_unix_s: int | None = None
    """When it was revoked; None: it was not."""
    note: str = ""
    """Whose it is, or what for."""

    def is_valid(self, now_unix_s: float) -> bool:
        """Whether it is accepted at a moment."""
        return self.revoked_unix_s is None and (self.expires_unix_s is None or now_unix_s < self.expires_unix_s)

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """(endpoint, model) of each model that it may serve."""
        pairs = (scope.removeprefix(MODEL).split("/") for scope in self.scopes if scope.startswith(MODEL))
        return tuple((endpoint, model) for endpoint, model in pairs)

    @property
    def uses_nats(self) -> bool:
        """Whether its owner connects to NATS."""
        return CONTROL in self.scopes or bool(self.models)


def make_key() -> Key:
    """Returns a new random key."""
    return Key(_text(secrets.token_bytes(8), ID_CHARACTERS), _text(secrets.token_bytes(33), SECRET_CHARACTERS))


def derive_key(installation_secret: str, tenant: str, role: str) -> Key:
    """Returns the key of one of the installation's own processes.

    Args:
        installation_secret: known to the operator's processes only.
        tenant: whose account.
        role: `router`, `decoy`, `models`.
    """

    def derived(what: str) -> bytes:
        return hmac.digest(installation_secret.encode(), f"rendezvous/{what}/{role}/{tenant}".encode(), hashlib.sha512)

    return Key(_text(derived("id"), ID_CHARACTERS), _text(derived("secret"), SECRET_CHARACTERS))


def new_record(
    key: Key, scopes: Iterable[str], *, versions: Iterable[str] = (), expires_unix_s: int | None = None, note: str = ""
) -> KeyRecord:
    """Returns what is kept of a new key.

    Raises:
        InvalidRequestError: a scope or a version is malformed, or they do not belong together.
    """
    checked = parse_scopes(scopes)
    serves = any(scope.startswith(MODEL) for scope in checked)
    wanted = tuple(dict.fromkeys(check_version(each) for each in versions))
    if wanted and not serves:
        raise InvalidRequestError("versions are of models: the key has no scope model:<endpoint>/<name>")
    salt = secrets.token_bytes(_SALT_BYTES)
    record = KeyRecord(
        id=key.id,
        scopes=checked,
        salt=salt.hex(),
        digest=_digest(salt, key.secret).hex(),
        versions=wanted or (("1",) if serves else ()),
        created_unix_s=int(time.time()),
        expires_unix_s=expires_unix_s,
        note=note,
    )
    return msgspec.structs.replace(record, nats_hash=nats_hash(key.secret)) if record.uses_nats else record


def check_record(record: KeyRecord) -> None:
    """Checks a record that was read from a file.

    Raises:
        InvalidRequestError: id, salt, digest, a scope or a version is malformed.
    """
    for what, text, form in (("id", record.id, _ID), ("salt", record.salt, _HEX), ("digest", record.digest, _HEX)):
        if form.fullmatch(text) is None:
            raise InvalidRequestError(f"key {record.id[:80]!r}: its {what} is malformed")
    parse_scopes(record.scopes)
    for version in record.versions:
        check_version(version)


def parse_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Returns scopes once each, checked.

    Raises:
        InvalidRequestError: there is none, or one is malformed.
    """
    checked = tuple(dict.fromkeys(_check_scope(scope.strip()) for scope in scopes))
    if not checked:
        raise InvalidRequestError("a key needs a scope: score, feedback, control or model:<endpoint>/<name>")
    return checked


def nats_hash(secret: str) -> str:
    """Returns the hash of a secret as nats-server checks it."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS, prefix=b"2a")).decode()


def is_secret_of(record: KeyRecord, secret: str) -> bool:
    """Whether *secret* is the record's; takes the same time whatever it is."""
    return hmac.compare_digest(_digest(bytes.fromhex(record.salt), secret), bytes.fromhex(record.digest))


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose a key is."""

    tenant: str
    """The tenant."""
    record: KeyRecord
    """The key's record."""


class KeyRing:
    """Finds the holder of a key.

    Args:
        holders: by the key's id.
    """

    def __init__(self, holders: Mapping[str, KeyHolder]) -> None:
        self._holders = holders
        self._nobody = KeyHolder("", new_record(make_key(), [SCORE]))

    def find(self, key: Key | None, now_unix_s: float) -> KeyHolder | None:
        """Returns who holds a key; None: nobody, or it is no longer valid. Takes the same time in every case."""
        holder = self._holders.get(key.id, self._nobody) if key is not None else self._nobody
        is_right = is_secret_of(holder.record, key.secret if key is not None else "")
        return holder if is_right and holder is not self._nobody and holder.record.is_valid(now_unix_s) else None


def _check_scope(scope: str) -> str:
    if scope in (SCORE, FEEDBACK, CONTROL):
        return scope
    endpoint, slash, model = scope.removeprefix(MODEL).partition("/")
    if not scope.startswith(MODEL) or not slash:
        raise InvalidRequestError(
            f"scope {scope[:80]!r} is not known: use score, feedback, control or model:<endpoint>/<name>",
            {"scope": scope[:80]},
        )
    check_name("endpoint", endpoint)
    check_name("model", model)
    return scope


def _digest(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode(errors="surrogatepass"), hashlib.sha256)


def _text(raw: bytes, characters: int) -> str:
    return base64.b32encode(raw).decode().lower()[:characters]

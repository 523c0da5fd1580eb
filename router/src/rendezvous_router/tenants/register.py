"""The register: who the tenants are, what they may use, which keys they have, what they share.

One JSON file, `register.json`, in a folder that only the operator may write. Changes are made under a lock and by
renaming, so a reader sees the old register or the new one. `Register.revision` grows with each.
"""

import fcntl
import json
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.keys import ID_CHARACTERS, is_key_id
from rendezvous_proto.postbox import check_name

from rendezvous_router.limits import DEFAULT_TENANT, TenantLimits
from rendezvous_router.tenants.keys import KeyHolder, KeyRecord, KeyRing, check_record, derive_key, nats_hash

__all__ = ["DEFAULT_TENANT", "ROLES", "Register", "RegisterFile", "Share", "Tenant", "check_tenant"]

REGISTER = "register.json"
"""Name of the file."""
SECRET = "installation.secret"  # noqa: S105 # a file's name
"""Name of the file with the installation's secret."""
ROLES = ("router", "decoy", "models")
"""The installation's own processes, each with a key of its own for each tenant."""

_TENANT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SECRET_CHARACTERS = 64
_SECRET = re.compile(f"[0-9a-f]{{{_SECRET_CHARACTERS}}}")
_TAKEN = {"sys", "system"}
"""Names that mean something to nats-server."""


class Tenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant."""

    name: str
    """Its name; its account's in NATS."""
    created_unix_s: int
    """When it was added."""
    limits: TenantLimits = TenantLimits()
    """What it may use."""
    keys: dict[str, KeyRecord] = {}
    """Its keys, by id."""
    role_hashes: dict[str, str] = {}
    """bcrypt hashes of the secrets of the installation's own processes, by role."""


class Share(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant's input that another one receives."""

    owner: str
    """Whose endpoint."""
    endpoint: str
    """Its name there."""
    receiver: str
    """Who receives every request to it."""
    alias: str
    """Name of the receiver's own endpoint in whose postbox the requests arrive."""


class Register(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All tenants and shares."""

    revision: int = 0
    """Grows with each change."""
    tenants: dict[str, Tenant] = {}
    """By name."""
    shares: tuple[Share, ...] = ()
    """Who receives whose input."""
    former: tuple[str, ...] = ()
    """Tenants that were removed: what NATS has stored under their names is theirs."""

    def tenant(self, name: str) -> Tenant:
        """Returns a tenant.

        Raises:
            InvalidRequestError: there is none of that name.
        """
        found = self.tenants.get(name)
        if found is None:
            known = ", ".join(sorted(self.tenants)) or "none"
            raise InvalidRequestError(f"tenant {name[:80]!r} is not in the register; it has: {known}")
        return found

    def find_key(self, key_id: str) -> tuple[Tenant, KeyRecord]:
        """Returns a key's tenant and record.

        Raises:
            InvalidRequestError: there is none of that id.
        """
        for tenant in self.tenants.values():
            if key_id in tenant.keys:
                return tenant, tenant.keys[key_id]
        if not is_key_id(key_id):  # perhaps a key, or a part of one: it is not repeated
            raise InvalidRequestError(
                f"what was given ({len(key_id)} characters) is no id of a key: an id has {ID_CHARACTERS} characters of "
                "a-z and 2-7, see `rendezvous key list`"
            )
        raise InvalidRequestError(f"no key has the id {key_id!r}: see `rendezvous key list`")

    def with_tenant(self, tenant: Tenant) -> "Register":
        """Returns the register with *tenant* added or replaced."""
        return msgspec.structs.replace(self, tenants={**self.tenants, tenant.name: tenant})

    def with_key(self, tenant: str, record: KeyRecord) -> "Register":
        """Returns the register with a key added or replaced."""
        owner = self.tenant(tenant)
        return self.with_tenant(msgspec.structs.replace(owner, keys={**owner.keys, record.id: record}))

    def without_tenant(self, name: str) -> "Register":
        """Returns the register without a tenant and its shares."""
        self.tenant(name)
        return msgspec.structs.replace(
            self,
            tenants={each: tenant for each, tenant in self.tenants.items() if each != name},
            shares=tuple(share for share in self.shares if name not in (share.owner, share.receiver)),
            former=tuple(dict.fromkeys((*self.former, name))),
        )

    def key_ring(self) -> KeyRing:
        """Returns what finds the holders of keys."""
        return KeyRing(
            {
                key_id: KeyHolder(tenant.name, record)
                for tenant in self.tenants.values()
                for key_id, record in tenant.keys.items()
            }
        )


class RegisterFile:
    """The register on disk.

    Args:
        folder: where it lies; made when it is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / REGISTER

    @property
    def exists(self) -> bool:
        """Whether there is a register: the installation has tenants, and asks for keys."""
        return self.path.exists()

    def check_not_lost(self) -> None:
        """Checks that a register that there was is still there: without it, nobody would be asked for a key.

        Raises:
            InvalidRequestError: there is the installation's secret, and no register.
        """
        if not self.exists and (self.folder / SECRET).exists():
            raise InvalidRequestError(
                f"{self.path} is missing, and there is an {SECRET} beside it: restore the register from a backup, add "
                f"its tenants again, or, if there are to be no tenants, remove the {SECRET}"
            )

    def read(self, *, must_exist: bool = False) -> Register:
        """Returns the register; an empty one where there is none.

        Args:
            must_exist: whether there has to be one.

        Raises:
            InvalidRequestError: it cannot be read, or is not there and must be.
        """
        try:
            register = msgspec.json.decode(self.path.read_bytes(), type=Register)
            _check_register(register)
        except FileNotFoundError as error:
            if must_exist:
                raise InvalidRequestError(f"the register {self.path} is gone: restore it from a backup") from error
            return Register()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, InvalidRequestError) as error:
            raise InvalidRequestError(f"the register {self.path} cannot be read: {error}") from error
        return register

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """Gives the register to be changed; what is in `Change.register` at the end is written, or nothing on errors.

        Raises:
            InvalidRequestError: it cannot be read.
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "register.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            change = Change(self.read())
            before = change.register
            yield change
            if change.register != before or not self.exists:
                self._write(msgspec.structs.replace(change.register, revision=before.revision + 1))

    def secret(self) -> str:
        """Returns the installation's secret; makes it where there is none.

        Raises:
            InvalidRequestError: it is cut short or something else, or others than its owner may read it.
            OSError: it can be neither read nor made.
        """
        path = self.folder / SECRET
        if not path.exists():
            _make_secret(path)
        return _read_secret(path)

    def new_tenant(self, name: str, limits: TenantLimits) -> Tenant:
        """Returns a tenant that is in no register yet, with the hashes of its processes' keys.

        Raises:
            InvalidRequestError: the name is malformed.
        """
        check_tenant(name)
        secret = self.secret()
        hashes = {role: nats_hash(derive_key(secret, name, role).secret) for role in ROLES}
        return Tenant(name=name, created_unix_s=int(time.time()), limits=limits, role_hashes=hashes)

    def _write(self, register: Register) -> None:
        temporary = self.path.with_suffix(".writing")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(msgspec.to_builtins(register), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)


class Change:
    """A register under change: assign `register`."""

    def __init__(self, register: Register) -> None:
        self.register = register


def check_tenant(name: str) -> str:
    """Returns *name* if it may be a tenant's.

    Raises:
        InvalidRequestError: it may not.
    """
    check_name("tenant", name)
    if _TENANT.fullmatch(name) is None or name in _TAKEN:
        raise InvalidRequestError(
            f"tenant {name!r} is not allowed: use 1 to 63 of a-z 0-9 -, a letter first, and not sys",
            {"tenant": name},
        )
    return name


def _make_secret(path: Path) -> None:
    """Makes the secret whole or not at all, and only if nobody else does so meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(prefix=f"{SECRET}.", dir=path.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secrets.token_hex(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _read_secret(path: Path) -> str:
    with path.open() as file:
        rights = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        found = file.read(_SECRET_CHARACTERS + 2).strip()
    if rights & 0o077:
        raise InvalidRequestError(
            f"{path} has rights {rights:o}: others than its owner could open everything with it; chmod 600 {path}"
        )
    if _SECRET.fullmatch(found) is None:
        raise InvalidRequestError(
            f"{path} is no secret of an installation, which has {_SECRET_CHARACTERS} hexadecimal characters: restore "
            "it from a backup"
        )
    return found


def _check_register(register: Register) -> None:
    """Checks what a file says beyond its form: somebody may have edited it, and the router must not find out later."""
    for name, tenant in register.tenants.items():
        check_tenant(name)
        absent = [role for role in ROLES if role not in tenant.role_hashes]
        if tenant.name != name or absent:
            what = f"has no hash of {absent[0]}" if absent else f"is called {tenant.name[:80]!r} inside"
            raise InvalidRequestError(f"tenant {name!r} {what}: add tenants with `rendezvous tenant add`")
        for key_id, record in tenant.keys.items():
            if record.id != key_id:
                raise InvalidRequestError(
                    f"key {key_id[:80]!r} has another id inside: add keys with `rendezvous key add`"
                )
            check_record(record)
    for share in register.shares:
        for name in (share.owner, share.receiver):
            if name not in register.tenants:
                raise InvalidRequestError(f"a share names tenant {name[:80]!r}, which is not there")
        check_name("endpoint", share.endpoint)
        check_name("endpoint", share.alias)

"""What `rendezvous up` does with tenants: it makes the accounts of its nats-server, and hands keys to its processes."""

import os
import signal
import time
from pathlib import Path

from rendezvous_proto.errors import InvalidRequestError
from rendezvous_proto.keys import Key

from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.accounts import accounts_text
from rendezvous_router.tenants.keys import derive_key
from rendezvous_router.tenants.register import Register, RegisterFile

LOOK_S = 0.2
"""Time between two looks at the register."""

RELOAD_S = 10.0
"""Time after which a nats-server that has not said that it took up its accounts is said not to have."""

_TAKEN_UP = "Reloaded server configuration"
_NOT_TAKEN_UP = "Failed to reload server configuration"


class Tenancy:
    """The tenants of a running project.

    Args:
        folder: the register's.
        own: tenant whose endpoints, models and archive the project's are.
    """

    def __init__(self, folder: Path, own: str) -> None:
        self.folder = folder
        self.own = own
        self._file = RegisterFile(folder)
        self._secret = self._file.secret()
        self._register = self._own_added()
        self._refused: tuple[str, InvalidRequestError] | None = None
        self._asked: tuple[int, float] | None = None

    @classmethod
    def of(cls, folder: Path, own: str) -> "Tenancy | None":
        """Returns the tenancy of a project; None: it has no register, so there is one tenant and no keys.

        Raises:
            InvalidRequestError: the register is lost or cannot be read, or the secret is none.
        """
        file = RegisterFile(folder)
        file.check_not_lost()
        return cls(folder, own) if file.exists else None

    @property
    def names(self) -> list[str]:
        """The tenants."""
        return list(self._register.tenants)

    @property
    def accounts(self) -> str:
        """The accounts as nats-server needs them now."""
        return self._accounts_of(self._register)

    def key(self, role: str, tenant: str | None = None) -> Key:
        """Returns the key of one of the project's processes; *tenant* None: the project's own."""
        return derive_key(self._secret, tenant or self.own, role)

    def follow(self, server: NatsServer | None, pid: int | None) -> None:
        """Reads the register again and, if the accounts are no longer the server's, makes it take them up.

        Args:
            server: the project's nats-server; None: it is somebody else's, who looks after its accounts.
            pid: its process; None: it does not run now, and will find them when it starts.

        Raises:
            InvalidRequestError: the register is gone or cannot be read, nats-server refuses its accounts, or has not
                taken up the last ones; the register and the accounts stay as they were.
        """
        if server is not None:
            self._check_taken_up(server)
        register = self._file.read(must_exist=True)
        accounts = self._accounts_of(register)
        if server is not None and accounts != server.accounts:
            self._check(server, accounts)
            server.set_accounts(accounts)
            if pid is not None:
                self._asked = _size(server.log), time.monotonic()
                os.kill(pid, signal.SIGHUP)
        self._register = register

    def _accounts_of(self, register: Register) -> str:
        return accounts_text(register, self._secret, time.time())

    def _check(self, server: NatsServer, accounts: str) -> None:
        """Raises what nats-server has against the accounts; the same ones it is asked about once."""
        if self._refused is not None and self._refused[0] == accounts:
            raise self._refused[1]
        try:
            server.check_accounts(accounts)
        except InvalidRequestError as error:
            self._refused = accounts, error
            raise

    def _check_taken_up(self, server: NatsServer) -> None:
        """Looks once for what the server said to the last SIGHUP: it says nothing to whoever sends one."""
        if self._asked is None:
            return
        offset, asked_at = self._asked
        said = _lines_from(server.log, offset)
        fault = next((line for line in said if _NOT_TAKEN_UP in line), "")
        if not fault and not any(_TAKEN_UP in line for line in said):
            if time.monotonic() - asked_at < RELOAD_S:
                return
            fault = f"it has not said so within {RELOAD_S:g} s"
        self._asked = None
        if fault:
            raise InvalidRequestError(
                f"nats-server did not take up the accounts of the register; those before stay in force: {fault}"
            )

    def _own_added(self) -> Register:
        with self._file.change() as change:
            if self.own not in change.register.tenants:
                tenant = self._file.new_tenant(self.own, TenantLimits())
                change.register = change.register.with_tenant(tenant)
        return self._file.read()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _lines_from(log: Path, offset: int) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace").splitlines()

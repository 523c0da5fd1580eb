"""What `rendezvous up` does with tenants: it makes the accounts of its nats-server, and hands keys to its processes."""

import os
import signal
import time
from pathlib import Path

from rendezvous_proto.keys import Key

from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.tenants.accounts import accounts_text
from rendezvous_router.tenants.keys import derive_key
from rendezvous_router.tenants.register import Register, RegisterFile

LOOK_S = 0.2
"""Time between two looks at the register."""


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
        return accounts_text(self._register, self._secret, time.time())

    def key(self, role: str, tenant: str | None = None) -> Key:
        """Returns the key of one of the project's processes; *tenant* None: the project's own."""
        return derive_key(self._secret, tenant or self.own, role)

    def follow(self, server: NatsServer, pid: int | None) -> None:
        """Reads the register again and, if the accounts are no longer the server's, makes it take them up.

        Args:
            server: the project's nats-server.
            pid: its process; None: it does not run now, and will find them when it starts.

        Raises:
            InvalidRequestError: the register cannot be read; the accounts stay as they are.
        """
        self._register = self._file.read()
        accounts = self.accounts
        if accounts != server.accounts:
            server.set_accounts(accounts)
            if pid is not None:
                os.kill(pid, signal.SIGHUP)

    def _own_added(self) -> Register:
        with self._file.change() as change:
            if self.own not in change.register.tenants:
                tenant = self._file.new_tenant(self.own, TenantLimits())
                change.register = change.register.with_tenant(tenant)
        return self._file.read()

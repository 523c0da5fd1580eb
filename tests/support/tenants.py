"""An installation with tenants for one test: nats-server with an account each, one router, models with keys."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from nats.js.errors import ServiceUnavailableError
from rendezvous.spec import parse_spec
from rendezvous_proto.keys import Key
from rendezvous_router.limits import TenantLimits
from rendezvous_router.nats_server import NatsServer
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.tenants.keys import make_key, new_record
from rendezvous_router.tenants.register import Register, RegisterFile, Share
from rendezvous_router.tenants.tenancy import Tenancy
from rendezvous_sdk.credentials import Credentials
from rendezvous_sdk.nats_connection import Connection, connect

from tests.support.processes import Process, script
from tests.support.stack import Stack


class TenantHouse:
    """See the module's docstring. Changes of the register are followed at once, as `rendezvous up` does.

    Args:
        folder: of everything.
        tenants: their names.
    """

    def __init__(self, folder: Path, *tenants: str) -> None:
        self.folder = folder
        self.file = RegisterFile(folder / "tenants")
        with self.file.change() as change:
            for name in tenants:
                change.register = change.register.with_tenant(self.file.new_tenant(name, TenantLimits()))
        self.tenancy = Tenancy(self.file.folder, tenants[0])
        self.server = NatsServer(store=folder / "nats", accounts=self.tenancy.accounts)
        self.server.start()
        self.stack = Stack(folder, self.server)

    def stop(self) -> None:
        """Ends everything."""
        self.stack.stop()
        self.server.stop()

    def change(self, register: Register) -> None:
        """Puts a changed register in force, in the file and in nats-server."""
        with self.file.change() as change:
            change.register = register
        before, accounts = self._reloads(), self.server.accounts
        self.tenancy.follow(self.server, self.server.pid)
        give_up = time.monotonic() + 10
        while self.server.accounts != accounts and self._reloads() == before:
            assert time.monotonic() < give_up, "nats-server has not taken up the accounts"
            time.sleep(0.01)

    def _reloads(self) -> int:
        return self.server.log.read_text().count("Reloaded server configuration")

    @property
    def register(self) -> Register:
        """The register as it is."""
        return self.file.read()

    def add_key(
        self, tenant: str, *scopes: str, versions: tuple[str, ...] = (), expires_unix_s: int | None = None
    ) -> Key:
        """Returns a new key of a tenant."""
        key = make_key()
        record = new_record(key, scopes, versions=versions, expires_unix_s=expires_unix_s)
        self.change(self.register.with_key(tenant, record))
        return key

    def revoke(self, key: Key) -> None:
        """Revokes a key."""
        owner, record = self.register.find_key(key.id)
        self.change(self.register.with_key(owner.name, msgspec.structs.replace(record, revoked_unix_s=1)))

    def limit(self, tenant: str, limits: TenantLimits) -> None:
        """Replaces a tenant's limits."""
        self.change(self.register.with_tenant(msgspec.structs.replace(self.register.tenant(tenant), limits=limits)))

    def share(self, owner: str, endpoint: str, receiver: str, alias: str) -> None:
        """Shares an endpoint's input."""
        share = Share(owner=owner, endpoint=endpoint, receiver=receiver, alias=alias)
        self.change(msgspec.structs.replace(self.register, shares=(*self.register.shares, share)))

    async def operator(self, tenant: str) -> Connection:
        """Returns a connection into a tenant's account with the operator's rights; to be closed."""
        shown = Credentials(key=self.tenancy.key("router", tenant))
        client = await connect(self.server.url, name="test", timeout_s=5, credentials=shown)
        async with asyncio.timeout(5):
            while True:  # JetStream's API is gone for a moment while accounts are exchanged
                try:
                    await client.jetstream().account_info()
                except ServiceUnavailableError:
                    await asyncio.sleep(0.05)
                else:
                    return client

    async def apply(self, tenant: str, spec: Mapping[str, Any]) -> int:
        """Stores the specification of a tenant's endpoint and returns its revision."""
        client = await self.operator(tenant)
        try:
            store = SpecStore(client)
            await store.ensure()
            return await store.put(parse_spec(spec))
        finally:
            await client.close()

    def start_router(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Starts a router that asks for keys, and waits until it is ready."""
        return self.stack.start_router("--tenants", str(self.file.folder), *arguments, env=env)

    def start_model(self, key: Key, target: str, *arguments: str, endpoint: str = "sum") -> Process:
        """Starts a model that shows its key, and waits until it is ready."""
        name = target.rpartition(":")[2]
        command = [script("rendezvous-model"), "serve", target, "--endpoint", endpoint, "--name", name]
        command += ["--nats", self.server.url, *arguments]
        return self.stack._start(f"{name}-{key.id}", command, {"RENDEZVOUS_KEY": key.text})

    def start_archive(self, tenant: str, archive: Path) -> Process:
        """Starts a tenant's archive."""
        key = self.tenancy.key("decoy", tenant)
        command = [script("python"), "-m", "rendezvous_router.cli", "archive", "--nats", self.server.url]
        command += ["--archive", str(archive), "--tenant", tenant]
        return self.stack._start(f"archive-{tenant}", command, {"RENDEZVOUS_KEY": key.text})

"""The routers of one process: one for each tenant of the register, or one for everybody where there is none.

They share the process, its ports and its telemetry, and nothing else: each has its own connection, in its tenant's
account, its own endpoints and its own memory of request ids. The register is looked at a few times a second, so a
revoked key is refused, a new tenant served and a removed one drained without a restart.
"""

import asyncio
import logging
import os
from collections.abc import Mapping

from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.app import Router
from rendezvous_router.limits import FairShare, Gate
from rendezvous_router.options import RouterOptions
from rendezvous_router.telemetry.tracing import Tracing
from rendezvous_router.tenants.consumers import GrantedConsumers
from rendezvous_router.tenants.current import work_for
from rendezvous_router.tenants.keys import KeyRing, derive_key
from rendezvous_router.tenants.register import DEFAULT_TENANT, Register, RegisterFile, Tenant

LOOK_S = 0.2
"""Time between two looks at the register."""

START_WAIT_S = 5.0
"""Longest wait for tenants before the doors open: nats-server gives most their connection within milliseconds, and one
that it does not know, or that has none left, must not keep the others waiting."""

RETRY_S = 1.0
"""Pause before the start of a tenant's router is tried again: nats-server may take up an account later than this
process does, and a limit that stood in the way may be lifted."""

_log = logging.getLogger(__name__)


class TenantRouters:
    """See the module's docstring. `start` once, `drain` once.

    Args:
        options: how to run; `options.tenants` is the register's folder.
        router_id: id of this life of the process.
        tracing: takes spans; None: nothing is traced.
    """

    def __init__(self, options: RouterOptions, router_id: str, tracing: Tracing | None) -> None:
        self.router_id = router_id
        self.keys: KeyRing | None = None
        self._options = options
        self._tracing = tracing
        self._file = RegisterFile(options.tenants) if options.tenants is not None else None
        self._register = Register()
        self._seen: tuple[int, int, int] | None = None
        self._routers: dict[str, Router] = {}
        self._consumers: dict[str, tuple[GrantedConsumers, asyncio.Task[None]]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._address = self._rest = ""
        self._share = FairShare(options.max_in_flight) if options.tenants is not None else None
        self._is_draining = False

    @property
    def by_tenant(self) -> Mapping[str, Router]:
        """The routers that are ready, by tenant."""
        return self._routers

    @property
    def why_not_ready(self) -> str:
        """Why no request can be taken now; empty: it can."""
        if self._is_draining:
            return "shutting down"
        if not self._routers and not self._has_no_tenants:
            return "not connected to nats-server"
        away = sorted(name for name, router in self._routers.items() if not router.postbox.is_connected)
        return "not connected to nats-server" if away and len(away) == len(self._routers) else ""

    async def start(self) -> None:
        """Starts the routers, and waits until each has met nats-server, where there are tenants for 5 s at most.

        Tenants that are not ready then are served as soon as they are.

        Raises:
            InvalidRequestError: the register is lost or cannot be read, or its secret is none.
        """
        if self._file is None:
            self._routers[DEFAULT_TENANT] = await Router.start(self._options, self.router_id, self._tracing)
            return
        self._file.check_not_lost()
        self._seen = self._stamp()
        register = self._file.read()
        if register.tenants:
            self._file.secret()
        self._adopt(register)
        if self._starting:
            await asyncio.wait(self._starting.values(), timeout=START_WAIT_S)
        if self._starting:
            _log.warning("not served yet, tried further: tenants %s", ", ".join(sorted(self._starting)))
        self._following = asyncio.create_task(self._follow(), name="register")

    def serve_at(self, address: str, *, rest: str) -> None:
        """Says where the front doors listen: gRPC's host and port, REST's URL."""
        self._address, self._rest = address, rest
        for router in self._routers.values():
            router.serve_at(address, rest=rest)

    def refuse_new(self) -> None:
        """Refuses new requests from now on."""
        self._is_draining = True
        for router in self._routers.values():
            router.is_draining = True

    async def drain(self) -> None:
        """Refuses new requests, answers the accepted ones, and disconnects."""
        self.refuse_new()
        consumers = [task for _, task in self._consumers.values()]
        await end_tasks(self._following, *self._starting.values(), *consumers)
        await asyncio.gather(*(router.drain() for router in self._routers.values()), *self._leaving)

    @property
    def _has_no_tenants(self) -> bool:
        return self._file is not None and not self._register.tenants

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except RendezvousError as error:
                _log.error("the register stays as it was: %s", error.message)
            except Exception:  # noqa: BLE001 # whatever it is: who no longer follows would serve revoked keys for good
                _log.exception("a change of the register could not be taken up; the next one will be")

    async def _look(self) -> None:
        """Takes up the register if it has changed."""
        assert self._file is not None, "followed only where there is one"
        stamp = await asyncio.to_thread(self._stamp)
        if stamp == self._seen:
            return
        had_one, self._seen = self._seen is not None, stamp
        self._adopt(await asyncio.to_thread(self._file.read, must_exist=had_one))

    def _stamp(self) -> tuple[int, int, int] | None:
        assert self._file is not None, "followed only where there is one"
        try:
            found = os.stat(self._file.path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _adopt(self, register: Register) -> None:
        assert self._file is not None, "adopted only where there is one"
        self._register = register
        self.keys = register.key_ring()
        for name, tenant in register.tenants.items():
            if name in self._routers:
                self._routers[name].set_tenant_limits(tenant.limits)
                self._consumers[name][0].want(tenant)
            elif name not in self._starting:
                self._starting[name] = asyncio.create_task(self._start(tenant), name=f"tenant {name}")
        for name in self._routers.keys() - register.tenants.keys():
            task = asyncio.create_task(self._leave(name), name=f"leave {name}")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            _log.info("tenant removed", extra={"tenant": name})
        for name in self._starting.keys() - register.tenants.keys():
            self._starting.pop(name).cancel()

    async def _start(self, tenant: Tenant) -> None:
        work_for(tenant.name)
        router = await self._start_router(tenant)
        self._starting.pop(tenant.name, None)
        tenant = self._register.tenants.get(tenant.name, tenant)
        router.set_tenant_limits(tenant.limits)
        consumers = GrantedConsumers(router.postbox.client, router.desks)
        consumers.want(tenant)
        self._consumers[tenant.name] = (consumers, asyncio.create_task(consumers.run(), name="consumers"))
        if self._address:  # else the doors are not open yet: they will say so to all routers
            router.serve_at(self._address, rest=self._rest)
        router.is_draining = self._is_draining
        self._routers[tenant.name] = router
        _log.info("tenant served", extra={"tenant": tenant.name})

    async def _start_router(self, tenant: Tenant) -> Router:
        """Returns the tenant's router; tries until it has started."""
        assert self._file is not None, "tenants come from a register"
        told = ""
        while True:
            try:
                key = derive_key(await asyncio.to_thread(self._file.secret), tenant.name, "router")
                gate = Gate(tenant.name, tenant.limits, self._share, workers=self._options.workers)
                return await Router.start(self._options, self.router_id, self._tracing, gate, key)
            except Exception as error:  # noqa: BLE001 # whatever it is: it is this tenant's alone, and told
                if told != (told := f"{type(error).__name__}: {error}"):
                    _log.error("tenant %s cannot be served, tried further: %s", tenant.name, told)
            await asyncio.sleep(RETRY_S)

    async def _leave(self, name: str) -> None:
        router, (_, consumers) = self._routers.pop(name), self._consumers.pop(name)
        await end_tasks(consumers)
        await router.drain()

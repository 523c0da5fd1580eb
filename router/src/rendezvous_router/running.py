"""Runs a project on one machine: nats-server, router, archive and models as supervised child processes."""

import asyncio
import fcntl
import os
import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nats.aio.client import Client
from nats.errors import Error as NatsError
from rendezvous.spec import EndpointSpec
from rendezvous_proto.errors import RendezvousError
from rendezvous_sdk.archive.layout import DEFAULT_TENANT, is_url, shown_root
from rendezvous_sdk.nats_connection import connect
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router._state import RunningState, remove_state, write_state
from rendezvous_router.fleet import Status, read_replicas, read_routers
from rendezvous_router.nats_server import NatsServer, find_free_port
from rendezvous_router.passes import Passes
from rendezvous_router.project import STATE_FOLDER, Project, find_command
from rendezvous_router.spec_store import SpecStore
from rendezvous_router.supervisor import Child, ChildEvent, Supervisor
from rendezvous_router.tenants.tenancy import LOOK_S, Tenancy

NATS_PORT = 4222
"""Port of nats-server where the project names none and it is free."""

_READY_TIMEOUT_S = 60.0
_POLL_S = 0.1
_DEATHS_TO_GIVE_UP = 5
_FSYNC_TRIES = 20
_LOG_LINES = 8
_SERVER_FAULTS = (NatsError, TimeoutError)


class StartError(RuntimeError):
    """The project could not be started; the message says what failed and ends with its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReadiness:
    """How a model of the project came up."""

    name: str
    """Its name in the project."""
    expected: int
    """Replicas wanted."""
    replicas: tuple[Status, ...]
    """Replicas that registered."""
    log: Path
    """Log of its first process."""

    @property
    def is_ready(self) -> bool:
        """Whether every replica has registered."""
        return len(self.replicas) >= self.expected


class RunningProject:
    """A project and its processes. Belongs to one event loop; `start` once, `stop` once.

    Args:
        project: what to run.
        folder: folder of the project file.
        specs: its endpoint specifications.
        nats_url: a nats-server to use; None starts one.
        insecure: whether others than this machine may be served without keys and TLS.
        on_event: called with each event of a child process.
        on_step: called with a line for people before each step.

    Raises:
        InvalidRequestError, TlsError: see `Passes`.
    """

    def __init__(
        self,
        project: Project,
        folder: Path,
        specs: Sequence[EndpointSpec],
        *,
        nats_url: str | None = None,
        insecure: bool = False,
        on_event: Callable[[ChildEvent], None],
        on_step: Callable[[str], None],
    ) -> None:
        self.project = project
        self.folder = folder
        self.specs = specs
        self.nats_url = nats_url or ""
        self.grpc_address = ""
        self.rest_address = ""
        self.archive = project.archive if is_url(project.archive) else str((folder / project.archive).absolute())
        self.models: list[ModelReadiness] = []
        self._state_folder = (folder / STATE_FOLDER).absolute()
        self._passes = Passes(project, folder, insecure=insecure)
        self._nats: NatsServer | None = None
        self._following: asyncio.Task[None] | None = None
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._say = on_step
        self._supervisor = Supervisor(logs=self._state_folder / "logs", on_event=on_event)
        self._commands = {name: find_command(model.arguments) for name, model in project.models.items()}
        self._lock: IO[str] | None = None
        self._started_unix_us = 0

    async def start(self) -> None:
        """Starts everything and waits until the router answers and the models have registered.

        A model that does not register in a minute, or dies again and again, is left to its supervisor and told by
        `models`; the endpoint's policy answers without it.

        Raises:
            StartError: nats-server or the router do not come up, or the project runs already.
            ProjectError: a program is missing, or a specification is refused.
            NatsServerError: a port is taken.
        """
        self._lock = _take_lock(self._state_folder)
        self._started_unix_us = time.time_ns() // 1000
        if not self.nats_url:
            await self._start_nats()
        client = await self._connect()
        try:
            await self._put_specs(client)
            await self._start_router(client)
            for tenant in self._tenants:
                await self._start_archive(tenant)
            await self._start_models(client)
        finally:
            await client.close()
        if self._passes.tenancy is not None:
            self._following = asyncio.create_task(self._follow(self._passes.tenancy), name="register")
        state = RunningState(
            nats=self.nats_url,
            grpc=self.grpc_address,
            rest=self.rest_address,
            archive=self.archive,
            tenant=self.project.tenant,
            certs="" if self.project.certs is None else str((self.folder / self.project.certs).absolute()),
            pid=os.getpid(),
        )
        write_state(self.folder, state)

    async def stop(self) -> None:
        """Stops everything: the router first, so that accepted requests are answered, nats-server last."""
        remove_state(self.folder)
        await end_tasks(self._following)
        await asyncio.gather(*self._leaving.values())
        await self._supervisor.stop(first=("router",))
        if self._lock is not None:
            self._lock.close()

    def kill(self) -> None:
        """Ends every process at once."""
        self._supervisor.kill()

    def processes(self) -> list[tuple[str, int | None, int, Path]]:
        """Returns (name, process id, restarts, log) of every child, in the order of their start."""
        supervisor = self._supervisor
        return [
            (name, supervisor.pid_of(name), supervisor.restarts_of(name), supervisor.log_of(name))
            for name in supervisor.names
        ]

    async def _start_nats(self) -> None:
        store = self._state_folder / "nats"
        relaxed = self.project.durability == "relaxed"
        server = self._nats = self._passes.nats_server(store, _choose_nats_port(self.project), relaxed=relaxed)
        command = server.prepare()
        fsync_ms = await asyncio.to_thread(measure_fsync_ms, store)
        how = "every two minutes" if relaxed else "before each acknowledgement"
        self._say(f"nats-server {server.url}, flushed to disk {how}; a flush takes {fsync_ms:.2f} ms here")
        await self._supervisor.start(Child(name="nats", command=command))
        server.log = self._supervisor.log_of("nats")
        await self._wait(lambda: asyncio.to_thread(server.accepts), "nats", "accept connections")
        self.nats_url = server.url

    async def _connect(self) -> Client:
        try:
            shown = self._passes.credentials()
            return await connect(self.nats_url, name="rendezvous-up", timeout_s=10, credentials=shown)
        except (ConnectionError, NatsError, RendezvousError) as error:
            raise StartError(str(error)) from error

    async def _put_specs(self, client: Client) -> None:
        store = SpecStore(client)
        await store.ensure()
        for spec in self.specs:
            stored = await store.get(spec.endpoint)
            if stored is None or stored[0] != spec:
                revision = await store.put(spec)
                self._say(f"endpoint {spec.endpoint}: applied as revision {revision}")

    async def _start_router(self, client: Client) -> None:
        port = self.project.ports.grpc
        if port and _is_taken(port):
            raise StartError(f"port {port} (ports.grpc) is in use by another process: choose another, or 0")
        command = find_command(["rendezvous-router"])
        options = ["--nats", self.nats_url, "--grpc-port", str(port)]
        if self.project.ports.rest is not None:
            options += ["--rest-port", str(self.project.ports.rest)]
        if self.project.ports.metrics is not None:
            options += ["--metrics-port", str(self.project.ports.metrics)]
        options += ["--journal", str(self._state_folder / "journal")]
        workers = ["--workers", str(self.project.router.workers)]
        self._say("router")
        options += self._passes.router_options()
        environment = self._passes.environment("router")
        child = Child(name="router", command=[*command, *options, *workers], environment=environment)
        await self._supervisor.start(child)
        await self._wait(lambda: self._find_router(client), "router", "take up the endpoints")

    async def _find_router(self, client: Client) -> bool:
        wanted = {spec.endpoint for spec in self.specs}
        for router in await read_routers(client):
            is_ours = router["started_unix_us"] >= self._started_unix_us
            # It tells of its endpoints before its doors are open; then it has no address yet.
            if is_ours and wanted <= router["endpoints"].keys() and router["grpc"]:
                self.grpc_address, self.rest_address = _from_here(router["grpc"]), _from_here(router["rest"])
                return True
        return False

    async def _start_archive(self, tenant: str | None) -> None:
        whose = "" if tenant is None else f" of tenant {tenant}"
        self._say(f"archive{whose}, {shown_root(self.archive)}")
        command = find_command(["python", "-m", "rendezvous_router.cli", "archive"])
        options = ["--nats", self.nats_url, "--tenant", tenant or DEFAULT_TENANT]
        # It would take the router's port where the environment names one.
        # By the environment, not a command line that all can read: there may be secrets in a URL.
        environment = {
            **self._passes.environment("decoy", tenant),
            "RENDEZVOUS_GRPC_PORT": "",
            "RENDEZVOUS_ARCHIVE": self.archive,
            "RENDEZVOUS_ARCHIVE_KEEP": self.project.archive_keep,
            "RENDEZVOUS_ARCHIVE_KEEP_BYTES": self.project.archive_keep_bytes,
        }
        child = Child(name=_archive_name(tenant), command=[*command, *options], environment=environment)
        await self._supervisor.start(child)

    @property
    def _tenants(self) -> list[str] | list[None]:
        return [None] if self._passes.tenancy is None else self._passes.tenancy.names

    async def _follow(self, tenancy: Tenancy) -> None:
        """Makes nats-server take up what changes in the register; archives come and go with their tenants."""
        told = ""
        while True:
            await asyncio.sleep(LOOK_S)
            fault = ""
            try:
                await asyncio.to_thread(tenancy.follow, self._nats, self._supervisor.pid_of("nats"))
            except Exception as error:  # noqa: BLE001 # whatever it is: who no longer follows would keep revoked keys
                fault = f"the register stays as it was: {error or type(error).__name__}"
            try:
                await self._match_archives(tenancy.names)
            except Exception as error:  # noqa: BLE001 # as above
                fault = fault or f"a tenant has no archive: {error or type(error).__name__}"
            if fault and fault != told:
                self._say(fault)
            told = fault

    async def _match_archives(self, tenants: Sequence[str]) -> None:
        """Starts the archives of new tenants and stops those of removed ones, which nobody waits for."""
        wanted = {_archive_name(tenant): tenant for tenant in tenants}
        running = {name for name in self._supervisor.names if name.startswith(_archive_name(""))}
        self._leaving = {name: task for name, task in self._leaving.items() if not task.done()}
        for name in wanted.keys() - running:
            await self._start_archive(wanted[name])
        for name in running - wanted.keys() - self._leaving.keys():
            self._leaving[name] = asyncio.create_task(self._supervisor.stop_child(name), name=f"stop {name}")
            self._say(f"{name} is stopped: its tenant was removed")

    async def _start_models(self, client: Client) -> None:
        for name, command in self._commands.items():
            model = self.project.models[name]
            shown = self._passes.environment("models")
            environment = {"PYTHONUNBUFFERED": "1", **shown, **model.env, "RENDEZVOUS_NATS": self.nats_url}
            for process in _process_names(name, model.replicas):
                child = Child(name=process, command=command, environment=environment, folder=self.folder)
                await self._supervisor.start(child)
        for name in self._commands:
            self._say(f"model {name}")
            self.models.append(await self._wait_for_model(client, name))

    async def _wait_for_model(self, client: Client, name: str) -> ModelReadiness:
        process, *_ = _process_names(name, self.project.models[name].replicas)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            readiness = ModelReadiness(
                name=name,
                expected=self.project.models[name].replicas,
                replicas=await self._find_replicas(client, name),
                log=self._supervisor.log_of(process),
            )
            hopeless = self._supervisor.restarts_of(process) >= _DEATHS_TO_GIVE_UP
            if readiness.is_ready or hopeless or time.monotonic() > deadline:
                return readiness
            await asyncio.sleep(_POLL_S)

    async def _find_replicas(self, client: Client, name: str) -> tuple[Status, ...]:
        try:
            replicas = await read_replicas(client)
        except _SERVER_FAULTS:
            return ()  # as in `_wait`
        started_us = self._started_unix_us
        return tuple(each for each in replicas if each["model"] == name and each["started_unix_us"] >= started_us)

    async def _wait(self, is_ready: Callable[[], Awaitable[bool]], name: str, what: str) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            silence = ""
            try:
                if await is_ready():
                    return
            except _SERVER_FAULTS as error:  # it may have too much to do, or a cluster no leader: it is asked again
                silence = f" (nats-server, when asked last: {error or type(error).__name__})"
            restarts = self._supervisor.restarts_of(name)
            if restarts >= _DEATHS_TO_GIVE_UP or time.monotonic() > deadline:
                log = self._supervisor.log_of(name)
                lines = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
                fault = (
                    f"died {restarts} times" if restarts else f"did not {what} within {_READY_TIMEOUT_S:g} s{silence}"
                )
                raise StartError(f"{name} {fault}; end of {log}:\n{lines}")
            await asyncio.sleep(_POLL_S)


def measure_fsync_ms(folder: Path) -> float:
    """Returns the median time of writing 4 KiB and flushing it to the disk under *folder*, in milliseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fsync.probe"
    times = []
    with path.open("wb") as probe:
        for _ in range(_FSYNC_TRIES):
            started = time.perf_counter()
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(times) * 1000


def _from_here(address: str) -> str:
    """Returns an address of every interface as one that can be connected to on this machine."""
    return address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 # replaced, not bound


def _archive_name(tenant: str | None) -> str:
    return "archive" if tenant is None else f"archive-{tenant}"


def _process_names(name: str, replicas: int) -> list[str]:
    return [f"model-{name}"] if replicas == 1 else [f"model-{name}-{number + 1}" for number in range(replicas)]


def _choose_nats_port(project: Project) -> int:
    if project.ports.nats:
        return project.ports.nats
    return find_free_port() if project.ports.nats == 0 or _is_taken(NATS_PORT) else NATS_PORT


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _take_lock(state_folder: Path) -> IO[str]:
    state_folder.mkdir(parents=True, exist_ok=True)
    lock = (state_folder / "up.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StartError(f"the project in {state_folder.parent} is running already: stop it first") from error
    return lock

"""The archive as a process: `rendezvous archive`. A connection, the archiving and the health door."""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass

import typer
from rendezvous_proto.postbox import check_name
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.health_door import HealthDoor
from rendezvous_sdk.nats_connection import Connection, connect
from rendezvous_sdk.signals import drain_on_signals
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.archive.archiver import Archiver
from rendezvous_router.archive.reading import FlushLimits
from rendezvous_router.archive.store import ArchiveLockedError, take_lock
from rendezvous_router.archive.upkeep import Upkeep, UpkeepOptions
from rendezvous_router.background import Courtesy

__all__ = ["ArchiveOptions", "run_archive"]

_log = logging.getLogger(__name__)

_LOCK = ".archive.lock"
_ENDING_S = 5.0
_POLL_S = 0.1
_END_TRIES = 3
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """How the archive's process runs."""

    nats: str
    """Address of the nats-server, several separated by commas."""
    root: ArchiveRoot
    """The archive; a local folder is made when missing."""
    tenant: str
    """Whose archive."""
    only: tuple[str, ...] = ()
    """Endpoints to archive; empty: all."""
    grpc_port: int | None = None
    """Port of gRPC health, 0 a free one; None: it is not served."""
    grpc_host: str = "127.0.0.1"
    """Address to listen on."""
    limits: FlushLimits | None = None
    """When files are written; None: the defaults."""
    upkeep: UpkeepOptions | None = None
    """How files are merged and removed in the background; None: they are not."""


async def run_archive(options: ArchiveOptions) -> None:
    """Archives until SIGTERM or SIGINT; what was read is in the archive then.

    Raises:
        ArchiveLockedError: another process archives the same there, and does not end within five seconds (local roots).
        UnavailableError: the port of gRPC health is taken.
        InvalidRequestError: a name is not allowed.
    """
    courtesy = Courtesy()
    stop = asyncio.Event()
    drain_on_signals(stop)
    running = _Running(options)
    serving = asyncio.create_task(running.serve())
    stopping = asyncio.create_task(stop.wait())
    hurrying = asyncio.create_task(running.hurry_when_behind(courtesy))
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    await end_tasks(hurrying)
    for _ in range(_END_TRIES):
        if courtesy.end():
            break
        await asyncio.sleep(_POLL_S)
    if running.archiver is not None:
        running.archiver.stop()
        await asyncio.wait((serving,))
    failure = serving.exception() if serving.done() else None
    await end_tasks(serving, stopping)
    await running.close()
    if failure is not None:
        raise failure


class _Running:
    def __init__(self, options: ArchiveOptions) -> None:
        self.archiver: Archiver | None = None
        self._upkeep: Upkeep | None = None
        self._options = options
        self._client: Connection | None = None
        self._door: HealthDoor | None = None
        self._locks = contextlib.ExitStack()

    async def serve(self) -> None:
        """Archives until it is stopped; waits for NATS as long as it takes."""
        options = self._options
        if options.grpc_port is not None:
            self._door = await HealthDoor.open(options.grpc_host, options.grpc_port, self._is_well)
        await self._take_locks()
        self._client = await connect(options.nats, name="rendezvous-archive")
        self.archiver = Archiver(
            self._client, options.root, tenant=options.tenant, only=options.only, limits=options.limits
        )
        if options.upkeep is not None:
            self._upkeep = Upkeep(options.root, options.tenant, self.archiver.endpoints, options.upkeep)
            self._upkeep.start()
        door = f", grpc {options.grpc_host}:{self._door.port}" if self._door is not None else ""
        typer.echo(f"ready: archive {options.root.text}, tenant {options.tenant}{door}")
        await self.archiver.run()

    async def hurry_when_behind(self, courtesy: Courtesy) -> None:
        """Takes more of the processor for as long as it is behind; never returns."""
        while True:
            courtesy.set_behind(self.archiver is None or self.archiver.is_behind)
            await asyncio.sleep(_LOOK_S)

    async def _take_locks(self) -> None:
        """Makes sure that no other process archives the same; waits a little for one that is about to end.

        Who archives some endpoints shares the tenant with those who archive others, and with nobody who archives all.
        """
        only = self._options.only
        give_up, is_told = time.monotonic() + _ENDING_S, False
        for name, shared in [*((f"{_LOCK}-{each}", False) for each in sorted(set(only))), (_LOCK, bool(only))]:
            relative = f"tenant={check_name('tenant', self._options.tenant)}/{name}"
            while True:
                try:
                    lock = await asyncio.to_thread(take_lock, self._options.root, relative, shared=shared)
                except ArchiveLockedError as error:
                    if time.monotonic() >= give_up:
                        raise
                    if not is_told:
                        _log.info("%s; waiting %g s for it to end", error, _ENDING_S)
                    is_told = True
                    await asyncio.sleep(_POLL_S)
                    continue
                except OSError as error:
                    # It may be away for now: each source has a lock of its own, which is taken when it is back.
                    _log.warning("the archive %s cannot be locked yet: %s", self._options.root.text, error)
                    return
                if lock is not None:
                    self._locks.enter_context(lock)
                break

    async def close(self) -> None:
        """Closes what is open."""
        with self._locks:
            await self._close()

    async def _close(self) -> None:
        if self._upkeep is not None:
            await asyncio.to_thread(self._upkeep.stop)
        if self._door is not None:
            await self._door.close()
        if self._client is not None:
            await self._client.close()

    def _is_well(self) -> bool:
        return self.archiver is not None and self.archiver.is_well

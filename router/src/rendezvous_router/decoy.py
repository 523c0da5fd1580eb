"""The decoy: archives every input parcel of every endpoint, exactly: `python -m rendezvous_router.decoy`.

It is a model that never scores. It reads the postbox as models do and writes Parquet files
`<archive>/<endpoint>/input/<first>-<last>.parquet`; a parcel is acknowledged only when its file is on the disk, and
what comes again is told by its stream sequence. So every input that a model saw is there, once, whatever is killed.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from nats.errors import Error as NatsError
from rendezvous_proto.errors import InvalidRequestError, UnavailableError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, check_name
from rendezvous_sdk.health_door import HealthDoor
from rendezvous_sdk.logs import configure_logs
from rendezvous_sdk.nats_connection import Connection, connect
from rendezvous_sdk.signals import drain_on_signals, heed_sigterm_early
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router._archive_files import ArchiveError, SequenceReusedError
from rendezvous_router._archivist import Archivist, FlushLimits
from rendezvous_router.archive_check import ArchiveReport, verify_archive
from rendezvous_router.spec_store import SpecStore

__all__ = ["ArchiveReport", "Decoy", "DecoyOptions", "main", "verify_archive"]

_log = logging.getLogger("rendezvous_router.decoy")  # by `python -m` the module is called `__main__`

_REREAD_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoyOptions:
    """How a decoy runs."""

    nats: str
    """Address of the nats-server, several separated by commas."""
    archive: Path
    """Root folder of the archive; made when missing."""
    only: tuple[str, ...] = ()
    """Endpoints to archive; empty: all."""
    grpc_port: int | None = None
    """Port of gRPC health, 0 a free one; None: it is not served."""
    grpc_host: str = "127.0.0.1"
    """Address to listen on."""


class Decoy:
    """Archives the inputs of all endpoints, or of those named. Belongs to its connection's event loop.

    An endpoint is archived from when it is first seen in the bucket for as long as its stream exists.

    Args:
        client: connection to the nats-server.
        archive: root folder; made when missing.
        only: endpoints to archive; empty: all.
        limits: when files are written.
    """

    def __init__(
        self,
        client: Connection,
        archive: Path,
        *,
        only: tuple[str, ...] = (),
        limits: FlushLimits | None = None,
    ) -> None:
        self._client = client
        self._archive = archive
        self._only = tuple(check_name("endpoint", each) for each in only)
        self._limits = limits or FlushLimits()
        self._archivists: dict[str, Archivist] = {}
        self._look = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures: list[tuple[str, Exception]] = []

    async def run(self) -> None:
        """Archives until `stop` is called; what was read is on the disk and acknowledged when this returns.

        Raises:
            ArchiveError, OSError: the archive cannot be written.
        """
        notices = await self._client.subscribe(f"$KV.{ENDPOINTS_BUCKET}.>", cb=self._notice)
        self._client.reconnect_listeners.append(self._look.set)
        try:
            while not self._stopping.is_set():
                self._look.clear()
                await self._update()
                await self._wait_for_change()
        finally:
            await notices.unsubscribe()
            for archivist in self._archivists.values():
                await archivist.stop()

    @property
    def is_well(self) -> bool:
        """Whether it is connected and writes what it reads."""
        return self._client.is_connected and not self._failures and not self._stopping.is_set()

    def stop(self) -> None:
        """Asks `run` to end."""
        self._stopping.set()
        self._look.set()

    async def _notice(self, _msg: object) -> None:
        self._look.set()

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(_REREAD_S):
                await self._look.wait()
        except TimeoutError:
            return  # time to look, whether or not there was a notice

    async def _update(self) -> None:
        await self._heed_failures()
        if not self._client.is_connected:
            return
        try:
            await self._replace_outdated()
            for endpoint in self._only or await SpecStore(self._client).names():
                if endpoint not in self._archivists:
                    await self._start(endpoint)
        except (NatsError, TimeoutError) as error:
            _log.warning("reading the endpoints: %r; again in %g s", error, _REREAD_S)

    async def _heed_failures(self) -> None:
        failures, self._failures = self._failures, []
        for endpoint, error in failures:
            if not isinstance(error, SequenceReusedError):
                raise error
            _log.error(
                "endpoint %s: %s; the archive so far is moved aside", endpoint, error, extra={"endpoint": endpoint}
            )
            await self._archivists.pop(endpoint).start_anew()

    async def _replace_outdated(self) -> None:
        for endpoint, archivist in tuple(self._archivists.items()):
            if not await archivist.is_current():
                _log.info("endpoint %s: its stream is gone or another one", endpoint, extra={"endpoint": endpoint})
                await self._archivists.pop(endpoint).stop()

    async def _start(self, endpoint: str) -> None:
        def note_failure(error: Exception) -> None:
            self._failures.append((endpoint, error))
            self._look.set()

        archivist = Archivist(self._client, self._archive, endpoint, limits=self._limits, on_failure=note_failure)
        if await archivist.start():
            self._archivists[endpoint] = archivist
        else:
            # The router makes the stream right after it has seen the specification.
            asyncio.get_running_loop().call_later(0.2, self._look.set)


async def _run(options: DecoyOptions) -> None:
    stop = asyncio.Event()
    drain_on_signals(stop)
    running = _Running(options)
    serving = asyncio.create_task(running.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if running.decoy is not None:
        running.decoy.stop()
        await asyncio.wait((serving,))
    failure = serving.exception() if serving.done() else None
    await end_tasks(serving, stopping)
    await running.close()
    if failure is not None:
        raise failure


class _Running:
    """A decoy as a process: the connection, the archiving and the health door."""

    def __init__(self, options: DecoyOptions) -> None:
        self.decoy: Decoy | None = None
        self._options = options
        self._client: Connection | None = None
        self._door: HealthDoor | None = None

    async def serve(self) -> None:
        """Archives until the decoy is stopped; waits for NATS as long as it takes."""
        options = self._options
        if options.grpc_port is not None:
            self._door = await HealthDoor.open(options.grpc_host, options.grpc_port, self._is_well)
        self._client = await connect(options.nats, name="rendezvous-decoy")
        self.decoy = Decoy(self._client, options.archive, only=options.only)
        door = f", grpc {options.grpc_host}:{self._door.port}" if self._door is not None else ""
        typer.echo(f"ready: decoy, archive {options.archive}{door}")
        await self.decoy.run()

    async def close(self) -> None:
        """Closes what is open."""
        if self._door is not None:
            await self._door.close()
        if self._client is not None:
            await self._client.close()

    def _is_well(self) -> bool:
        return self.decoy is not None and self.decoy.is_well


def main(
    nats: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_NATS", help="Addresses of nats-servers, separated by commas.")
    ] = "nats://127.0.0.1:4222",
    archive: Annotated[Path, typer.Option(envvar="RENDEZVOUS_ARCHIVE", help="Folder of the archive.")] = Path(
        "archive"
    ),
    endpoint: Annotated[list[str] | None, typer.Option(help="Archive only this endpoint (repeatable).")] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(envvar="RENDEZVOUS_GRPC_PORT", help="Port of gRPC health, 0 a free one; none: it is not served."),
    ] = None,
    grpc_host: Annotated[str, typer.Option(envvar="RENDEZVOUS_GRPC_HOST", help="Address to listen on.")] = "127.0.0.1",
    log_level: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_LOG_LEVEL", help="debug, info, warning, error.")
    ] = "info",
    log_format: Annotated[str, typer.Option(envvar="RENDEZVOUS_LOG_FORMAT", help="text or json.")] = "text",
) -> None:
    """Archives every input parcel as Parquet until it is told to stop."""
    heed_sigterm_early()
    try:
        configure_logs(log_level, log_format)
        options = DecoyOptions(
            nats=nats,
            archive=archive.absolute(),
            only=tuple(endpoint or ()),
            grpc_port=grpc_port,
            grpc_host=grpc_host,
        )
        asyncio.run(_run(options))
    except InvalidRequestError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
    except (ArchiveError, UnavailableError, OSError) as error:
        _log.error("stopped: %s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    typer.run(main)

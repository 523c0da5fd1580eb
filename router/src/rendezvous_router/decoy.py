"""The decoy: archives every input parcel of every endpoint, exactly: `python -m rendezvous_router.decoy`.

It is a model that never scores. It reads the postbox as models do and writes Parquet files
`<archive>/<endpoint>/input/<first>-<last>.parquet`; a parcel is acknowledged only when its file is on the disk, and
what comes again is told by its stream sequence. So every input that a model saw is there, once, whatever is killed.
"""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer
from nats.errors import Error as NatsError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, check_name
from rendezvous_sdk.nats_connection import Connection, connect

from rendezvous_router._archive_files import ArchiveError, SequenceReusedError
from rendezvous_router._archivist import Archivist, FlushLimits
from rendezvous_router.archive_check import ArchiveReport, verify_archive
from rendezvous_router.spec_store import SpecStore

__all__ = ["ArchiveReport", "Decoy", "main", "verify_archive"]

_log = logging.getLogger(__name__)

_REREAD_S = 5.0


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
            _log.error("endpoint %s: %s; the archive so far is moved aside", endpoint, error)
            await self._archivists.pop(endpoint).start_anew()

    async def _replace_outdated(self) -> None:
        for endpoint, archivist in tuple(self._archivists.items()):
            if not await archivist.is_current():
                _log.info("endpoint %s: its stream is gone or another one", endpoint)
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


async def _run(url: str, archive: Path, only: tuple[str, ...]) -> None:
    loop = asyncio.get_running_loop()
    client = await connect(url, name="rendezvous-decoy")
    decoy = Decoy(client, archive, only=only)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, decoy.stop)
    typer.echo(f"ready: decoy, archive {archive}")
    try:
        await decoy.run()
    finally:
        await client.close()


def main(
    nats: Annotated[
        str, typer.Option(envvar="RENDEZVOUS_NATS", help="Address of the nats-server.")
    ] = "nats://127.0.0.1:4222",
    archive: Annotated[Path, typer.Option(help="Folder of the archive.")] = Path("archive"),
    endpoint: Annotated[list[str] | None, typer.Option(help="Archive only this endpoint (repeatable).")] = None,
) -> None:
    """Archives every input parcel as Parquet until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(nats, archive.absolute(), tuple(endpoint or ())))
    except (ArchiveError, OSError) as error:
        _log.error("stopped: %s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    typer.run(main)

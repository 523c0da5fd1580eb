"""Archives all endpoints of one tenant: those whose streams are there, as they come and go."""

import asyncio
import json
import logging
from collections.abc import Sequence

from nats.errors import Error as NatsError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, check_name, durable_stream
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router.archive.endpoint_archive import EndpointArchive
from rendezvous_router.archive.reading import FlushLimits

__all__ = ["Archiver"]

_log = logging.getLogger(__name__)

_REREAD_S = 5.0
_AFTER_NOTICE_S = (0.05, 0.2, 0.8)
_TIMEOUT_S = 5.0


class Archiver:
    """Archives every endpoint that has a stream, or those named. Belongs to its connection's event loop.

    Args:
        client: connection to the nats-server.
        root: the archive.
        tenant: whose archive.
        only: endpoints to archive; empty: all.
        limits: when files are written.
    """

    def __init__(
        self,
        client: Connection,
        root: ArchiveRoot,
        *,
        tenant: str,
        only: tuple[str, ...] = (),
        limits: FlushLimits | None = None,
    ) -> None:
        self._client = client
        self._root = root
        self._tenant = check_name("tenant", tenant)
        self._only = tuple(check_name("endpoint", each) for each in only)
        self._limits = limits
        self._running: dict[str, tuple[EndpointArchive, asyncio.Task[None]]] = {}
        self._look = asyncio.Event()
        self._has_looked = False
        self._stopping = asyncio.Event()

    @property
    def is_well(self) -> bool:
        """Whether it is connected and archives what it reads."""
        return self._client.is_connected and not self._stopping.is_set() and not self.faults

    @property
    def faults(self) -> list[str]:
        """What keeps endpoints from being archived."""
        return [fault for archive, _ in self._running.values() for fault in archive.faults]

    @property
    def is_behind(self) -> bool:
        """Whether more waits for it, at some endpoint, than it may hold; it may be while it does not know better."""
        return not self._has_looked or any(archive.is_behind for archive, _ in self._running.values())

    def endpoints(self) -> list[str]:
        """Returns the endpoints that are archived now; may be called from another thread."""
        return list(self._running)

    async def run(self) -> None:
        """Archives until `stop`; what was read is in the archive and acknowledged when this returns."""
        notices = await self._client.subscribe(f"$KV.{ENDPOINTS_BUCKET}.>", cb=self._notice)
        self._client.reconnect_listeners.append(self._look.set)
        try:
            while not self._stopping.is_set():
                self._look.clear()
                await self._update()
                await self._wait_for_change()
        finally:
            self._client.reconnect_listeners.remove(self._look.set)
            await self._stop_all(tuple(self._running))
            if self._client.is_connected:
                await notices.unsubscribe()

    def stop(self) -> None:
        """Asks `run` to end."""
        self._stopping.set()
        self._look.set()

    async def _notice(self, _msg: object) -> None:
        # The router makes the streams right after it has seen the specification.
        self._look.set()
        for pause_s in _AFTER_NOTICE_S:
            asyncio.get_running_loop().call_later(pause_s, self._look.set)

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(_REREAD_S):
                await self._look.wait()
        except TimeoutError:
            return  # time to look, whether or not there was a notice

    async def _update(self) -> None:
        if not self._client.is_connected:
            return
        try:
            names = await self._list_endpoints()
        except (NatsError, TimeoutError, ValueError) as error:
            _log.warning("reading the streams: %r; again in %g s", error, _REREAD_S)
            return
        wanted = [name for name in names if not self._only or name in self._only]
        ended = [name for name, (_, task) in self._running.items() if task.done() or name not in wanted]
        await self._stop_all(ended)
        for name in wanted:
            if name not in self._running:
                archive = EndpointArchive(
                    self._client, self._root, tenant=self._tenant, endpoint=name, limits=self._limits
                )
                self._running[name] = archive, asyncio.create_task(archive.run(), name=f"archive {name}")
        self._has_looked = True

    async def _list_endpoints(self) -> list[str]:
        """Returns the endpoints that have a durable stream, with or without a specification."""
        found: list[str] = []
        offset, total = 0, 1
        while offset < total:
            question = json.dumps({"offset": offset, "subject": "rv.*.input"}).encode()
            reply = await self._client.request("$JS.API.STREAM.NAMES", question, timeout=_TIMEOUT_S)
            document = json.loads(reply.data)
            if "error" in document:
                raise NatsError(f"JetStream lists no streams: {document['error'].get('description')}")
            page = document.get("streams") or []
            found += page
            offset, total = offset + max(1, len(page)), document.get("total", 0)
        prefix = durable_stream("x").removesuffix("x")
        return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix))

    async def _stop_all(self, names: Sequence[str]) -> None:
        stopped = [self._running.pop(name) for name in names]
        for archive, _ in stopped:
            archive.stop()
        if stopped:
            await asyncio.wait([task for _, task in stopped])
        for archive, task in stopped:
            if (error := task.exception()) is not None:
                _log.error("endpoint %s: archiving ended: %r", archive.endpoint, error)

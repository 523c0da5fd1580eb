"""Keeps a router's endpoints as the key-value bucket says: no restart, no redeploy.

Two sources, because a key-value watcher can stay silent for seconds after a server restart: the watcher, for speed,
and a re-reading of all keys every `REREAD_S` and after each reconnect, for certainty. Revisions decide what is new.
A specification that cannot be read or compiled is logged and leaves the last good one in force.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import NoKeysError, NotFoundError
from nats.js.kv import KeyValue
from rendezvous.spec import EndpointSpec, SpecError, parse_spec
from rendezvous_proto.postbox import ENDPOINTS_BUCKET
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.spec_store import SpecStore

REREAD_S = 5.0
"""How often all keys are read again."""

_log = logging.getLogger(__name__)

OnSpec = Callable[[EndpointSpec, int], Awaitable[None]]
OnGone = Callable[[str], None]


class SpecWatch:
    """Calls *on_spec(spec, revision)* for each new revision and *on_gone(endpoint)* for each deletion."""

    def __init__(self, client: Connection, *, on_spec: OnSpec, on_gone: OnGone) -> None:
        self._client = client
        self._on_spec = on_spec
        self._on_gone = on_gone
        self._known: dict[str, int] = {}
        self._reread = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._bucket: KeyValue | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Makes the bucket where it is missing, reads all, and keeps watching.

        Raises:
            nats.errors.Error: JetStream does not answer.
        """
        await SpecStore(self._client).ensure()
        self._bucket = await self._client.jetstream().key_value(ENDPOINTS_BUCKET)
        self._client.reconnect_listeners.append(self._reread.set)
        await self._read_all()
        self._tasks = [
            asyncio.create_task(self._watch(), name="spec watch"),
            asyncio.create_task(self._read_again(), name="spec reread"),
        ]

    async def stop(self) -> None:
        """Stops watching."""
        await end_tasks(*self._tasks)

    async def _watch(self) -> None:
        assert self._bucket is not None, "start() opened it"
        while True:
            try:
                watcher = await self._bucket.watchall()
                async for entry in watcher:
                    if entry is not None:
                        self._reread.set()
            except (NatsError, OSError, TimeoutError) as error:
                _log.warning("watching the specifications: %s; trying again", error)
            await asyncio.sleep(REREAD_S)

    async def _read_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REREAD_S):
                    await self._reread.wait()
            except TimeoutError:
                pass  # time to look, whether or not the watcher spoke
            self._reread.clear()
            if not self._client.is_connected:
                continue
            try:
                await self._read_all()
            except (NatsError, OSError, TimeoutError) as error:
                _log.warning("reading the specifications: %s; trying again in %g s", error, REREAD_S)

    async def _read_all(self) -> None:
        assert self._bucket is not None, "start() opened it"
        async with self._turn:
            try:
                keys = set(await self._bucket.keys())
            except NoKeysError:
                keys = set()
            # A listing can be short for a moment; what it lacks is asked for by name before it counts as deleted.
            for key in sorted(keys | self._known.keys()):
                await self._read(self._bucket, key)

    async def _read(self, bucket: KeyValue, key: str) -> None:
        try:
            entry = await bucket.get(key)
        except NotFoundError:
            if self._known.pop(key, None) is not None:
                self._on_gone(key)
            return
        revision = entry.revision or 0
        if self._known.get(key) == revision:
            return
        try:
            spec = parse_spec(msgspec.json.decode(entry.value or b"{}"))
            await self._on_spec(spec, revision)
        except (SpecError, msgspec.DecodeError, ValueError) as error:
            _log.error("endpoint %s revision %d is not usable, the one before stays: %s", key, revision, error)
        self._known[key] = revision

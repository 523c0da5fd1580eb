"""Keeps a router's endpoints as the key-value bucket says: no restart, no redeploy.

The bucket is read as a whole, from its stream's leader: every `REREAD_S`, after each reconnection, and whenever
someone writes to it. Writings are heard by a plain subscription, which needs no consumer at the server: nothing that
could fall silent or be left behind when a server dies. In a cluster the writing is heard a moment before it can be
read; so it is read again shortly after. Revisions decide what is new.
A specification that cannot be read, compiled or given its streams is logged and leaves the last good one in force.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from rendezvous.spec import EndpointSpec, SpecError, parse_spec
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET
from rendezvous_sdk.nats_connection import Connection
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router._buckets import Entry, ensure_buckets, list_keys, read_entries, read_history

REREAD_S = 5.0
"""How often all keys are read again."""
SPREAD_S = 30.0
"""How often the buckets' copies are looked after, also after each reconnection."""

_log = logging.getLogger(__name__)

_AFTER_NOTICE_S = (0.05, 0.2, 0.8)
_FIRST_RETRY_S = 0.5
_FAILURES = (NatsError, OSError, TimeoutError)

OnSpec = Callable[[EndpointSpec, int], Awaitable[None]]
OnGone = Callable[[str], None]


class SpecWatch:
    """Calls *on_spec(spec, revision)* for each new revision and *on_gone(endpoint)* for each deletion."""

    def __init__(self, client: Connection, *, on_spec: OnSpec, on_gone: OnGone) -> None:
        self._client = client
        self._on_spec = on_spec
        self._on_gone = on_gone
        self._identity = ""
        self._known: dict[str, int] = {}
        self._complaints: dict[str, str] = {}
        self._reread = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._notices: Subscription | None = None
        self._spread_at = 0.0

    async def start(self) -> None:
        """Makes the buckets where they are missing, reads all specifications, and keeps watching.

        Waits for JetStream as long as it takes: a cluster that starts has no leader yet.
        """
        self._client.reconnect_listeners.append(self._look_anew)
        self._notices = await self._client.subscribe(f"$KV.{ENDPOINTS_BUCKET}.>", cb=self._notice)
        while not await self._look():  # noqa: ASYNC110 - JetStream says nothing when it gets its leader
            await asyncio.sleep(_FIRST_RETRY_S)
        self._tasks = [asyncio.create_task(self._read_again(), name="spec reread")]

    async def stop(self) -> None:
        """Stops watching."""
        if self._look_anew in self._client.reconnect_listeners:
            self._client.reconnect_listeners.remove(self._look_anew)
        await end_tasks(*self._tasks)
        if self._notices is not None and self._client.is_connected:
            await self._notices.unsubscribe()

    async def _notice(self, _msg: Msg) -> None:
        self._reread.set()
        for pause_s in _AFTER_NOTICE_S:
            asyncio.get_running_loop().call_later(pause_s, self._reread.set)

    def _look_anew(self) -> None:
        self._spread_at = 0.0
        self._reread.set()

    async def _read_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REREAD_S):
                    await self._reread.wait()
            except TimeoutError:
                pass  # time to look, whether or not there was a notice
            self._reread.clear()
            if self._client.is_connected:
                await self._look()

    async def _look(self) -> bool:
        """Reads all, and looks after the buckets when it is time; returns whether JetStream answered."""
        try:
            if time.monotonic() >= self._spread_at:
                await ensure_buckets(self._client)
                self._spread_at = time.monotonic() + SPREAD_S
            await self._read_all()
        except _FAILURES as error:
            _log.warning("reading the specifications: %s; trying again", error or type(error).__name__)
            return False
        return True

    async def _read_all(self) -> None:
        listing = await list_keys(self._client, ENDPOINTS_BUCKET)
        if listing is None:
            self._spread_at = 0.0  # removed by hand: what is in force stays until another bucket says otherwise
            return
        # A listing can be short for a moment; what it lacks is asked for by name before it counts as deleted.
        keys = tuple(sorted({*listing.keys, *self._known}))
        entries = {entry.key: entry for entry in await read_entries(self._client, ENDPOINTS_BUCKET, keys)}
        is_same_bucket = listing.identity == self._identity
        self._identity = listing.identity
        for key in keys:
            entry = entries.get(key)
            if entry is None or entry.value is None:
                if self._known.pop(key, None) is not None:
                    self._on_gone(key)
            elif entry.revision > self._known.get(key, 0) or not is_same_bucket:
                # An older revision of the same bucket is what a leader says that does not know yet that it is none.
                await self._take(entry)

    async def _take(self, entry: Entry) -> None:
        try:
            spec = parse_spec(msgspec.json.decode(entry.value or b"{}"))
        except (SpecError, msgspec.DecodeError, ValueError) as error:
            self._complain(entry, error)
            if entry.key not in self._known:
                await self._take_earlier(entry)
            self._known[entry.key] = entry.revision  # it will not get better
            return
        try:
            await self._on_spec(spec, entry.revision)
        except (SpecError, ValueError) as error:
            self._complain(entry, error)
        except (RendezvousError, *_FAILURES) as error:
            self._complain(entry, error)
            return  # servers may come, or come back: tried again with the next reading
        self._known[entry.key] = entry.revision

    async def _take_earlier(self, unusable: Entry) -> None:
        """Puts the newest usable revision in force that is older: whoever came while it was newest has that."""
        for entry in reversed(await read_history(self._client, ENDPOINTS_BUCKET, unusable.key)):
            if entry.revision >= unusable.revision:
                continue
            if entry.value is None:
                return  # it was deleted
            try:
                spec = parse_spec(msgspec.json.decode(entry.value))
                await self._on_spec(spec, entry.revision)
            except (SpecError, ValueError, RendezvousError):
                continue
            _log.warning("endpoint %s: revision %d is in force instead", entry.key, entry.revision)
            return

    def _complain(self, entry: Entry, error: Exception) -> None:
        complaint = f"revision {entry.revision} is not usable, the one before stays: {error or type(error).__name__}"
        if self._complaints.get(entry.key) != complaint:
            self._complaints[entry.key] = complaint
            _log.error("endpoint %s %s", entry.key, complaint)

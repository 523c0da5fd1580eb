"""Archives one endpoint: both of its streams, with what one tells of the other."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import chain

import msgspec
import pyarrow as pa
from nats.errors import Error as NatsError
from rendezvous.spec import SpecError, parse_spec
from rendezvous_proto import v1
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, durable_stream, endpoint_key, score_stream
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot
from rendezvous_sdk.nats_connection import Connection

from rendezvous_router._buckets import read_history
from rendezvous_router.archive.lookup import StreamLookup
from rendezvous_router.archive.messages import Declared, Taken, columns_key
from rendezvous_router.archive.parcel_facts import ParcelCache, ParcelFacts, ParcelKey, key_of
from rendezvous_router.archive.reading import FlushLimits, StreamReader
from rendezvous_router.archive.rows import durable_rows, score_rows

__all__ = ["EndpointArchive"]

_log = logging.getLogger(__name__)

_LOOKUP_TRIES = 4
_FIRST_PAUSE_S = 0.25
_REREAD_S = 5.0
_AGAIN_S = 1.0
_SERVER_FAULTS = (NatsError, TimeoutError, ConnectionError)


class EndpointArchive:
    """Archives one endpoint until stopped. Belongs to its connection's event loop.

    Args:
        client: connection to the nats-server.
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.
        limits: when files are written.
    """

    def __init__(
        self, client: Connection, root: ArchiveRoot, *, tenant: str, endpoint: str, limits: FlushLimits | None = None
    ) -> None:
        self.endpoint = endpoint
        self._declared = Declared()
        self._parcels = ParcelCache()
        self._client = client
        self._lookup = StreamLookup(client, durable_stream(endpoint))
        self._specs_read_at = 0.0
        self._revision = 0
        self._sought = 0
        self._durable = StreamReader(
            client,
            root,
            tenant=tenant,
            endpoint=endpoint,
            source=DURABLE,
            stream=durable_stream(endpoint),
            tables_of=self._durable_tables,
            on_taken=self._note_parcel,
            limits=limits,
        )
        self._scores = StreamReader(
            client,
            root,
            tenant=tenant,
            endpoint=endpoint,
            source=SCORES,
            stream=score_stream(endpoint),
            tables_of=self._score_tables,
            limits=limits,
        )

    @property
    def faults(self) -> list[str]:
        """What keeps it from archiving; empty: nothing does."""
        return [reader.fault for reader in (self._durable, self._scores) if reader.fault]

    @property
    def is_behind(self) -> bool:
        """Whether more waits for it than it may hold."""
        return self._durable.is_behind or self._scores.is_behind

    async def run(self) -> None:
        """Archives until `stop`; what was read is in the archive and acknowledged when this returns."""
        async with asyncio.TaskGroup() as tasks:
            for reader in (self._durable, self._scores):
                tasks.create_task(reader.run(), name=f"archive {self.endpoint} {reader.source}")

    def stop(self) -> None:
        """Asks `run` to end."""
        self._durable.stop()
        self._scores.stop()

    def _note_parcel(self, taken: Taken) -> None:
        if isinstance(taken.body, v1.Parcel):
            self._parcels.add(ParcelFacts.of(taken.body, taken.stored_us, taken.stage))

    async def _durable_tables(self, messages: Sequence[Taken]) -> list[tuple[str, pa.Table]]:
        await self._learn(messages)
        return await asyncio.to_thread(durable_rows, messages, self._declared)

    async def _score_tables(self, messages: Sequence[Taken]) -> list[tuple[str, pa.Table]]:
        await self._learn(messages)
        parcels = await self._find_parcels(messages)
        return await asyncio.to_thread(score_rows, messages, self._declared, parcels)

    async def _find_parcels(self, messages: Sequence[Taken]) -> dict[ParcelKey, ParcelFacts]:
        """Returns the parcels of scores, as remembered, else from the stream; without those that are gone."""
        scores = [each.body for each in messages if isinstance(each.body, v1.ParcelScore)]
        wanted = {key_of(score): score.parcel_sequence for score in scores}
        found = self._parcels.find(wanted)
        missing = [(key, sequence) for key, sequence in wanted.items() if key not in found]
        for facts in await self._look_up(missing) if missing else ():
            self._parcels.add(facts)
            found[facts.key] = facts
        return found

    async def _look_up(self, missing: Sequence[tuple[ParcelKey, int]]) -> list[ParcelFacts]:
        pause_s = _FIRST_PAUSE_S
        for _ in range(_LOOKUP_TRIES):
            try:
                return await self._lookup.find_parcels(missing)
            except _SERVER_FAULTS as error:
                _log.info("endpoint %s: %d parcels of scores: %r", self.endpoint, len(missing), error)
            await asyncio.sleep(pause_s)
            pause_s *= 2
        _log.warning(
            "endpoint %s: scores of %d parcels are archived without lateness: the stream does not answer",
            self.endpoint,
            len(missing),
            extra={"endpoint": self.endpoint},
        )
        return []

    async def _learn(self, messages: Sequence[Taken]) -> None:
        """Reads the specifications where the messages have columns, or are of a revision, that are not known yet."""
        now = asyncio.get_running_loop().time()
        revision = _latest_revision(messages)
        if not self._is_due(messages, revision, now - self._specs_read_at):
            return
        self._specs_read_at, self._sought = now, revision
        for entry in await read_history(self._client, ENDPOINTS_BUCKET, endpoint_key(self.endpoint)):
            self._revision = max(self._revision, entry.revision)
            if entry.value is None:
                continue
            try:
                self._declared.learn(parse_spec(msgspec.json.decode(entry.value)))
            except (SpecError, msgspec.DecodeError, ValueError, RecursionError) as error:
                _log.debug("revision %d of endpoint %s is no specification: %s", entry.revision, self.endpoint, error)

    def _is_due(self, messages: Sequence[Taken], revision: int, elapsed_s: float) -> bool:
        if not self._specs_read_at:
            return True
        if revision > self._revision:
            # It may not have reached the server that was asked; but a bucket that was made anew never gets there.
            return revision != self._sought or elapsed_s >= _AGAIN_S
        return elapsed_s >= _REREAD_S and not self._are_declared(messages)

    def _are_declared(self, messages: Sequence[Taken]) -> bool:
        keys = {(each.kind, columns_key(frame)) for each in messages for frame in _frames(each)}
        return all(self._declared.covers(kind, key) for kind, key in keys)


def _latest_revision(messages: Sequence[Taken]) -> int:
    return max((each.body.spec_revision for each in messages if isinstance(each.body, v1.Parcel)), default=0)


def _frames(taken: Taken) -> Sequence[v1.Frame]:
    body = taken.body
    if isinstance(body, v1.Parcel):
        return (body.inputs,)
    if isinstance(body, v1.ParcelScore):
        return (body.outputs,)
    return tuple(chain(each.outputs for each in body.records)) if isinstance(body, v1.DecisionBatch) else ()

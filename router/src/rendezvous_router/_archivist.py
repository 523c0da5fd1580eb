"""Archives one endpoint's inputs: reads them from the postbox, writes them to the archive, then acknowledges."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from rendezvous_proto import v1
from rendezvous_proto.postbox import DECOY_CONSUMER, durable_stream, input_subject
from rendezvous_sdk.pull import ContinuousPull

from rendezvous_router._archive_files import ArchivedParcel, ArchiveFolder, SequenceReusedError
from rendezvous_router.record import stored_unix_us

_log = logging.getLogger(__name__)

_CREDIT = 256
_ACK_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushLimits:
    """When what was read is written: at the first limit reached."""

    parcels: int = 192
    """Parcels; below the 256 that may be on their way."""
    bytes: int = 8 << 20
    """Bytes of payload."""
    seconds: float = 1.0
    """Age of the oldest parcel, in seconds."""


class Archivist:
    """Archives the inputs of one endpoint until stopped.

    Args:
        client: connection to the nats-server.
        archive: the archive's root folder.
        endpoint: the endpoint.
        limits: when to write.
        on_failure: called once when archiving cannot go on (disk full); nothing was lost: what is not archived
            is not acknowledged.
    """

    def __init__(
        self,
        client: Client,
        archive: Path,
        endpoint: str,
        *,
        limits: FlushLimits,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._archive = archive
        self._limits = limits
        self._on_failure = on_failure
        self._stream = durable_stream(endpoint)
        self._identity = ""
        self._folder: ArchiveFolder | None = None
        self._pull: ContinuousPull | None = None
        self._writing: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._parcels: dict[int, ArchivedParcel] = {}
        self._in_write: frozenset[int] = frozenset()
        self._bytes = 0
        self._to_ack: list[Msg] = []
        self._stopping = False
        self._is_abandoned = False

    async def start(self) -> bool:
        """Opens the archive and begins to read; returns False when the endpoint has no stream yet.

        Raises:
            ArchiveError: the archive is written by another process, or cannot be read.
            nats.errors.Error: JetStream does not answer.
        """
        identity = await self._read_identity()
        if identity is None:
            return False
        self._identity = identity
        self._folder = await asyncio.to_thread(ArchiveFolder, self._archive, self.endpoint, identity)
        try:
            await self._ensure_consumer()
            self._pull = await self._start_pull()
        except BaseException:
            self._folder.close()  # or the next attempt would find it locked
            raise
        self._writing = asyncio.create_task(self._write_when_due(), name=f"archive {self.endpoint}")
        _log.info("archiving endpoint %s into %s", self.endpoint, self._folder.path, extra={"endpoint": self.endpoint})
        return True

    async def _start_pull(self) -> ContinuousPull:
        return await ContinuousPull.start(
            self._client,
            stream=self._stream,
            consumer=DECOY_CONSUMER,
            on_message=self._take,
            credit=_CREDIT,
            manual_release=True,
            ensure=self._ensure_consumer,
        )

    async def is_current(self) -> bool:
        """Returns whether the stream that is being archived is still the endpoint's stream."""
        return await self._read_identity() == self._identity

    async def stop(self) -> None:
        """Stops reading, writes what was read, acknowledges it and lets go of the archive."""
        try:
            if self._pull is not None:
                await self._pull.stop()
            self._stopping = True
            self._due.set()
            if self._writing is not None:
                await asyncio.wait({self._writing})
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._folder is not None:
                self._folder.close()

    async def start_anew(self) -> None:
        """Stops, moves what is archived aside and forgets what was acknowledged: all is archived again.

        For a stream that lost its end and used sequences a second time.
        """
        await self.stop()
        folder = await asyncio.to_thread(ArchiveFolder, self._archive, self.endpoint, self._identity)
        folder.start_anew()
        folder.close()
        await self._client.jetstream().delete_consumer(self._stream, DECOY_CONSUMER)

    async def _read_identity(self) -> str | None:
        try:
            info = await self._client.jetstream().stream_info(self._stream)
        except NotFoundError:
            return None
        return info.created.isoformat() if info.created else ""

    async def _ensure_consumer(self) -> None:
        """Makes the consumer where it is missing; makes it anew where it has passed what is not archived."""
        js = self._client.jetstream()
        try:
            info = await js.consumer_info(self._stream, DECOY_CONSUMER)
        except NotFoundError:
            pass
        else:
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
            if not await self._is_behind(floor):
                return
            _log.warning(
                "endpoint %s: the archive lacks acknowledged parcels; reading again",
                self.endpoint,
                extra={"endpoint": self.endpoint},
            )
            await js.delete_consumer(self._stream, DECOY_CONSUMER)
        await js.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=DECOY_CONSUMER,
                description="Rendezvous: archives every input parcel",
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
                max_ack_pending=4 * _CREDIT,
                filter_subject=input_subject(self.endpoint),
            ),
        )

    async def _is_behind(self, ack_floor: int) -> bool:
        """Returns whether a parcel after the last archived one was acknowledged: the archive is another one."""
        assert self._folder is not None, "start() opened it"
        js, subject = self._client.jetstream(), input_subject(self.endpoint)
        held = max(self._folder.last_sequence, *self._parcels, *self._in_write, 0)
        try:
            following = await js.get_msg(self._stream, seq=held + 1, subject=subject, next=True)
        except NotFoundError:
            return False
        return following.seq is not None and following.seq <= ack_floor

    def _take(self, msg: Msg) -> None:
        assert self._folder is not None, "start() opened it"
        if self._is_abandoned:
            return
        sequence, stored = msg.metadata.sequence.stream, stored_unix_us(msg)
        try:
            known = sequence in self._parcels or sequence in self._in_write or self._folder.holds(sequence, stored)
        except SequenceReusedError as error:
            self._abandon(error)
            return
        if not known:
            self._parcels[sequence] = _to_row(msg, sequence, stored)
            self._bytes += len(msg.data)
        self._to_ack.append(msg)
        self._schedule()

    def _schedule(self) -> None:
        if len(self._to_ack) >= self._limits.parcels or self._bytes >= self._limits.bytes:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.seconds, self._due.set)

    async def _write_when_due(self) -> None:
        try:
            while not (self._stopping and not self._to_ack):
                await self._due.wait()
                self._due.clear()
                await self._write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner must hear of it
            self._abandon(error)

    async def _write(self) -> None:
        """Writes what was read so far, and only then acknowledges it."""
        assert self._folder is not None, "start() opened it"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        parcels, self._parcels, self._bytes = self._parcels, {}, 0
        messages, self._to_ack = self._to_ack, []
        if parcels:
            self._in_write = frozenset(parcels)
            path = await asyncio.to_thread(self._folder.write, tuple(parcels.values()))
            self._folder.add(path)
            self._in_write = frozenset()
        for msg in messages:
            try:
                await msg.ack()
            except NatsError as error:
                _log.debug("not acknowledged, comes again and is known then: %r", error)
        if self._pull is not None and messages:
            await self._pull.release(len(messages))

    def _abandon(self, error: Exception) -> None:
        """Forgets what was read and not written; not acknowledged, it comes again."""
        self._is_abandoned = True
        self._parcels.clear()
        self._to_ack.clear()
        self._on_failure(error)


def _to_row(msg: Msg, sequence: int, stored: int) -> ArchivedParcel:
    parcel = v1.Parcel()
    try:
        parcel.ParseFromString(msg.data)
    except DecodeError:
        _log.warning(
            "%s: message %d is no parcel; archived as it is",
            msg.subject,
            sequence,
            extra={"subject": msg.subject, "sequence": sequence},
        )
        parcel = v1.Parcel()
    return ArchivedParcel(
        stream_sequence=sequence,
        parcel_id=parcel.parcel_id,
        stored_unix_us=stored,
        request_ids=tuple(item.request_id for item in parcel.items),
        rows=parcel.inputs.rows,
        payload=msg.data,
        headers=tuple((msg.headers or {}).items()),
    )

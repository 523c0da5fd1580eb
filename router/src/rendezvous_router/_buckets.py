"""Reads a whole key-value bucket at one moment, without a watcher: no consumer to leave behind or fall silent.

Every reading is answered by the leader of the bucket's stream, so that a follower which lags, or comes back from a
crash, cannot take an entry back that was read before.
"""

import asyncio
import datetime as dt
import logging
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js.api import KeyValueConfig, RawStreamMsg, StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, ENDPOINTS_HISTORY, ROUTERS_BUCKET, ROUTERS_TTL_S
from rendezvous_sdk.buckets import MODELS, NOT_ENOUGH_SERVERS, REPLICAS, SERVERS, open_bucket

ENDPOINTS = KeyValueConfig(bucket=ENDPOINTS_BUCKET, history=ENDPOINTS_HISTORY, storage=StorageType.FILE, direct=True)
"""Specifications."""
ROUTERS = KeyValueConfig(bucket=ROUTERS_BUCKET, ttl=ROUTERS_TTL_S, history=1)
"""Live routers."""

_log = logging.getLogger(__name__)

_OPERATION = "KV-Operation"
_MARKER = "Nats-Marker-Reason"
_READS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One revision of one key."""

    key: str
    """The key."""
    revision: int
    """Its revision: the sequence in the bucket's stream."""
    created: dt.datetime
    """When it was stored, by the server's clock."""
    value: bytes | None
    """What was stored; None: the key was deleted by this revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The keys of a bucket."""

    identity: str
    """The bucket's moment of creation: another one is another bucket, and its revisions begin again."""
    keys: tuple[str, ...]
    """Every key that has an entry, in order; also of those that were deleted."""


async def ensure_buckets(client: Client) -> None:
    """Makes the buckets of an installation where they are missing, and spreads them over the cluster, if there is one.

    Raises:
        nats.errors.Error, TimeoutError: JetStream refused, or does not answer.
    """
    js = client.jetstream()
    for config in (ENDPOINTS, MODELS, REPLICAS, ROUTERS):
        await open_bucket(js, config)
        await _spread(js, str(config.bucket))


async def read_bucket(client: Client, bucket: str) -> dict[str, Entry]:
    """Returns the latest entry of every key that is not deleted; nothing when there is no such bucket.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    listing = await list_keys(client, bucket)
    if listing is None:
        return {}
    entries = await read_entries(client, bucket, listing.keys)
    return {entry.key: entry for entry in entries if entry.value is not None}


async def list_keys(client: Client, bucket: str) -> Listing | None:
    """Returns the keys of a bucket; None when there is no such bucket.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    prefix = _prefix(bucket)
    try:
        info = await client.jetstream().stream_info(_stream(bucket), subjects_filter=f"{prefix}>")
    except NotFoundError:
        return None
    keys = sorted(subject.removeprefix(prefix) for subject in info.state.subjects or {})
    return Listing(identity=str(info.created), keys=tuple(keys))


async def read_entries(client: Client, bucket: str, keys: tuple[str, ...]) -> list[Entry]:
    """Returns the latest entries of *keys*, deletions included, without those that never were.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    js = client.jetstream()
    turns = asyncio.Semaphore(_READS_AT_A_TIME)
    entries = await asyncio.gather(*(_read_latest(js, bucket, key, turns) for key in keys))
    return [entry for entry in entries if entry is not None]


async def read_entry(client: Client, bucket: str, key: str) -> Entry | None:
    """Returns the latest entry of a key, its deletion included; None when the key or the bucket never was.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    return await _read_latest(client.jetstream(), bucket, key, asyncio.Semaphore(1))


async def read_history(client: Client, bucket: str, key: str) -> list[Entry]:
    """Returns every kept entry of a key, deletions included, the oldest first.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    js = client.jetstream()
    entries: list[Entry] = []
    revision = 1
    while True:
        try:
            raw = await js.get_msg(_stream(bucket), seq=revision, subject=f"{_prefix(bucket)}{key}", next=True)
        except NotFoundError:
            return entries
        entries.append(_entry(bucket, raw))
        revision = entries[-1].revision + 1


async def _spread(js: JetStreamContext, bucket: str) -> None:
    """Gives a bucket of a cluster its copies, where it has none: it was made before, or while servers were away."""
    info = await js.stream_info(_stream(bucket))
    if info.cluster is None or (info.config.num_replicas or 1) >= SERVERS:
        return
    try:
        await js.update_stream(info.config, num_replicas=SERVERS)
    except APIError as error:
        if error.err_code not in NOT_ENOUGH_SERVERS:
            raise
        _log.debug("bucket %s stays on one server: %s", bucket, error.description)
    else:
        _log.info("bucket %s is kept on %d servers now", bucket, SERVERS)


async def _read_latest(js: JetStreamContext, bucket: str, key: str, turns: asyncio.Semaphore) -> Entry | None:
    async with turns:
        try:
            return _entry(bucket, await js.get_last_msg(_stream(bucket), f"{_prefix(bucket)}{key}"))
        except NotFoundError:
            return None


def _entry(bucket: str, raw: RawStreamMsg) -> Entry:
    headers = raw.headers or {}
    deleted = headers.get(_OPERATION) in ("DEL", "PURGE") or _MARKER in headers
    assert raw.subject is not None and raw.seq is not None, "JetStream names what it returns"  # noqa: PT018
    return Entry(
        key=raw.subject.removeprefix(_prefix(bucket)),
        revision=raw.seq,
        created=raw.time or dt.datetime.fromtimestamp(0, dt.UTC),
        value=None if deleted else raw.data or b"",
    )


def _stream(bucket: str) -> str:
    return f"KV_{bucket}"


def _prefix(bucket: str) -> str:
    return f"$KV.{bucket}."

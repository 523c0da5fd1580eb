"""Reads a whole key-value bucket at one moment, without a watcher: no consumer to leave behind or fall silent."""

import asyncio
import datetime as dt
from dataclasses import dataclass

from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import RawStreamMsg
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

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


async def read_bucket(client: Client, bucket: str) -> dict[str, Entry]:
    """Returns the latest entry of every key that is not deleted; nothing when there is no such bucket.

    Raises:
        nats.errors.Error, TimeoutError: JetStream does not answer.
    """
    js = client.jetstream()
    prefix = _prefix(bucket)
    try:
        info = await js.stream_info(_stream(bucket), subjects_filter=f"{prefix}>")
    except NotFoundError:
        return {}
    turns = asyncio.Semaphore(_READS_AT_A_TIME)
    keys = [subject.removeprefix(prefix) for subject in info.state.subjects or {}]
    entries = await asyncio.gather(*(_read_latest(js, bucket, key, turns) for key in sorted(keys)))
    return {entry.key: entry for entry in entries if entry is not None and entry.value is not None}


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


async def _read_latest(js: JetStreamContext, bucket: str, key: str, turns: asyncio.Semaphore) -> Entry | None:
    async with turns:
        try:
            return _entry(bucket, await js.get_last_msg(_stream(bucket), f"{_prefix(bucket)}{key}"))
        except (NotFoundError, NoRespondersError):
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

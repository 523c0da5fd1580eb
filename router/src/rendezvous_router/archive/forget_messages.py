"""Deletes the messages of forgotten rows from an endpoint's streams.

Only what the archive has is deleted, and only where the stream's message is the very one that was archived: same
stream, same sequence, same moment. JetStream overwrites what it deletes. A parcel joins requests of several clients;
with it the others' input leaves the stream, and stays in the archive, which is where it is read from (docs/guides).
"""

import datetime as dt
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError
from rendezvous_proto.postbox import durable_stream, score_stream
from rendezvous_sdk.archive.layout import DURABLE, SCORES, ArchiveRoot, Generation
from rendezvous_sdk.archive.manifest import read_current

from rendezvous_router.archive.forget import read_undeleted, write_undeleted
from rendezvous_router.archive.subject import Message

__all__ = ["Backlog", "DeletedMessages", "delete_messages", "read_backlog"]

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_SAVE_EVERY = 500
_ROUNDING_US = 1000  # nats-py reads times as floats


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedMessages:
    """What became of the messages of forgotten rows."""

    deleted: int
    """Messages deleted now."""
    gone: int
    """Messages that the streams did not have any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the archive does not have yet."""

    messages: int
    """Messages of the streams after the last archived ones."""
    archived_until_unix_us: int | None
    """What was stored before is archived, microseconds since 1970-01-01 UTC; None: everything is."""


async def delete_messages(client: Client, root: ArchiveRoot, tenant: str, endpoint: str) -> DeletedMessages:
    """Deletes every message that `forget` noted, and takes it from the list.

    Args:
        client: connection whose user may delete messages of the endpoint's streams.
        root: the archive.
        tenant: the tenant.
        endpoint: the endpoint.

    Raises:
        nats.errors.Error, TimeoutError: JetStream refuses or is silent; what was not deleted is still noted.
        ArchiveError, OSError: the list cannot be read or written.
    """
    js = client.jetstream()
    left = read_undeleted(root, tenant, endpoint)
    deleted = gone = 0
    try:
        while left:
            was_there = await _delete(js, endpoint, left[-1])
            deleted, gone = deleted + was_there, gone + (not was_there)
            left.pop()
            if len(left) % _SAVE_EVERY == 0:
                write_undeleted(root, tenant, endpoint, left)
    finally:
        if deleted or gone:
            write_undeleted(root, tenant, endpoint, left)
    return DeletedMessages(deleted=deleted, gone=gone)


async def read_backlog(client: Client, root: ArchiveRoot, tenant: str, endpoint: str) -> Backlog:
    """Returns how far the archive is behind the streams.

    Raises:
        nats.errors.Error, TimeoutError: JetStream refuses or is silent.
        ArchiveError: the archive cannot be read.
    """
    js = client.jetstream()
    entries = read_current(root, tenant, endpoint)
    messages, until = 0, []
    for source in (DURABLE, SCORES):
        try:
            state = (await js.stream_info(_stream(endpoint, source))).state
        except NotFoundError:
            continue
        archived = [entry for entry in entries if entry.source == source]
        last = max(archived, key=lambda entry: (Generation.parse(entry.generation), entry.last), default=None)
        behind = max(0, state.last_seq - (0 if last is None else last.last))
        if behind:
            messages += behind
            until.append(max((entry.last_stored_unix_us for entry in archived), default=0))
    return Backlog(messages=messages, archived_until_unix_us=min(until, default=None))


async def _delete(js: JetStreamContext, endpoint: str, message: Message) -> bool:
    """Deletes a message; returns False where the stream does not have it, or has another one in its place."""
    stream = _stream(endpoint, message.source)
    try:
        found = await js.get_msg(stream, message.sequence)
    except NotFoundError:
        return False
    if found.time is None or abs((found.time - _EPOCH) // _MICROSECOND - message.stored_unix_us) > _ROUNDING_US:
        return False
    return bool(await js.delete_msg(stream, message.sequence))


def _stream(endpoint: str, source: str) -> str:
    return durable_stream(endpoint) if source == DURABLE else score_stream(endpoint)

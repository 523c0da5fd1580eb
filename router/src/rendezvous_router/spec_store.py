"""Endpoint specifications in the key-value bucket that routers watch, with their history.

Each change is a new revision; going back to an old one is a new revision with its content, so that history only
ever grows (up to the 64 revisions that the bucket keeps).
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from nats.aio.client import Client
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from rendezvous.spec import EndpointSpec, SpecError, parse_spec, spec_to_dict
from rendezvous_proto.errors import InvalidSpecError, UnknownEndpointError
from rendezvous_proto.postbox import ENDPOINTS_BUCKET, endpoint_key
from rendezvous_sdk.buckets import open_bucket

from rendezvous_router._buckets import ENDPOINTS, Entry, read_bucket, read_entry, read_history
from rendezvous_router.streams import check_replicas

_log = logging.getLogger(__name__)


class LostUpdateError(RuntimeError):
    """The specification was changed by someone else in the meantime; nothing was stored."""


class SpecRevision(NamedTuple):
    """One entry of a specification's history."""

    revision: int
    """Revision of the bucket; grows over all endpoints."""
    created: datetime
    """When it was stored, by the server's clock, UTC."""
    spec: EndpointSpec | None
    """What was stored; None: the endpoint was deleted."""


class SpecStore:
    """Reads and writes endpoint specifications. Not thread-safe: belongs to its connection's event loop.

    Args:
        client: connection to a nats-server with JetStream.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ensure(self) -> None:
        """Makes the bucket where it is missing.

        Raises:
            nats.js.errors.APIError: JetStream refused.
        """
        await open_bucket(self._client.jetstream(), ENDPOINTS)

    async def get(self, endpoint: str) -> tuple[EndpointSpec, int] | None:
        """Returns the specification in force and its revision; None when there is no such endpoint.

        Raises:
            InvalidSpecError: what is stored is not a valid specification.
        """
        entry = await read_entry(self._client, ENDPOINTS_BUCKET, endpoint_key(endpoint))
        if entry is None or entry.value is None:
            return None
        return _decode(entry), entry.revision

    async def put(self, spec: EndpointSpec, *, expected_revision: int | None = None) -> int:
        """Stores a specification; returns its revision.

        Args:
            spec: the specification.
            expected_revision: revision that the change is based on, 0 when the endpoint did not exist;
                None stores it whatever is there.

        Raises:
            LostUpdateError: someone else stored another revision since.
            InvalidSpecError: there are fewer NATS servers than the specification wants replicas.
        """
        await check_replicas(self._client, spec)
        value = msgspec.json.encode(spec_to_dict(spec))
        key = endpoint_key(spec.endpoint)
        bucket = await self._bucket()
        if expected_revision is None:
            return await bucket.put(key, value)
        last = expected_revision or await self._deleted_revision(key)
        try:
            return await bucket.update(key, value, last=last)
        except KeyWrongLastSequenceError as error:
            entry = await read_entry(self._client, ENDPOINTS_BUCKET, key)
            raise LostUpdateError(
                f"endpoint {key} is at revision {entry.revision if entry else 0}, not {expected_revision}: "
                "someone else changed it; look at it again and repeat the change"
            ) from error

    async def list(self) -> list[tuple[EndpointSpec, int]]:
        """Returns every specification in force with its revision, by endpoint; unreadable ones are logged."""
        found = []
        for entry in (await read_bucket(self._client, ENDPOINTS_BUCKET)).values():
            try:
                found.append((_decode(entry), entry.revision))
            except InvalidSpecError as error:
                _log.warning("left out: %s", error)
        return found

    async def names(self) -> Sequence[str]:
        """Returns the names of all endpoints, readable or not, in order."""
        return sorted(await read_bucket(self._client, ENDPOINTS_BUCKET))

    async def history(self, endpoint: str) -> Sequence[SpecRevision]:
        """Returns the kept revisions of an endpoint, the oldest first; empty when it never was.

        Raises:
            InvalidSpecError: a stored revision is not a valid specification.
        """
        entries = await read_history(self._client, ENDPOINTS_BUCKET, endpoint_key(endpoint))
        return [
            SpecRevision(entry.revision, entry.created, None if entry.value is None else _decode(entry))
            for entry in entries
        ]

    async def rollback(self, endpoint: str, revision: int | None = None) -> int:
        """Puts an earlier revision in force again, as a new revision; returns that.

        Args:
            endpoint: the endpoint; may be a deleted one.
            revision: the revision to go back to; None: the one before the latest.

        Raises:
            UnknownEndpointError: there never was such an endpoint.
            InvalidSpecError: that revision is not kept, is a deletion, or there is none before the latest.
            LostUpdateError: someone else stored another revision meanwhile.
        """
        history = await self.history(endpoint)
        if not history:
            raise UnknownEndpointError(f"endpoint {endpoint!r} is not known: `rendezvous get` lists those that are")
        target = _choose(history, endpoint, revision)
        latest = history[-1]
        return await self.put(target, expected_revision=latest.revision if latest.spec else 0)

    async def delete(self, endpoint: str) -> bool:
        """Deletes an endpoint's specification, keeping its history; returns whether there was one.

        Its streams, and so its requests and decisions, stay.
        """
        key = endpoint_key(endpoint)
        entry = await read_entry(self._client, ENDPOINTS_BUCKET, key)
        if entry is None or entry.value is None:
            return False
        await (await self._bucket()).delete(key)
        return True

    async def purge(self, endpoint: str) -> None:
        """Deletes an endpoint's specification with its history."""
        await (await self._bucket()).purge(endpoint_key(endpoint))

    async def _bucket(self) -> KeyValue:
        await self.ensure()
        return await self._client.jetstream().key_value(ENDPOINTS_BUCKET)

    async def _deleted_revision(self, key: str) -> int:
        entry = await read_entry(self._client, ENDPOINTS_BUCKET, key)
        return entry.revision if entry is not None and entry.value is None else 0


def _choose(history: Sequence[SpecRevision], endpoint: str, revision: int | None) -> EndpointSpec:
    kept = [each.revision for each in history if each.spec is not None]
    before = history[:-1] if revision is None else [each for each in history if each.revision == revision]
    for each in reversed(before):
        if each.spec is not None:
            return each.spec
    what = "nothing to go back to" if revision is None else f"cannot go back to revision {revision}"
    raise InvalidSpecError(
        f"endpoint {endpoint}: {what}; revisions kept: {', '.join(map(str, kept)) or 'none'}",
        {"endpoint": endpoint},
    )


def _decode(entry: Entry) -> EndpointSpec:
    try:
        return parse_spec(msgspec.json.decode(entry.value or b""))
    except (SpecError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSpecError(
            f"endpoint {entry.key} revision {entry.revision} is stored but not valid: {error}",
            {"endpoint": entry.key, "revision": str(entry.revision)},
        ) from error

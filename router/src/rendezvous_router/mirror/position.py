"""Up to where a mirror has copied: kept at the source, in a bucket of its own."""

import hashlib

import msgspec
from nats.js.api import KeyValueConfig
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from rendezvous_sdk.buckets import open_bucket
from rendezvous_sdk.nats_connection import Connection

__all__ = ["MIRRORS_BUCKET", "Position", "Positions", "mirror_id"]

MIRRORS_BUCKET = "rv_mirrors"
"""Bucket of positions: key `<endpoint>.<mirror>`, value `Position` as JSON."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mirror is."""

    sequence: int
    """Sequence up to which everything is copied."""
    target_sequence: int = 0
    """Sequence that the target's stream had for it; 0: the target has no stream of its own (a router)."""
    to: str = ""
    """The target, for people."""


def mirror_id(stream: str, to: str, endpoint: str) -> str:
    """Returns the name of a mirror, which is also its return address: `mirror-` and 16 hexadecimal digits.

    Args:
        stream: identity of the source's stream: one that was made anew begins at 1 again.
        to: address of the target.
        endpoint: name of the endpoint there.
    """
    return "mirror-" + hashlib.sha256(f"{stream} {to} {endpoint}".encode()).hexdigest()[:16]


class Positions:
    """The position of one mirror.

    Args:
        bucket: the bucket.
        key: its key.
    """

    def __init__(self, bucket: KeyValue, key: str) -> None:
        self._bucket = bucket
        self._key = key

    @classmethod
    async def open(cls, nc: Connection, endpoint: str, mirror: str) -> "Positions":
        """Opens the bucket; makes it where it is missing."""
        bucket = await open_bucket(nc.jetstream(), KeyValueConfig(bucket=MIRRORS_BUCKET, history=1))
        return cls(bucket, f"{endpoint}.{mirror}")

    async def read(self) -> Position | None:
        """Returns the position; None: nothing was copied."""
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            return None
        return msgspec.json.decode(entry.value or b"", type=Position)

    async def write(self, position: Position) -> None:
        """Keeps a position."""
        await self._bucket.put(self._key, msgspec.json.encode(position))

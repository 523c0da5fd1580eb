"""Packs the outcomes of a call into messages, the same way each time they are sent. Source: docs/protocol.md, P120."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rendezvous_proto.v1 import FeedbackBatch, Outcome

from rendezvous_router.endpoint import Endpoint

__all__ = ["MESSAGE_BYTES", "Kept", "digest_of", "pack"]

MESSAGE_BYTES = 64 << 10
"""Where a message is full. Far below what one may have: parcels pass through the same stream, and wait while it is
flushed."""


def digest_of(outcome: Outcome) -> bytes:
    """Returns a digest of an outcome as it was sent: with its id, before anything else was filled in."""
    return hashlib.blake2b(outcome.SerializeToString(deterministic=True), digest_size=16).digest()


class Kept(NamedTuple):
    """One outcome, ready to be kept."""

    outcome: Outcome
    """As it is kept."""
    size_bytes: int
    """Its size."""
    digest: bytes
    """`digest_of` what was sent: what the messages' ids are made of."""


def pack(endpoint: Endpoint, kept: Sequence[Kept], *, router: str, now_us: int) -> Iterator[FeedbackBatch]:
    """Yields messages that hold all outcomes, in order; each is made when it is asked for.

    Args:
        endpoint: what they are about.
        kept: the outcomes.
        router: id of this router's life.
        now_us: when it took them, microseconds since 1970-01-01 UTC.
    """
    for first, end in _cut(kept):
        digests = b"".join(each.digest for each in kept[first:end])
        yield FeedbackBatch(
            batch_id="fb-" + hashlib.blake2b(digests, digest_size=16).hexdigest(),
            endpoint=endpoint.name,
            router=router,
            recorded_unix_us=now_us,
            spec_revision=endpoint.revision,
            outcomes=[each.outcome for each in kept[first:end]],
        )


def _cut(kept: Sequence[Kept]) -> Iterator[tuple[int, int]]:
    """Yields the first and the end of each message's outcomes."""
    first, size = 0, 0
    for index, each in enumerate(kept):
        if size and size + each.size_bytes > MESSAGE_BYTES:
            yield first, index
            first, size = index, 0
        size += each.size_bytes
    yield first, len(kept)

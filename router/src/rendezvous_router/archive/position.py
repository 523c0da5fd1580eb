"""Where an archive stands in a stream: which generation, and which sequence is next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nats.js.api import StreamInfo
from rendezvous_sdk.archive.layout import SCORES, Generation
from rendezvous_sdk.archive.manifest import ArchiveError, Entry, EntryRange

from rendezvous_router.archive.store import ArchiveStore

__all__ = ["Position", "StoredAt", "find_position"]

_log = logging.getLogger(__name__)

_ROUNDING_US = 2
"""Moments read in two ways differ by as much: nats-py rounds some of them by a float."""

StoredAt = Callable[[int], Awaitable[int | None]]
"""Takes a sequence; returns when the message was stored, microseconds since 1970-01-01 UTC; None: there is none."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read on."""

    generation: Generation
    """Of the stream as it is now."""
    next: int
    """First sequence that is not archived."""


async def find_position(store: ArchiveStore, info: StreamInfo, stored_at: StoredAt) -> Position:
    """Returns where to read a stream on, so that nothing is archived twice and nothing is left out.

    The same stream as the manifest's last one is read on behind its last entry. Another one is a new generation from
    sequence 1. One that lost its end (a power cut without flushing) has other messages under the last sequences, or
    none; it is a new generation that begins behind the last sequence that does agree.

    Args:
        store: what is archived.
        info: of the stream.
        stored_at: asks the stream.

    Raises:
        ArchiveError, OSError: the archive cannot be read.
        nats.errors.Error, TimeoutError: the stream does not answer.
    """
    assert info.created is not None, "JetStream says when a stream was made"
    created_us = round(info.created.timestamp() * 1_000_000)
    ours = [each for each in store.generations if each.created_unix_us == created_us]
    if not ours:
        return Position(Generation(created_us), 1)
    generation = ours[-1]
    last = store.last_of(str(generation))
    assert last is not None, "the generation was found by its ranges"
    if await _agrees(await asyncio.to_thread(store.read, last), info, stored_at):
        return Position(generation, last.last + 1)
    begin = await _last_agreeing(store, created_us, info, stored_at) + 1
    _log.warning(
        "%s of endpoint %s: the stream no longer has what was archived up to %d; it is archived anew from %d",
        store.source,
        store.endpoint,
        last.last,
        begin,
        extra={"endpoint": store.endpoint, "sequence": begin},
    )
    return Position(Generation(created_us, generation.number + 1, begin), begin)


async def _agrees(entry: Entry, info: StreamInfo, stored_at: StoredAt, last: int | None = None) -> bool:
    return await _same(entry.last if last is None else last, entry.last_stored_unix_us, info, stored_at)


async def _same(sequence: int, stored_us: int, info: StreamInfo, stored_at: StoredAt) -> bool:
    if sequence > info.state.last_seq:
        return False
    found = await stored_at(sequence)
    # What is no longer in the stream went by its limits; a lost end goes from the other side.
    return found is None or abs(found - stored_us) <= _ROUNDING_US


async def _last_agreeing(store: ArchiveStore, created_us: int, info: StreamInfo, stored_at: StoredAt) -> int:
    """Returns the last archived sequence that is the stream's own; 0: there is none."""
    for archived, end in _backwards(await asyncio.to_thread(lambda: store.ranges), created_us):
        entry = await asyncio.to_thread(store.read, archived)
        if end == entry.last and await _agrees(entry, info, stored_at):
            return entry.last
        rows = [each for each in await asyncio.to_thread(read_sequences, store, entry) if each[0] <= end]
        agreeing = await _count_agreeing(rows, info, stored_at)
        if agreeing:
            return rows[agreeing - 1][0]
    return 0


def _backwards(ranges: Sequence[EntryRange], created_us: int) -> Iterator[tuple[EntryRange, int]]:
    """Yields the stream's ranges from the last one on, with the last sequence of each that no later one replaced."""
    generations = {Generation.parse(each.generation) for each in ranges}
    end: int | None = None
    for generation in sorted((each for each in generations if each.created_unix_us == created_us), reverse=True):
        own = [each for each in ranges if each.generation == str(generation)]
        for each in sorted(own, key=lambda each: -each.last):
            if end is None or each.first <= end:
                yield each, each.last if end is None else min(each.last, end)
        end = generation.begin - 1 if end is None else min(end, generation.begin - 1)


async def _count_agreeing(rows: list[tuple[int, int]], info: StreamInfo, stored_at: StoredAt) -> int:
    """Returns how many of the first messages agree: once one does not, none behind it does."""
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if await _same(*rows[middle], info, stored_at):
            low = middle + 1
        else:
            high = middle
    return low


def read_sequences(store: ArchiveStore, entry: Entry) -> list[tuple[int, int]]:
    """Returns (sequence, stored_unix_us) of each message of an entry that its files still have rows of, in order.

    Raises:
        ArchiveError: a file cannot be read.
    """
    name = "score_sequence" if store.source == SCORES else "stream_sequence"
    found: set[tuple[int, int]] = set()
    for file in entry.files:
        try:
            with store.root.filesystem.open_input_file(store.root.at(file.path)) as stream:
                table = pq.read_table(stream, columns=[name, "stored_at"])
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(
                f"{file.path} cannot be read: {error}; `rendezvous archive verify` tells more"
            ) from error
        distinct = table.group_by([name, "stored_at"]).aggregate([])
        stored = pc.cast(distinct["stored_at"], pa.int64())
        found.update(zip(distinct[name].to_pylist(), stored.to_pylist(), strict=True))
    return sorted(found)

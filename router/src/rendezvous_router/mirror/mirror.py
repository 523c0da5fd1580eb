"""Reads, selects, copies, and keeps its place.

A parcel's place is kept after the target has it. Copies carry the parcel's id and their place at the source, so a
mirror that was killed finds out at the target what it had copied behind the place that it kept.

Source: ADR 0025.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from nats import errors
from rendezvous_proto import v1
from rendezvous_proto.errors import SignatureMismatchError
from rendezvous_sdk.tasks import end_tasks

from rendezvous_router.mirror.copies import Selection, is_sound, select_columns, take_sample
from rendezvous_router.mirror.position import Position, Positions
from rendezvous_router.mirror.source import Source, StoredInput
from rendezvous_router.mirror.targets import Target
from rendezvous_router.replay.pace import Pace

__all__ = ["Mirror", "MirrorTotals"]

_log = logging.getLogger(__name__)

_AT_ONCE = 32
_KEEP_S = 1.0


@dataclass(slots=True)
class MirrorTotals:
    """What a mirror has done since it was started."""

    parcels: int = 0
    """Parcels copied, wholly or in part."""
    requests: int = 0
    """Requests copied."""
    rows: int = 0
    """Rows copied."""
    left_out: int = 0
    """Requests that are not in the sample."""
    misfits: int = 0
    """Requests of older specifications, whose columns the target does not take."""
    unreadable: int = 0
    """Messages that are no parcel."""
    reached: int = 0
    """Sequence at the source up to which it is done."""


@dataclass(frozen=True, slots=True)
class _Sent:
    sequence: int
    putting: "asyncio.Task[int] | None"


class Mirror:
    """Copies inputs. Belongs to the event loop.

    Args:
        source: where they are read.
        target: where they go.
        positions: where its place is kept.
        mirror: its name.
        columns: that the target takes; none: anything.
        to: the target, for people.
        share: of the requests, 0 to 1.
        rate: requests a second; None: as fast as it goes.
        on_progress: called with requests that were done since the last call.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        positions: Positions,
        *,
        mirror: str,
        columns: Sequence[v1.ColumnSpec],
        to: str,
        share: float = 1.0,
        rate: float | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.totals = MirrorTotals()
        self._source = source
        self._target = target
        self._positions = positions
        self._mirror = mirror
        self._columns = columns
        self._to = to
        self._share = share
        self._pace = Pace(rate)
        self._on_progress = on_progress
        self._sent: deque[_Sent] = deque()
        self._there: set[int] = set()
        """What the target has although it lies behind the place that was kept."""
        self._target_sequence = 0
        self._kept = -1
        self._kept_at = time.monotonic()

    async def begin(self, since: dt.datetime | None) -> int:
        """Returns the sequence behind which it goes on.

        Args:
            since: where to begin when nothing was copied yet; None: with what comes now.
        """
        kept = await self._positions.read()
        if kept is not None:
            after, self._target_sequence = kept.sequence, kept.target_sequence
            self._there = await self._target.copied(kept.target_sequence, self._mirror)
        else:
            after = await (self._source.last() if since is None else self._source.before(since))
            self._target_sequence = await self._target.last()
        self.totals.reached = after
        return after

    async def run(self, after: int, *, until: int | None, stop: asyncio.Event) -> MirrorTotals:
        """Copies what is behind a sequence, and keeps its place.

        Args:
            after: as `begin` says.
            until: last sequence; None: goes on until *stop*.
            stop: ends it; what is on its way is awaited.

        Raises:
            MirrorError: source or target did not answer for long; what was copied stays.
        """
        await self._keep()  # from here on a restart looks for what the target has
        try:
            async with contextlib.aclosing(self._source.read(after, until=until, stop=stop)) as stored:
                async for each in stored:
                    await self._copy(each)
                    await self._settle(_AT_ONCE)
            await self._settle(0)
        finally:
            await end_tasks(*[each.putting for each in self._sent if each.putting is not None])
            with contextlib.suppress(errors.Error, TimeoutError, OSError):  # then the target tells what it has
                await self._keep()
        return self.totals

    async def _copy(self, stored: StoredInput) -> None:
        parcel = None if stored.sequence in self._there else self._parsed(stored)
        selection = None if parcel is None else self._select(parcel)
        if parcel is None or selection is None:
            self._sent.append(_Sent(stored.sequence, None))
            return
        await self._pace.wait(len(selection.items))
        self.totals.parcels += 1
        self.totals.requests += len(selection.items)
        self.totals.rows += selection.frame.rows
        putting = asyncio.create_task(self._target.put(parcel.parcel_id, selection, stored.sequence))
        self._sent.append(_Sent(stored.sequence, putting))
        self._on_progress(len(selection.items))

    def _parsed(self, stored: StoredInput) -> v1.Parcel | None:
        parcel = v1.Parcel()
        with contextlib.suppress(DecodeError):  # counted, as one that is not sound
            parcel.ParseFromString(stored.payload)
            if is_sound(parcel):
                return parcel
        self.totals.unreadable += 1
        return None

    def _select(self, parcel: v1.Parcel) -> Selection | None:
        chosen = take_sample(parcel, self._share)
        self.totals.left_out += len(parcel.items) - (len(chosen.items) if chosen else 0)
        if chosen is None:
            return None
        try:
            return Selection(items=chosen.items, frame=select_columns(chosen.frame, self._columns))
        except SignatureMismatchError as error:
            self.totals.misfits += len(chosen.items)
            _log.debug("parcel %s left out: %s", parcel.parcel_id, error)
            return None

    async def _settle(self, most: int) -> None:
        """Awaits the oldest copies until at most *most* are on their way; takes those that are there already."""
        while self._sent:
            oldest = self._sent[0]
            is_there = oldest.putting is None or oldest.putting.done()
            if not is_there and len(self._sent) <= most:
                break
            if oldest.putting is not None:
                self._target_sequence = max(self._target_sequence, await oldest.putting)
            self._sent.popleft()
            self.totals.reached = oldest.sequence
        if time.monotonic() - self._kept_at >= _KEEP_S:
            await self._keep()

    async def _keep(self) -> None:
        self._kept_at = time.monotonic()
        if self._kept == self.totals.reached:
            return
        position = Position(
            sequence=self.totals.reached,
            target_sequence=self._target_sequence,
            to=self._to,
        )
        await self._positions.write(position)
        self._kept = self.totals.reached

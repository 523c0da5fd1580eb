"""Cuts archived parcels into tables for one call of the candidate each: whole requests, each of them once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from rendezvous_proto import v1
from rendezvous_proto.errors import InvalidFrameError
from rendezvous_proto.frames import check_frame
from rendezvous_sdk.archive.layout import Generation

from rendezvous_router.replay.frames import frame_of
from rendezvous_router.replay.history import Place, StoredParcels

__all__ = ["KEYS", "Piece", "Skipped", "cut_pieces"]

KEYS = ("request_id", "row", "parcel_id", "parcel_sequence")
"""What tells a scored row, of the columns of `scores`."""


@dataclass(slots=True)
class Skipped:
    """Requests that are not scored."""

    repeated: int = 0
    """Scored already: a retry has put them into a second parcel."""
    unreadable: int = 0
    """Rows of messages that are no parcel, or no frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some whole requests, their rows joined in one frame."""

    frame: v1.Frame
    """The rows."""
    keys: pa.Table
    """`KEYS` of each row."""
    counts: Sequence[int]
    """Rows of each request."""

    @property
    def rows(self) -> int:
        """All its rows."""
        return len(self.keys)


def cut_pieces(
    parcels: StoredParcels, repeats: Mapping[str, Place], skipped: Skipped, *, most_rows: int
) -> Iterator[Piece]:
    """Yields the requests of some parcels, in their order.

    Args:
        parcels: archived rows.
        repeats: first place of the requests that are there more than once; anywhere else they are left out.
        skipped: counted into.
        most_rows: rows after which another piece begins; a larger request makes a piece of its own.
    """
    for table in parcels.tables:
        once = _without_repeats(table, parcels.generation, repeats, skipped)
        if once.num_rows:
            yield from _pieces(once, skipped, most_rows)


def _pieces(table: pa.Table, skipped: Skipped, most_rows: int) -> Iterator[Piece]:
    payload = table["payload"]
    if payload.null_count == table.num_rows:
        yield from _typed_pieces(table, most_rows)
        return
    has_payload = payload.is_valid().to_numpy(zero_copy_only=False)
    starts = _request_starts(table)
    by_frame = np.logical_or.reduceat(has_payload, starts)
    bounds = [*starts.tolist(), table.num_rows]
    for first, stop in _runs(by_frame):
        part = table.slice(bounds[first], bounds[stop] - bounds[first])
        yield from _payload_pieces(part, skipped) if by_frame[first] else _typed_pieces(part, most_rows)


def _without_repeats(
    table: pa.Table, generation: Generation, repeats: Mapping[str, Place], skipped: Skipped
) -> pa.Table:
    unnamed = pc.or_kleene(pc.is_null(table["request_id"]), pc.equal(table["request_id"], "")).to_numpy()
    drop = np.asarray(unnamed, np.bool_)
    skipped.unreadable += int(drop.sum())
    if repeats:
        again = pc.is_in(table["request_id"], pa.array(list(repeats), pa.string())).to_numpy() & ~drop
        for index in again.nonzero()[0].tolist():
            place = Place(generation, table["stream_sequence"][index].as_py())
            if repeats[table["request_id"][index].as_py()] != place:
                drop[index] = True
                skipped.repeated += table["row"][index].as_py() == 0
    return table.filter(pa.array(~drop)).combine_chunks() if drop.any() else table


def _request_starts(table: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    starts: np.ndarray[tuple[int], np.dtype[np.int64]] = (table["row"].to_numpy() == 0).nonzero()[0]
    return starts if len(starts) and starts[0] == 0 else np.concatenate([[0], starts])


def _runs(flags: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Iterator[tuple[int, int]]:
    """Yields the bounds of runs of equal flags."""
    edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), len(flags)]
    yield from pairwise(edges)


def _typed_pieces(table: pa.Table, most_rows: int) -> Iterator[Piece]:
    bounds = [*_request_starts(table).tolist(), table.num_rows]
    first = 0
    for index in range(1, len(bounds)):
        is_last = index == len(bounds) - 1
        if not is_last and bounds[index + 1] - bounds[first] <= most_rows:
            continue
        part = table.slice(bounds[first], bounds[index] - bounds[first])
        counts = np.diff(bounds[first : index + 1]).tolist()
        yield Piece(frame=frame_of(part), keys=_keys(part), counts=counts)
        first = index


def _payload_pieces(table: pa.Table, skipped: Skipped) -> Iterator[Piece]:
    """Yields each request by itself: what typed columns could not tell is kept as the frame that was sent."""
    bounds = [*_request_starts(table).tolist(), table.num_rows]
    for first, stop in pairwise(bounds):
        part = table.slice(first, stop - first)
        frame = _parsed(part)
        if frame is None:
            skipped.unreadable += part.num_rows
            continue
        keys = _keys(part.slice(0, 1)).take(pa.array([0] * frame.rows))
        keys = keys.set_column(1, KEYS[1], pa.array(range(frame.rows), pa.int32()))
        yield Piece(frame=frame, keys=keys, counts=[frame.rows])


def _parsed(part: pa.Table) -> v1.Frame | None:
    payload = part["payload"].drop_null()
    try:
        frame = v1.Frame.FromString(payload[0].as_py())
        check_frame(frame)
    except (DecodeError, InvalidFrameError):
        return None
    return frame if 0 < frame.rows <= _most_rows(part) else None


def _most_rows(part: pa.Table) -> int:
    """Returns how many rows the request has, as its parcel says; a frame that claims more is not believed."""
    rows: int = part["rows"][0].as_py() or part.num_rows
    return rows


def _keys(part: pa.Table) -> pa.Table:
    return pa.table([part["request_id"], part["row"], part["parcel_id"], part["stream_sequence"]], names=list(KEYS))

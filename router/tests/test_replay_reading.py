"""A replay reads history as it was: in order, once, bit for bit."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame, split_frame
from rendezvous_router.archive.store import ArchiveStore, Batch
from rendezvous_router.replay.history import History, Place
from rendezvous_router.replay.pieces import Piece, Skipped, cut_pieces
from rendezvous_sdk.archive.layout import DURABLE
from rendezvous_sdk.archive.manifest import ArchiveError, read_current

from tests.support.replayed import START_US, STEP_US, STREAM, Recorded, frame, parcel


def pieces(history: History, *, after: Place | None = None, most_rows: int = 100) -> tuple[list[Piece], Skipped]:
    """All pieces of a history, and what was left out."""
    skipped = Skipped()
    repeats = history.repeats()
    found = [
        piece for parcels in history.read(after) for piece in cut_pieces(parcels, repeats, skipped, most_rows=most_rows)
    ]
    return found, skipped


def requests(found: list[Piece]) -> list[tuple[str, v1.Frame]]:
    """Id and frame of each request, in order."""
    told = []
    for piece in found:
        frames = split_frame(piece.frame, list(piece.counts))
        firsts = [index for index, row in enumerate(piece.keys["row"].to_pylist()) if row == 0]
        told += zip([piece.keys["request_id"][index].as_py() for index in firsts], frames, strict=True)
    return told


@pytest.mark.parametrize("most_rows", [1, 7, 1000])
def test_frames_are_what_they_were(tmp_path: Path, most_rows: int) -> None:
    """Every type, shape, missing row, NaN's payload and -0.0 come back bit for bit, whatever the size of a piece."""
    recorded = Recorded(tmp_path)
    recorded.write(20)
    recorded.write(3)
    found, skipped = pieces(History(recorded.root, "default", "sum"), most_rows=most_rows)
    told = requests(found)
    assert [name for name, _ in told] == list(recorded.frames)
    for name, got in told:
        assert got.SerializeToString(deterministic=True) == recorded.frames[name].SerializeToString(deterministic=True)
    assert skipped == Skipped()
    assert all(piece.rows <= most_rows or len(piece.counts) == 1 for piece in found)


def test_what_typed_columns_cannot_tell_comes_from_its_bytes(tmp_path: Path) -> None:
    """Frames of other columns, kept whole in another file, come in their place; what is no parcel is counted."""
    recorded = Recorded(tmp_path)
    other = encode_frame({"unheard_of": [1.5, None]})
    misfit = parcel(2, [("odd-1", other), ("odd-2", encode_frame({"unheard_of": [2.5]}))])
    recorded.write(1, extra=[misfit.SerializeToString(), b"no parcel"])
    recorded.write(1)
    history = History(recorded.root, "default", "sum")
    found, skipped = pieces(history)
    told = dict(requests(found))
    assert told["odd-1"] == other
    assert {*told} == {*recorded.frames, "odd-1", "odd-2"}
    assert skipped == Skipped(unreadable=1)
    for name, each in recorded.frames.items():
        assert told[name] == each


def test_a_request_is_read_once(tmp_path: Path) -> None:
    """A request that a retry put into a second parcel is read at its first place, from whichever place one begins."""
    recorded = Recorded(tmp_path)
    recorded.write(2)
    again = parcel(3, [("q1", recorded.frames["q1"]), ("new", frame(90, 1))]).SerializeToString()
    recorded.write_messages([again])
    history = History(recorded.root, "default", "sum")
    assert history.repeats() == {"q1": Place(STREAM, 1)}
    found, skipped = pieces(history)
    names = [name for name, _ in requests(found)]
    assert (names, skipped.repeated) == ([*recorded.frames, "new"], 1)
    late, _ = pieces(history, after=Place(STREAM, 2))
    assert [name for name, _ in requests(late)] == ["new"]


def test_a_span_and_a_place_bound_what_is_read(tmp_path: Path) -> None:
    """Only what was stored in the span, behind the place; streams that follow each other are read one after another."""
    recorded = Recorded(tmp_path)
    recorded.write(10, requests=1)
    recorded.next_stream()
    recorded.write(5, requests=1)
    span = {"since_unix_us": START_US + 4 * STEP_US, "until_unix_us": START_US + 8 * STEP_US}
    within, _ = pieces(History(recorded.root, "default", "sum", **span))
    assert [name for name, _ in requests(within)] == ["q3", "q4", "q5", "q6", "q13", "q14"]
    behind, _ = pieces(History(recorded.root, "default", "sum"), after=Place(STREAM, 8))
    assert [name for name, _ in requests(behind)] == [f"q{number}" for number in range(8, 15)]


def test_rows_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    """A file whose rows are not in the order of the stream, in several row groups, is read in that order."""
    recorded = Recorded(tmp_path)
    recorded.write(40, requests=1)
    (entry,) = read_current(recorded.root, "default", "sum", [DURABLE])
    path = tmp_path / entry.files[0].path
    table = pq.read_table(path, partitioning=None)
    mixed = table.take([(7 * index) % 40 for index in range(40)])
    pq.write_table(mixed, path, row_group_size=9)
    found, _ = pieces(History(recorded.root, "default", "sum"))
    assert [name for name, _ in requests(found)] == [f"q{number}" for number in range(40)]


def test_a_missing_file_is_told_of(tmp_path: Path) -> None:
    """What the manifest names and nobody finds ends the reading with its name."""
    recorded = Recorded(tmp_path)
    recorded.write(2)
    recorded.write(2)
    files = [file for entry in read_current(recorded.root, "default", "sum", [DURABLE]) for file in entry.files]
    (tmp_path / files[1].path).unlink()
    history = History(recorded.root, "default", "sum")
    with pytest.raises(ArchiveError, match="archive verify"):
        list(history.read())


def test_files_that_are_compacted_meanwhile_are_followed(tmp_path: Path) -> None:
    """Entries that another one supersedes while they are read change nothing in what is read."""
    recorded = Recorded(tmp_path)
    for _ in range(4):
        recorded.write(2)
    entries = read_current(recorded.root, "default", "sum", [DURABLE])
    reading = History(recorded.root, "default", "sum").read()
    got = [next(reading)]
    joined = [pq.read_table(tmp_path / file.path, partitioning=None) for entry in entries for file in entry.files]
    for entry in entries:
        for file in entry.files:
            (tmp_path / file.path).unlink()
        (tmp_path / f"tenant=default/endpoint=sum/_manifest/durable/{entry.name}").unlink()
    batch = Batch(
        generation=STREAM,
        first=1,
        last=8,
        last_stored_unix_us=START_US,
        messages=8,
        tables=[("inputs", pa.concat_tables(joined))],
    )
    with ArchiveStore(recorded.root, "default", "sum", DURABLE) as store:
        store.write_batch(batch)
    got += reading
    assert [(each.first, each.last) for each in got] == [(1, 2), (3, 8)]

"""The archive's files without a server: index, refusals, leftovers, sequences used twice."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendezvous_router._archive_files import (
    ArchivedParcel,
    ArchiveError,
    ArchiveFolder,
    ArchiveLockedError,
    FileIndex,
    SequenceReusedError,
    list_files,
)
from rendezvous_router.archive_check import ExpectedInputs, verify_archive


def _row(sequence: int, stored: int = 5, request: str = "") -> ArchivedParcel:
    return ArchivedParcel(
        stream_sequence=sequence,
        parcel_id=f"p{sequence}",
        stored_unix_us=stored,
        request_ids=(request or f"r{sequence}",),
        rows=1,
        payload=b"x",
    )


def _write(folder: ArchiveFolder, *rows: ArchivedParcel) -> Path:
    path = folder.write(rows)
    folder.add(path)
    return path


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 15))), st.integers(0, 60))
def test_index_finds_exactly_the_covering_ranges(ranges: list[tuple[int, int]], sequence: int) -> None:
    """For any ranges, overlapping or not, added in any order, the index gives those that cover a sequence."""
    index, files = FileIndex([]), []
    for number, (first, length) in enumerate(ranges):
        files.append((first, first + length, Path(f"{number}")))
        index.add(*files[-1])
    expected = {path for first, last, path in files if first <= sequence <= last}
    assert set(index.find(sequence)) == expected
    assert len(index.find(sequence)) == len(expected)
    assert index.last == max((last for _, last, _ in files), default=0)


def test_folder_knows_what_it_held_after_opening_again(tmp_path: Path) -> None:
    """What was written is known again by a later process, and only that."""
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    assert _write(folder, _row(7), _row(3)).name == "3-7.parquet"
    folder.close()
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    assert [folder.holds(sequence, 5) for sequence in (2, 3, 5, 7, 8)] == [False, True, False, True, False]
    assert folder.last_sequence == 7
    folder.close()


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    """A file that was being written when the process was killed is removed at the next start."""
    ArchiveFolder(tmp_path, "credit", "s1").close()
    leftover = tmp_path / "credit" / "input" / ".1-2.parquet.writing"
    leftover.write_bytes(b"half")
    ArchiveFolder(tmp_path, "credit", "s1").close()
    assert not leftover.exists()


def test_second_writer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    """One archive, one writer."""
    first = ArchiveFolder(tmp_path, "credit", "s1")
    with pytest.raises(ArchiveLockedError, match="one archive, one writer"):
        ArchiveFolder(tmp_path, "credit", "s1")
    first.close()
    ArchiveFolder(tmp_path, "credit", "s1").close()


def test_sequence_with_other_content_is_noticed(tmp_path: Path) -> None:
    """A message under an archived sequence but stored at another time is not taken for the archived one."""
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    _write(folder, _row(3, stored=5))
    with pytest.raises(SequenceReusedError, match="sequence 3 was archived with other content"):
        folder.holds(3, 6)
    folder.start_anew()
    assert folder.holds(3, 6) is False
    _write(folder, _row(3, stored=6))
    assert folder.holds(3, 6) is True
    folder.close()
    assert len(list(tmp_path.glob("credit/input.*/3-3.parquet"))) == 1


def test_file_is_never_overwritten(tmp_path: Path) -> None:
    """Writing the same sequences twice is refused."""
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    _write(folder, _row(3))
    with pytest.raises(ArchiveError, match="sequences are archived once"):
        folder.write([_row(3)])
    folder.close()


def test_foreign_file_is_named(tmp_path: Path) -> None:
    """A Parquet file with another kind of name is refused, not ignored."""
    (tmp_path / "stray.parquet").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"stray.parquet: expected a name like 17-42.parquet"):
        list_files(tmp_path)


def test_check_tells_gaps_pending_duplicates_and_repeats(tmp_path: Path) -> None:
    """Each kind of finding is told apart."""
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    folder.write([_row(1, request="a"), _row(5, request="a")])
    folder.write([_row(5), _row(9)])
    folder.close()
    expected = ExpectedInputs(sequences=(1, 3, 5, 9, 11), acknowledged=9)
    report = verify_archive(tmp_path, "credit", expected=expected)
    assert (report.gaps, report.pending, report.duplicates) == ((3,), 1, (5,))
    assert (report.repeated_requests, report.is_complete, report.parcels) == (("a",), False, 3)
    late = verify_archive(tmp_path, "credit", first_sequence=9, expected=expected)
    assert (late.gaps, late.pending, late.duplicates, late.parcels, late.is_complete) == ((), 1, (), 1, True)


def test_check_tells_unreadable_files(tmp_path: Path) -> None:
    """A damaged file is reported, never taken for an empty one."""
    folder = ArchiveFolder(tmp_path, "credit", "s1")
    path = folder.write([_row(1)])
    folder.close()
    path.write_bytes(path.read_bytes()[:40])
    report = verify_archive(tmp_path, "credit")
    assert report.is_complete is False
    assert report.unreadable[0].startswith("1-1.parquet:")


def test_archive_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """An endpoint that was never archived has an empty report."""
    report = verify_archive(tmp_path, "credit")
    assert (report.parcels, report.gaps, report.is_complete) == (0, None, True)

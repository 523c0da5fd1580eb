"""The archive's files and manifest: whole batches or none, one writer, and a proof that finds what is missing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_router.archive import store as store_module
from rendezvous_router.archive.store import ArchiveLockedError, ArchiveStore, Batch, to_parquet
from rendezvous_router.archive.verify import StreamState, verify_endpoint
from rendezvous_router.cli import app
from rendezvous_sdk.archive.layout import DURABLE, ArchiveRoot, Generation, shown_root
from rendezvous_sdk.archive.manifest import ArchiveError, Entry, list_endpoints, list_tenants, put_entry, read_current
from rendezvous_sdk.archive.schema import SignatureColumn, schema_of, signature_of
from typer.testing import CliRunner

from tests.support.archiving import verify

DAY_US = 86_400_000_000
NOON_US = 20_000 * DAY_US + DAY_US // 2
FIRST = Generation(1_000)
AMOUNT = (SignatureColumn("amount", "FP64"),)


def inputs(
    sequences: range, stored_us: int = NOON_US, columns: tuple[SignatureColumn, ...] = AMOUNT, step_us: int = 1
) -> pa.Table:
    """Returns one request of one row for each sequence."""
    schema = schema_of("inputs", columns)
    count = len(sequences)
    arrays = {
        "request_id": pa.array([f"request-{each}" for each in sequences]),
        "row": pa.array(np.zeros(count), pa.int32()),
        "stream_sequence": pa.array(sequences, pa.int64()),
        "stored_at": pa.array([stored_us + step_us * each for each in sequences], pa.int64()).cast(
            schema.field("stored_at").type
        ),
    }
    return pa.Table.from_arrays(
        [arrays[each.name] if each.name in arrays else pa.nulls(count, each.type) for each in schema], schema=schema
    )


def batch(first: int, last: int, generation: Generation = FIRST, table: pa.Table | None = None) -> Batch:
    """Returns a batch of the sequences."""
    sequences = range(first, last + 1)
    return Batch(
        generation=generation,
        first=first,
        last=last,
        last_stored_unix_us=NOON_US + last,
        messages=len(sequences),
        tables=[("inputs", inputs(sequences) if table is None else table)],
    )


@pytest.fixture
def root(tmp_path: Path) -> ArchiveRoot:
    """An archive that is not there yet."""
    return ArchiveRoot.parse(tmp_path / "archive")


def open_store(root: ArchiveRoot) -> ArchiveStore:
    """Opens the store of the endpoint's durable stream."""
    return ArchiveStore(root, "default", "credit", DURABLE)


def write(root: ArchiveRoot, *batches: Batch) -> list[Entry]:
    """Writes batches."""
    with open_store(root) as store:
        return [store.write_batch(each) for each in batches]


def parquet_files(root: ArchiveRoot) -> list[Path]:
    """Returns all Parquet files, named by the manifest or not."""
    return sorted(Path(root.path).rglob("*.parquet"))


def test_a_batch_is_one_entry_and_its_files(root: ArchiveRoot) -> None:
    """Files lie by tenant, endpoint, kind and day; the entry names them, and is found again."""
    table = inputs(range(1, 4), NOON_US, step_us=DAY_US // 2)
    (entry,) = write(root, batch(1, 3, table=table))
    folders = [Path(file.path).parent.as_posix() for file in entry.files]
    assert folders == [f"tenant=default/endpoint=credit/kind=inputs/day={day}" for day in ("2024-10-05", "2024-10-06")]
    assert [file.rows for file in entry.files] == [2, 1]
    assert read_current(root, "default", "credit") == [entry]
    assert (list_tenants(root), list_endpoints(root, "default")) == (["default"], ["credit"])
    files = [pq.ParquetFile(root.at(file.path)) for file in entry.files]
    assert [file.metadata.num_rows for file in files] == [2, 1]
    assert [Path(root.at(file.path)).stat().st_size for file in entry.files] == [file.bytes for file in entry.files]


@pytest.mark.parametrize("fails", ["put_bytes", "put_entry"])
def test_a_crash_before_the_entry_leaves_nothing(
    root: ArchiveRoot, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """What was written without an entry is not part of the archive, and is removed when the writer comes back."""
    write(root, batch(1, 5))
    calls = {"put_bytes": store_module.put_bytes, "put_entry": store_module.put_entry}

    def crash(*arguments: object) -> None:
        if fails == "put_bytes":
            calls[fails](*arguments)  # type: ignore[operator] # the file is written, and then it crashes
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, open_store(root) as store:
        patch.setattr(store_module, fails, crash)
        with pytest.raises(KeyboardInterrupt):
            store.write_batch(batch(6, 9))
    assert len(parquet_files(root)) == 2
    assert [entry.last for entry in read_current(root, "default", "credit")] == [5]
    stray = Path(root.path) / "tenant=default/endpoint=credit/kind=inputs/day=2024-10-04"
    (stray / f".durable.{FIRST}.000000000006-000000000009.0.parquet.tmp").write_bytes(b"half")
    write(root, batch(6, 8))
    assert len(parquet_files(root)) == 2
    assert not list(stray.glob(".*"))
    report = verify(root.path)
    assert (report.is_complete, report.requests) == (True, 8)


def test_a_batch_that_does_not_follow_is_refused(root: ArchiveRoot) -> None:
    """Neither a gap nor an overlap can be written; another generation begins where it says."""
    later = Generation(1_000, 2, 4)
    with open_store(root) as store:
        store.write_batch(batch(1, 5))
        for first, generation in ((5, FIRST), (7, FIRST), (6, later), (2, Generation(2_000))):
            with pytest.raises(ArchiveError, match="is next"):
                store.write_batch(batch(first, first + 1, generation))
        store.write_batch(batch(4, 9, later))
        store.write_batch(batch(1, 2, Generation(2_000)))
        assert store.generations == [FIRST, later, Generation(2_000)]


def test_one_writer(root: ArchiveRoot) -> None:
    """A second writer of the same source is refused, by name; another source has its own."""
    held = pytest.raises(ArchiveLockedError, match=r"being written by another process \(\d+\)")
    with open_store(root), ArchiveStore(root, "default", "credit", "scores"), held:
        open_store(root)
    open_store(root).close()


def test_schemas_side_by_side(root: ArchiveRoot) -> None:
    """Files of an endpoint's former signature stay readable beside those of the present one."""
    columns = (SignatureColumn("amount", "INT64"), SignatureColumn("purpose", "STRING", (2,)))
    entries = write(root, batch(1, 2), batch(3, 4, table=inputs(range(3, 5), columns=columns)))
    (old,), (new,) = (entry.files for entry in entries)
    assert old.schema_id != new.schema_id
    for file, wanted in ((old, AMOUNT), (new, columns)):
        schema = pq.read_schema(root.at(file.path))
        assert tuple(signature_of(schema).values()) == wanted
    assert verify(root.path).is_complete


def remove_file(root: ArchiveRoot) -> None:
    """Removes a file."""
    parquet_files(root)[1].unlink()


def cut_file(root: ArchiveRoot) -> None:
    """Cuts a file."""
    path = parquet_files(root)[1]
    path.write_bytes(path.read_bytes()[:-20])


def lengthen_file(root: ArchiveRoot) -> None:
    """Adds bytes that change no row."""
    path = parquet_files(root)[1]
    path.write_bytes(path.read_bytes() + b"more")


def place(root: ArchiveRoot, table: pa.Table) -> None:
    """Puts other rows in the place of a file; the manifest tells their size, as if it were the same."""
    parquet_files(root)[1].write_bytes(to_parquet(table).to_pybytes())
    entry = read_current(root, "default", "credit")[1]
    files = tuple(replace(each, bytes=to_parquet(table).size) for each in entry.files)
    put_entry(root, "default", "credit", replace(entry, files=files))


def change_file(root: ArchiveRoot) -> None:
    """Puts a file in the place of another that has a row less."""
    place(root, inputs(range(4, 6)))


def swap_file(root: ArchiveRoot) -> None:
    """Puts a file of as many rows, and fewer messages, in the place of another."""
    table = pa.concat_tables([inputs(range(4, 6)), inputs(range(5, 6))])
    place(root, table)


def exchange_file(root: ArchiveRoot) -> None:
    """Puts another batch's file, of the same size, in the place of a file."""
    place(root, inputs(range(7, 10)))


def drop_column(root: ArchiveRoot) -> None:
    """Puts the same rows without a column in the place of a file."""
    place(root, inputs(range(4, 7)).drop_columns(["amount"]))


def forge_values(root: ArchiveRoot) -> None:
    """Puts rows of the same messages with other values in the place of a file."""
    place(root, inputs(range(4, 7), NOON_US + 7))


def place_deleted(root: ArchiveRoot) -> None:
    """Says that a message of a file was no longer in the stream when it was read."""
    entry = read_current(root, "default", "credit")[1]
    put_entry(root, "default", "credit", replace(entry, deleted=((5, 5),), messages=2))


def flip_byte(root: ArchiveRoot) -> None:
    """Changes a byte in a page of values."""
    path = parquet_files(root)[-1]
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content[column.data_page_offset + column.total_compressed_size - 2] ^= 0xFF
    path.write_bytes(content)


HASHED_ONLY = "another SHA-256"


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("damage", "said", "said_deep"),
    [
        (remove_file, "it is not there", ""),
        (cut_file, "bytes, the manifest says", ""),
        (lengthen_file, "bytes, the manifest says", ""),
        (change_file, "it has 2 rows, the manifest says 3", HASHED_ONLY),
        (swap_file, "its files hold 2 messages, it says 3", HASHED_ONLY),
        (
            exchange_file,
            "not of 0000000000001000-0001-1.000000000004-000000000006.json: sequences 7, 8, 9",
            HASHED_ONLY,
        ),
        (place_deleted, "sequences 5", ""),
        (drop_column, "its columns are not those", HASHED_ONLY),
        (forge_values, None, HASHED_ONLY),
        (flip_byte, "it cannot be read", HASHED_ONLY),
    ],
)
def test_verify_finds_damaged_files(
    root: ArchiveRoot, damage: Callable[[ArchiveRoot], None], said: str | None, said_deep: str, deep: bool
) -> None:
    """A file that is gone, cut, exchanged or rewritten is named; one whose values alone differ, by its hash."""
    write(root, batch(1, 3), batch(4, 6), batch(7, 9))
    assert verify_endpoint(root, "default", "credit", deep=deep).is_complete
    damage(root)
    report = verify_endpoint(root, "default", "credit", deep=deep)
    wanted = (said_deep or said) if deep else said
    assert report.is_complete == (wanted is None)
    assert [wanted in line for line in report.damaged if wanted] == ([] if wanted is None else [True])


def test_entries_that_tell_no_hash_are_read(root: ArchiveRoot) -> None:
    """As those of earlier versions; then pages that were damaged are found by their checksums."""
    (entry,) = write(root, batch(1, 3))
    put_entry(root, "default", "credit", replace(entry, files=tuple(replace(each, sha256="") for each in entry.files)))
    path = next(Path(root.path).rglob("*.json"))
    path.write_text(path.read_text().replace(',"sha256":""', ""))
    assert "sha256" not in path.read_text()
    assert verify_endpoint(root, "default", "credit", deep=True).is_complete
    flip_byte(root)
    (line,) = verify_endpoint(root, "default", "credit", deep=True).damaged
    assert "it cannot be read" in line


def drop_entry(first: int, last: int) -> Callable[[ArchiveRoot], None]:
    """Takes an entry away."""

    def drop(root: ArchiveRoot) -> None:
        (path,) = Path(root.path).rglob(f"*.{first:012d}-{last:012d}.json")
        path.unlink()

    return drop


def overlap(root: ArchiveRoot) -> None:
    """Puts an entry whose range begins within another's."""
    last = read_current(root, "default", "credit")[2]
    put_entry(root, "default", "credit", Entry(**{**{n: getattr(last, n) for n in last.__slots__}, "first": 5}))


@pytest.mark.parametrize(
    ("damage", "missing", "twice"),
    [
        (drop_entry(1, 3), [(1, 3)], []),
        (drop_entry(4, 6), [(4, 6)], []),
        (overlap, [], [(5, 6)]),
    ],
)
def test_verify_finds_missing_ranges(
    root: ArchiveRoot,
    damage: Callable[[ArchiveRoot], None],
    missing: list[tuple[int, int]],
    twice: list[tuple[int, int]],
) -> None:
    """Which sequences are missing, or there twice, is said from the manifest alone."""
    write(root, batch(1, 3), batch(4, 6), batch(7, 9))
    damage(root)
    (source,) = verify(root.path).sources
    assert not source.is_complete
    assert [(each.first, each.last) for each in source.missing] == missing
    assert [(each.first, each.last) for each in source.twice] == twice


def test_verify_knows_generations(root: ArchiveRoot) -> None:
    """A stream that lost its end goes on from where it agreed; without its former generation, that is missing."""
    later = Generation(1_000, 2, 4)
    write(root, batch(1, 5), batch(4, 9, later), batch(1, 2, Generation(2_000)))
    (source,) = verify(root.path).sources
    assert source.is_complete
    assert [(each.first, each.last) for each in source.generations] == [(1, 5), (4, 9), (1, 2)]
    drop_entry(1, 5)(root)
    (source,) = verify(root.path).sources
    assert [(each.generation, each.first, each.last) for each in source.missing] == [(str(later), 1, 3)]


def drop_manifest(root: ArchiveRoot) -> None:
    """Takes all entries away."""
    shutil.rmtree(next(Path(root.path).rglob("_manifest")) / DURABLE)


@pytest.mark.parametrize(
    ("damages", "missing", "warned"),
    [
        ([], [], False),
        ([drop_entry(7, 9)], [], True),
        ([drop_entry(4, 6), drop_entry(7, 9)], [(4, 9)], False),
        ([drop_manifest], [(1, 9)], False),
    ],
)
def test_verify_sees_that_the_end_is_gone(
    root: ArchiveRoot, damages: list[Callable[[ArchiveRoot], None]], missing: list[tuple[int, int]], warned: bool
) -> None:
    """Files of several batches behind the last entry prove that entries are gone; those of one may be a crash's."""
    write(root, batch(1, 3), batch(4, 6), batch(7, 9))
    for damage in damages:
        damage(root)
    report = verify_endpoint(root, "default", "credit")
    (source,) = report.sources
    assert [(each.first, each.last) for each in source.missing] == missing
    assert [("7 to 9 lie behind" in each) for each in report.warnings] == [True] * warned
    told = CliRunner().invoke(app, ["archive", "verify", "credit", "--archive", root.path, "--offline"])
    assert (told.exit_code, "warning: durable: files of sequences 7 to 9" in " ".join(told.output.split())) == (
        int(bool(missing)),
        warned,
    )


def test_verify_tells_what_is_pending(root: ArchiveRoot) -> None:
    """Compared with the server's streams: what they have beyond the archive; of another stream, all of it."""
    write(root, batch(1, 5))
    for created_us, last, pending in ((1_000, 8, 3), (1_000, 5, 0), (2_000, 8, 8)):
        streams = {DURABLE: StreamState(created_unix_us=created_us, first=1, last=last)}
        report = verify_endpoint(root, "default", "credit", streams=streams)
        assert (report.pending, report.is_complete) == (pending, True)


def test_the_command_names_what_is_missing(root: ArchiveRoot) -> None:
    """`rendezvous archive verify` ends with 1 and names the ranges, as text and as JSON."""
    write(root, batch(1, 3), batch(4, 6), batch(7, 9))
    command = ["archive", "verify", "credit", "--archive", root.path, "--offline"]
    assert CliRunner().invoke(app, command).exit_code == 0
    drop_entry(4, 6)(root)
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 1
    assert "durable: sequences 4 to 6 are missing" in told.output
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert document[0]["sources"][0]["missing"] == [{"generation": str(FIRST), "first": 4, "last": 6}]
    assert document[0]["is_complete"] is False
    unknown = CliRunner().invoke(app, ["archive", "verify", "debit", "--archive", root.path, "--offline"])
    assert (unknown.exit_code, "has no endpoint debit of tenant default: it has credit" in unknown.output) == (1, True)


def test_a_root_never_shows_secrets() -> None:
    """A URL is shown without user, password and options."""
    assert shown_root("s3://key:secret@bucket/a?secret=x") == "s3://bucket/a"
    assert shown_root("/var/what?ever") == "/var/what?ever"

"""Rows read from CSV, JSON and Parquet by the signature, and written again."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rendezvous_proto import v1
from rendezvous_router.tables import RowTable, TableError, read_table, write_table

T = v1.DataType
COLUMNS = [
    v1.ColumnSpec(name="amount", type=T.DATA_TYPE_FP64),
    v1.ColumnSpec(name="code", type=T.DATA_TYPE_STRING),
    v1.ColumnSpec(name="count", type=T.DATA_TYPE_INT32, allow_missing=True),
]
ROWS = {"amount": [1.5, 2.0], "code": ["007", "x"], "count": [3, None]}
CSV = b"code,amount,count,extra\n007,1.5,3,a\nx,2,,b\n"


def _write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(ROWS), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", CSV),
        ("rows.json", json.dumps(ROWS).encode()),
        ("rows.json", b'[{"amount":1.5,"code":"007","count":3},{"amount":2.0,"code":"x"}]'),
        ("rows.jsonl", b'{"amount":1.5,"code":"007","count":3}\n\n{"amount":2.0,"code":"x","count":null}\n'),
        ("rows.parquet", _parquet()),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    """The signature decides: text stays text ("007"), missing stays missing, whatever the format."""
    assert read_table(_write(tmp_path, name, content), None, COLUMNS).columns == ROWS


def test_a_repeated_column_that_nobody_reads_does_not_disturb(tmp_path: Path) -> None:
    """Only what is read must be there once; without a signature that is everything that has a name."""
    content = b"code,amount,count,x,x,,\n007,1.5,3,,,,\nx,2,,,,,\n"
    assert read_table(_write(tmp_path, "rows.csv", content), None, COLUMNS).columns == ROWS
    with pytest.raises(TableError, match="more than once: x:"):
        read_table(_write(tmp_path, "rows.csv", content), None, [])


def test_columns_beyond_the_signature_are_left_out_and_told(tmp_path: Path) -> None:
    """A known outcome in the file does not disturb."""
    assert read_table(_write(tmp_path, "rows.csv", CSV), None, COLUMNS).ignored == ("extra",)


def test_standard_input_is_csv_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is read in the format given, CSV by default."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CSV)))
    assert read_table(None, None, COLUMNS).rows == 2
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(ROWS).encode())))
    assert read_table(None, "json", COLUMNS).rows == 2


def test_without_signature_everything_is_taken(tmp_path: Path) -> None:
    """An endpoint that declares no inputs takes all columns with the types that they suggest."""
    table = read_table(_write(tmp_path, "rows.csv", CSV), None, [])
    assert table.columns["amount"] == [1.5, 2.0]
    assert list(table.columns) == ["code", "amount", "count", "extra"]


def test_shaped_values_are_json_in_csv(tmp_path: Path) -> None:
    """A vector in a CSV cell is a JSON list."""
    columns = [v1.ColumnSpec(name="v", type=T.DATA_TYPE_FP64, shape=[2])]
    path = _write(tmp_path, "rows.csv", b'v\n"[1, 2]"\n"[3, 4]"\n')
    assert read_table(path, None, columns).columns == {"v": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", b"", "format 'txt' is not known: use --format csv, json, parquet"),
        ("rows.csv", b"amount,code\n1,a\n", "columns missing: count; it has: amount, code"),
        ("rows.csv", b"amount,code,count\n", "no rows"),
        ("rows.csv", b"amount,code,count\nlots,a,1\n", "invalid value 'lots'"),
        ("rows.csv", b"amount,code,count\n1,a\n", "Expected 3 columns, got 2"),
        ("rows.csv", b"", "Empty CSV file"),
        ("rows.csv", b"amount,code,count,code\n1,a,1,b\n", "columns that are there more than once: code: leave one"),
        ("rows.csv", b"\xef\xbb\xbfamount;code;count\n1,5;a;1\n", "separated by ';': separate them by commas"),
        ("rows.csv", b"amount\tcode\tcount\n1\ta\t1\n", "separated by tabs"),
        ("rows.json", b"[1, 2]", "expected a list of records"),
        ("rows.json", b"{nonsense", "Expecting property name"),
        ("rows.json", b'{"amount": [1], "code": ["a", "b"], "count": [1]}', "columns of different lengths"),
        ("rows.parquet", b"PAR1 nonsense", "rows.parquet:"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A file that cannot be read is named with its fault."""
    with pytest.raises(TableError) as caught:
        read_table(_write(tmp_path, name, content), None, COLUMNS)
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(TableError, match="cannot be read: No such file"):
        read_table(tmp_path / "rows.csv", None, COLUMNS)


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.parquet"])
def test_written_rows_are_read_again(tmp_path: Path, name: str) -> None:
    """Answers written in any format are read back as they were."""
    rows = [{"row": 0, "risk": 0.5, "label": "bad"}, {"row": 1, "risk": 0.25, "label": "good"}]
    write_table(rows, tmp_path / name)
    read = read_table(tmp_path / name, None, [])
    assert read.columns == {"row": [0, 1], "risk": [0.5, 0.25], "label": ["bad", "good"]}


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    """Only known suffixes can be written."""
    with pytest.raises(TableError, match=r"end the name in \.csv, \.json or \.parquet"):
        write_table([], tmp_path / "out.xlsx")


def test_cut_gives_rows_of_every_column() -> None:
    """A cut holds the same rows of each column; beyond the end there are fewer."""
    table = RowTable({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    assert table.cut(1, 5) == {"a": [2, 3], "b": ["y", "z"]}

"""`rendezvous sql` over a made-up archive: what it prints, writes, lists and refuses."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from rendezvous_router.cli import app
from rendezvous_router.cli._archive import choose_endpoint, parse_moment
from rendezvous_sdk.archive.manifest import ArchiveError
from typer import BadParameter, Exit
from typer.testing import CliRunner, Result

from tests.support.synthetic_archives import ArchivePlan, write_archive

LATE = "SELECT model, count(*) AS scores FROM scores GROUP BY ALL ORDER BY model"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 100 requests."""
    folder = tmp_path_factory.mktemp("record") / "archive"
    write_archive(folder, ArchivePlan(requests=100, truth=0.5))
    return folder


def _ask(root: Path, *arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(app, ["sql", *arguments, "--archive", str(root)], **more)


def test_forms_of_an_answer(root: Path) -> None:
    """An answer is a table, JSON or CSV; the query may come from standard input."""
    table = _ask(root, LATE)
    assert table.exit_code == 0, table.output
    assert "boosted" in table.stdout
    assert "│" in table.stdout
    assert json.loads(_ask(root, LATE, "--json").stdout)[0] == {"model": "boosted", "scores": 100}
    assert _ask(root, LATE, "--csv").stdout.splitlines()[:2] == ["model,scores", "boosted,100"]
    assert json.loads(_ask(root, "-", "--json", input=LATE).stdout)[1]["scores"] == 100
    assert json.loads(_ask(root, f"{LATE} LIMIT 0", "--json").stdout) == []
    odd = "SELECT 'nan'::DOUBLE AS x, [1, NULL] AS l, {'a': 'é'} AS s, DATE '2026-01-01' AS d"
    assert json.loads(_ask(root, odd, "--json").stdout) == [
        {"x": None, "l": [1, None], "s": {"a": "é"}, "d": "2026-01-01"}
    ]


def test_many_rows_are_printed_whole(root: Path) -> None:
    """JSON and CSV have all rows of an answer, however many batches they come in."""
    query = "SELECT range AS n FROM range(25000)"
    assert [row["n"] for row in json.loads(_ask(root, query, "--json").stdout)] == list(range(25_000))
    assert len(_ask(root, query, "--csv").stdout.splitlines()) == 25_001


@pytest.mark.parametrize("options", [(), ("--safe",)])
def test_answers_go_to_files(root: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """An answer is written to a Parquet or CSV file, also when the query may read nothing but the archive."""
    parquet, text = tmp_path / "answers.parquet", tmp_path / "answers.csv"
    assert _ask(root, "FROM answers", "--out", str(parquet), *options).exit_code == 0
    assert pq.read_table(parquet).num_rows == 100
    assert _ask(root, "FROM answers", "--out", str(text), *options).exit_code == 0
    assert len(text.read_text().splitlines()) == 101


def test_own_files_and_safety(root: Path, tmp_path: Path) -> None:
    """A query joins files of the user's; with --safe it reads the archive and nothing else."""
    (tmp_path / "models.csv").write_text("model,owner\nlogit,kim\n")
    query = f"SELECT DISTINCT owner FROM scores JOIN '{tmp_path}/models.csv' USING (model)"
    assert json.loads(_ask(root, query, "--json").stdout) == [{"owner": "kim"}]
    refused = _ask(root, query, "--json", "--safe")
    assert (refused.exit_code, "disabled by configuration" in refused.stderr) == (1, True)
    assert json.loads(_ask(root, LATE, "--json", "--safe").stdout)[0]["scores"] == 100


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("SELECT * FROM socres",), 1, "Views of credit: inputs, raw, scores, enrichments, decisions"),
        (("SELECT modle FROM scores",), 1, "Views of credit"),
        (("SELEC 1",), 1, "syntax error"),
        (("SELECT status FROM named",), 1, "named"),
        (("DROP VIEW scores",), 2, "only asks"),
        (("SELECT 1; SELECT 2",), 2, "only asks"),
        (("COPY (SELECT 1) TO 'x.csv'",), 2, "only asks"),
        (("SELECT 1", "--out", "x.xlsx"), 2, "must end in .parquet or .csv"),
        (("SELECT 1", "--json", "--csv"), 2, "exclude one another"),
        (("--csv",), 2, "--csv needs a query"),
        (("SELECT 1", "--endpoint", "debit"), 1, "no endpoint 'debit', only credit"),
        (("SELECT 1", "--tenant", "acme"), 1, "only of default"),
        (("SELECT 1", "--since", "yesterday"), 2, "yesterday"),
        (("SELECT 1", "--since", "1d", "--until", "2d"), 2, "does not lie before"),
    ],
)
def test_what_is_refused(root: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    """What cannot be asked is refused with one message and no traceback: 1 for errors, 2 for wrong usage."""
    result = _ask(root, *arguments)
    assert (result.exit_code, message in result.stderr) == (status, True), result.output
    assert result.stdout == ""


def test_what_there_is(root: Path, tmp_path: Path) -> None:
    """Without a query the views are listed; --files lists the current files, --database writes views for DuckDB."""
    told = json.loads(_ask(root, "--json").stdout)
    assert told["endpoint"] == "credit"
    assert told["rows"]["scores"] == len(json.loads(_ask(root, "SELECT 1 FROM scores", "--json").stdout))
    assert "answer_label" in told["views"]["answers"]
    assert "answer_label" in _ask(root).stdout.replace("\n", "")
    files = json.loads(_ask(root, "--files", "--json").stdout)
    assert set(files) == {"inputs", "scores", "decisions", "feedback"}
    assert _ask(root, "--files").stdout.splitlines() == [path for paths in files.values() for path in paths]
    database = tmp_path / "credit.duckdb"
    assert _ask(root, "--database", str(database)).exit_code == 0
    with duckdb.connect(str(database)) as connection:
        assert connection.sql("SELECT count(*) FROM answers").fetchall() == [(100,)]
    (tmp_path / "text.duckdb").write_text("no database, but long enough to be looked at" * 400)
    assert _ask(root, "--database", str(tmp_path / "text.duckdb")).exit_code == 1


def test_a_span(root: Path) -> None:
    """--since and --until choose requests by when they were stored."""
    count = "SELECT count(*) AS n FROM answers"
    parts = [("--until", "2026-03-14T12:00"), ("--since", "2026-03-14T12:00:00+00:00"), ("--since", "2026-03-20")]
    numbers = [json.loads(_ask(root, count, "--json", *part).stdout)[0]["n"] for part in parts]
    assert numbers[0] + numbers[1] == 100
    assert 0 < numbers[0] < 100
    assert numbers[2] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", "2026-02-22 12:00:00+00:00"),
        ("90s", "2026-03-01 11:58:30+00:00"),
        ("2026-02-03", "2026-02-03 00:00:00+00:00"),
        ("2026-02-03T04:05:06+01:00", "2026-02-03 03:05:06+00:00"),
        ("7", None),
        ("soon", None),
        ("-1d", None),
        ("99999999d", None),
    ],
)
def test_moments(text: str, expected: str | None) -> None:
    """A moment is a duration before now or an ISO time, in UTC unless it says otherwise."""
    now = parse_moment("2026-03-01T12:00")
    if expected is None:
        with pytest.raises(BadParameter, match=text):
            parse_moment(text, now=now)
    else:
        assert str(parse_moment(text, now=now)) == expected


def test_the_endpoint_that_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only endpoint need not be named; of several one must be."""
    with pytest.raises(ArchiveError, match="there is no archive"):
        choose_endpoint(str(tmp_path), "default", None)
    write_archive(tmp_path, ArchivePlan(requests=2))
    assert choose_endpoint(str(tmp_path), "default", None) == "credit"
    write_archive(tmp_path, ArchivePlan(requests=2, endpoint="debit"))
    assert choose_endpoint(str(tmp_path), "default", "debit") == "debit"
    with pytest.raises(Exit) as refused:
        choose_endpoint(str(tmp_path), "default", None)
    assert (refused.value.exit_code, "name one of credit, debit" in capsys.readouterr().err) == (2, True)

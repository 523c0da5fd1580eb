"""The record as DuckDB views, Arrow, pandas and Polars tables: over archives made up by the contract, files and all."""

import datetime as dt
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from rendezvous_proto.errors import InvalidRequestError, UnknownEndpointError
from rendezvous_sdk.archive import Archive, open_archive
from rendezvous_sdk.archive.layout import ArchiveRoot
from rendezvous_sdk.archive.manifest import ArchiveError
from rendezvous_sdk.archive.object_store import ArchiveFiles
from rendezvous_sdk.archive.schema import FIXED

from tests.support import archives
from tests.support.synthetic_archives import ArchivePlan, MadeArchive, ModelPlan, write_archive

PLAN = ArchivePlan(
    requests=600,
    rows=2,
    batch_requests=150,
    truth=0.5,
    corrections=0.4,
    rewards=0.2,
    verdicts=0.2,
    repeats=0.1,
    redelivered=0.1,
    replayed=(ModelPlan(name="boosted", version="4"), ModelPlan(name="boosted", version="3")),
    new_schema=True,
    enriched=True,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeArchive:
    """An archive with everything in it."""
    return write_archive(tmp_path_factory.mktemp("record") / "archive", PLAN)


@pytest.fixture
def archive(made: MadeArchive) -> Iterator[Archive]:
    """It, opened."""
    with open_archive(made.root) as opened:
        yield opened


def _one(archive: Archive, query: str) -> Any:
    (row,) = archive.sql(query).fetchall()
    return row[0] if len(row) == 1 else row


def test_views_have_all_rows(archive: Archive, made: MadeArchive) -> None:
    """Each kind's view has every row that was written, repeats too, under the endpoint's name and without it."""
    assert archive.endpoints == [archive.endpoint] == ["credit"]
    assert archive.kinds == made.rows
    for kind, rows in made.rows.items():
        assert _one(archive, f"SELECT count(*) FROM {kind}") == rows
        assert _one(archive, f"SELECT count(*) FROM credit.{kind}") == rows


def test_answers_count_a_request_once(archive: Archive, made: MadeArchive) -> None:
    """There is one answer for each row of each request: its first decision, of the model that was chosen."""
    assert _one(archive, "SELECT count(*), count(DISTINCT (request_id, row)) FROM answers") == (1200, 1200)
    counted = archive.sql("SELECT coalesce(chosen, '-'), count(*) FROM answers WHERE row = 0 GROUP BY ALL").fetchall()
    assert dict(counted) == made.chosen
    differing = """
        SELECT count(*) FROM answers a JOIN outcomes s USING (request_id, row)
        WHERE s.model = a.chosen AND s.version = CASE a.chosen WHEN 'boosted' THEN '3' WHEN 'tree' THEN '2' ELSE '1' END
          AND s.default_probability IS DISTINCT FROM a.answer_default_probability"""
    assert _one(archive, differing) == 0


def test_outcomes_count_a_score_once(archive: Archive) -> None:
    """A model's score of a row counts once: the first that was live, else the replay's."""
    keys = "count(*), count(DISTINCT (request_id, row, model, version))"
    total, distinct = _one(archive, f"SELECT {keys} FROM outcomes")
    assert total == distinct < _one(archive, "SELECT count(*) FROM scores")
    assert archive.sql("SELECT DISTINCT origin FROM outcomes WHERE (model, version) = ('boosted', '3')").fetchall() == [
        ("live",)
    ]
    assert _one(archive, "SELECT count(*) FROM outcomes WHERE origin = 'replay' AND version = '4'") == 1200
    later = """SELECT count(*) FROM outcomes o JOIN scores s USING (request_id, row, model, version)
               WHERE s.origin = 'live' AND s.stored_at < o.stored_at"""
    assert _one(archive, later) == 0


def test_truth_that_counts(archive: Archive, made: MadeArchive) -> None:
    """What is known is found by row, by request and by business key, and a correction is what was observed last."""
    assert _one(archive, "SELECT count(DISTINCT request_id) FROM answers WHERE truth_label IS NOT NULL") == made.known
    wrong = """
        SELECT count(*), count(*) FILTER (f.key_name IS NOT NULL), count(*) FILTER (f.row IS NOT NULL)
        FROM answers a JOIN feedback f
          ON (f.request_id = a.request_id OR a.context['case_id'] = f.key_value) AND coalesce(f.row, a.row) = a.row
        WHERE f.kind = 'truth' AND f.text <> a.truth_label
          AND f.observed_at >= (SELECT max(observed_at) FROM feedback g WHERE g.kind = 'truth'
            AND g.request_id IS NOT DISTINCT FROM f.request_id AND g.key_value IS NOT DISTINCT FROM f.key_value
            AND g.row IS NOT DISTINCT FROM f.row)"""
    assert _one(archive, wrong) == (0, 0, 0)
    corrected = "SELECT count(*) FROM feedback WHERE kind = 'truth'"
    assert _one(archive, corrected) > _one(archive, f"{corrected} AND epoch(observed_at - stored_at) / 86400 > 21")
    assert _one(archive, "SELECT count(*) FROM answers WHERE truth_text IS DISTINCT FROM truth_label") == 0
    assert _one(archive, "SELECT count(*) FROM answers WHERE truth_number IS NOT NULL") == 0
    rewards = "SELECT count(*) FROM feedback WHERE kind = 'reward'"
    assert _one(archive, "SELECT count(*) FROM answers WHERE reward IN (-1, 0.1)") == 2 * _one(archive, rewards)
    assert archive.sql("SELECT DISTINCT verdict FROM outcomes WHERE verdict IS NOT NULL ORDER BY 1").fetchall() == [
        ("approve",),
        ("reject",),
    ]


# Targets from the farthest to the closest, as columns of `feedback`.
TARGETS: list[dict[str, Any]] = [
    {"key_name": "case", "key_value": "c"},
    {"key_name": "case", "key_value": "c", "row": 0},
    {"request_id": "r"},
    {"request_id": "r", "row": 0},
]


@pytest.mark.parametrize("given", [(0, 1), (0, 2), (1, 2), (2, 3), (1, 3), (0, 1, 2), (0, 1, 2, 3)])
def test_the_closest_target_counts(tmp_path: Path, given: tuple[int, ...]) -> None:
    """A request's row before the request, this before a row by business key, and that before the key alone."""
    made = archives.MadeArchive.at(tmp_path)
    made.add(archives.MadeRequest(request_id="r", customers=[1, 2], context={"case": "c"}))
    # The farther one is observed later, so it is not time that decides.
    made.add_feedback(
        *(
            {"feedback_id": f"f{one}", "kind": "truth", "observed_at": archives.START_US - one, "number": float(one)}
            | TARGETS[one]
            for one in given
        )
    )
    with open_archive(tmp_path) as archive:
        told = archive.sql("SELECT truth_number FROM outcomes ORDER BY row").fetchall()
    assert told == [(max(given),), (max((one for one in given if one in (0, 2)), default=None),)]


def test_versions_of_a_signature(archive: Archive) -> None:
    """A column that came or went is null elsewhere, and one whose type changed has the common type."""
    types = {name: told for name, told, *_ in archive.sql("DESCRIBE inputs").fetchall()}
    assert (types["duration_months"], types["age"], types["phone"]) == ("DOUBLE", "INTEGER", "BOOLEAN")
    by_revision = "SELECT count(age) = 0, count(phone) = 0, count(duration_months) = count(*) FROM inputs"
    assert _one(archive, f"{by_revision} WHERE spec_revision = 1") == (True, False, True)
    assert _one(archive, f"{by_revision} WHERE spec_revision = 2") == (False, True, True)
    assert archive.dataset("inputs").schema.field("duration_months").type == pa.float64()
    assert archive.dataset("inputs").count_rows() == archive.kinds["inputs"]


def test_tables_of_other_libraries(archive: Archive) -> None:
    """Arrow, pandas and Polars give the same rows as SQL; Polars' are lazy."""
    expected = _one(archive, "SELECT count(*), round(sum(answer_default_probability), 6) FROM answers")
    tables = [
        archive.arrow("answers").to_pandas(),
        archive.pandas("answers"),
        archive.polars("answers").select("answer_default_probability").collect().to_pandas(),
    ]
    for table in tables:
        assert (len(table), round(table["answer_default_probability"].sum(), 6)) == expected
    assert archive.sql("SELECT $n + 1", {"n": 1}).fetchall() == archive.sql("SELECT ? + 1", [1]).fetchall() == [(2,)]


@pytest.mark.parametrize(("since_h", "until_h"), [(30, None), (None, 20), (30, 20)])
def test_a_span_of_time(made: MadeArchive, since_h: int | None, until_h: int | None) -> None:
    """A span is one of requests: theirs are the answers and scores, however late, and whatever is known of them."""
    since = None if since_h is None else PLAN.end - dt.timedelta(hours=since_h)
    until = None if until_h is None else PLAN.end - dt.timedelta(hours=until_h)
    with open_archive(made.root, since=since, until=until) as part, open_archive(made.root) as whole:
        condition = f"time >= '{since or '-infinity'}'::TIMESTAMPTZ AND time < '{until or 'infinity'}'::TIMESTAMPTZ"
        columns = "count(*), count(truth_label), sum(decided_after_us)"
        expected = _one(whole, f"SELECT {columns} FROM answers WHERE {condition}")
        assert _one(part, f"SELECT {columns} FROM answers") == expected
        assert 0 < expected[0] < 1200
        assert len(part.files("inputs")) < len(whole.files("inputs"))
        scored = f"SELECT count(*) FROM outcomes WHERE request_id IN (SELECT request_id FROM answers WHERE {condition})"
        assert _one(part, "SELECT count(*) FROM outcomes") == _one(whole, scored)


def test_only_what_the_manifest_names(made: MadeArchive, tmp_path: Path) -> None:
    """A leftover file is not read; what comes later is seen after a refresh, and so is what has gone."""
    root = tmp_path / "archive"
    shutil.copytree(made.root, root)
    with open_archive(root) as archive:
        rows = _one(archive, "SELECT count(*) FROM scores")
        file = Path(archive.files("scores")[-1])
        shutil.copy(file, file.with_name(f"scores.leftover-{file.name}"))
        entry = max((root / "tenant=default/endpoint=credit/_manifest/scores").glob("*.json"))
        archive.refresh()
        assert _one(archive, "SELECT count(*) FROM scores") == rows
        entry.rename(entry.with_suffix(".gone"))
        archive.refresh()
        assert _one(archive, "SELECT count(*) FROM scores") < rows
        file.unlink()
        assert not file.name.startswith("replay")
        entry.with_suffix(".gone").rename(entry)
        archive.refresh()
        with pytest.raises(duckdb.IOException, match=file.name):
            archive.sql("SELECT avg(default_probability) FROM scores").fetchall()


def test_what_is_not_there_yet(tmp_path: Path) -> None:
    """Kinds without files are views without rows, with their columns."""
    plan = ArchivePlan(endpoint="Select", requests=20)
    write_archive(tmp_path, plan)
    shutil.rmtree(tmp_path / "tenant=default/endpoint=Select/_manifest/scores")
    shutil.rmtree(tmp_path / "tenant=default/endpoint=Select/_manifest/durable")
    with open_archive(tmp_path) as archive:
        for view in ("inputs", "raw", "scores", "enrichments", "decisions", "feedback", "answers", "outcomes"):
            assert archive.sql(f"FROM {view}").fetchall() == []
            assert archive.sql(f'FROM "Select".{view}').columns[0] in ("request_id", "feedback_id")
        assert archive.arrow("answers").num_rows == archive.dataset("scores").count_rows() == 0


def test_several_endpoints(tmp_path: Path) -> None:
    """With several endpoints, one is chosen or all have a prefix, also where only case tells their names apart."""
    for endpoint, requests in (("credit", 10), ("Credit", 20), ("main", 30)):
        write_archive(tmp_path, ArchivePlan(endpoint=endpoint, requests=requests))
    with open_archive(tmp_path) as archive:
        assert (archive.endpoints, archive.endpoint) == (["Credit", "credit", "main"], None)
        counts = [_one(archive, f"SELECT count(*) FROM {name}.answers") for name in ("Credit", "credit_", "main_")]
        assert counts == [20, 10, 30]
        with pytest.raises(InvalidRequestError, match="several endpoints: open it with one of Credit, credit, main"):
            archive.arrow("answers")
    with open_archive(tmp_path, endpoint="credit") as archive:
        assert _one(archive, "SELECT count(*) FROM answers") == 10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"root": "nowhere"}, ArchiveError, "there is no archive at nowhere"),
        ({"root": "nope://x"}, InvalidRequestError, "cannot be opened"),
        ({"tenant": "acme"}, ArchiveError, "nothing of tenant 'acme', only of default"),
        ({"endpoint": "debit"}, UnknownEndpointError, "no endpoint 'debit', only credit"),
        ({"since": PLAN.end, "until": PLAN.end}, InvalidRequestError, "is empty"),
    ],
)
def test_what_cannot_be_opened(
    made: MadeArchive, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Whatever is missing is named, with what there is instead."""
    with pytest.raises(error, match=message):
        open_archive(**{"root": made.root, **arguments})


def test_other_file_systems_give_the_same(made: MadeArchive) -> None:
    """Read through Arrow's file system, as an object store is, the archive gives the same rows, by several threads."""
    local = ArchiveRoot.parse(made.root)
    remote = ArchiveRoot(pa.fs.SubTreeFileSystem("/", local.filesystem), local.path, "s3://bucket/record")
    assert not remote.is_local
    query = "SELECT model, count(*), round(sum(default_probability), 6), count(truth_label) FROM outcomes GROUP BY ALL"
    with open_archive(remote) as archive, open_archive(local) as expected:
        archive.connection.execute("SET threads = 4")
        for _ in range(5):
            assert sorted(archive.sql(query).fetchall()) == sorted(expected.sql(query).fetchall())
        assert archive.files("scores")[0].startswith("s3://bucket/record/tenant=default/endpoint=credit/kind=scores/")
        with pytest.raises(InvalidRequestError, match="s3://bucket/record"):
            archive.write_database("record.duckdb")
        archive.lock()
        assert sorted(archive.sql(query).fetchall()) == sorted(expected.sql(query).fetchall())
        with pytest.raises(duckdb.PermissionException):
            archive.sql("FROM read_text('archive:///etc/passwd')").fetchall()


def test_without_the_extra() -> None:
    """Without DuckDB, opening an archive says what to install."""
    program = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from rendezvous_sdk.archive import open_archive\n"
        "try: open_archive('.')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "needs duckdb; install it with: pip install 'rendezvous-sdk[archive]'" in done.stdout


def test_questions_of_the_reference(archive: Archive) -> None:
    """The questions in docs/record.md can be asked, and have answers."""
    page = (Path(__file__).parents[2] / "docs" / "record.md").read_text(encoding="utf-8")
    questions = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(questions) == 6
    answered = [len(archive.sql(question).fetchall()) for question in questions]
    assert [bool(rows) for rows in answered] == [True] * 5 + [False]


def test_the_reference_has_every_column() -> None:
    """docs/record.md names every fixed column of every kind."""
    page = (Path(__file__).parents[2] / "docs" / "record.md").read_text(encoding="utf-8")
    tables = page.partition("\n## Tables\n")[2].partition("\n## The manifest\n")[0]
    for kind, schema in FIXED.items():
        (section,) = [part for part in tables.split("\n### ") if f"`{kind}`" in part.partition("\n")[0]]
        assert [each for each in schema.names if f"`{each}`" not in section] == [], kind


def test_threads_have_places_of_their_own(tmp_path: Path) -> None:
    """A thread that seeks in a file that threads share does not move where another reads."""
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    files = ArchiveFiles(pa.fs.LocalFileSystem())
    file = files.open(f"archive://{path}")
    file.seek(2)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: (file.seek(-3, 2), file.read(2))).result() == (7, b"78")
    assert (file.read(3), file.tell(), file.read()) == (b"234", 5, b"56789")
    file.close()
    assert file.closed
    with pytest.raises(PermissionError, match="read only"):
        files.open(f"archive://{path}", "wb")

"""`rendezvous compare` over made-up archives, against pandas and scikit-learn over the record's own views."""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rendezvous_router.cli import app
from rendezvous_router.compare import CompareError, Question, compare
from rendezvous_router.compare import census as census_module
from rendezvous_router.compare.measures import TOO_FEW
from rendezvous_router.compare.results import to_document
from rendezvous_sdk.archive.reader import Archive, open_archive
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from typer.testing import CliRunner

from tests.support.synthetic_archives import TRIO, ArchivePlan, ModelPlan, write_archive

REQUESTS, ROWS = 3000, 2
END = dt.datetime(2026, 3, 15, 12, tzinfo=dt.UTC)
PLAN = ArchivePlan(
    requests=REQUESTS,
    rows=ROWS,
    models=TRIO,
    batch_requests=700,
    truth=0.5,
    corrections=0.2,
    repeats=0.02,
    redelivered=0.02,
    replayed=(ModelPlan(name="boosted", version="4", noise=0.1),),
    end=END,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An archive of all that can happen, and one of another endpoint."""
    root = tmp_path_factory.mktemp("compared") / "archive"
    write_archive(root, PLAN)
    return str(root)


@pytest.fixture
def archive(root: str) -> Iterator[Archive]:
    """It, opened."""
    with open_archive(root) as opened:
        yield opened


def joined(archive: Archive, first: str, second: str) -> pd.DataFrame:
    """Both models' outcomes side by side, from the view that the record offers to everybody."""
    sides = []
    for asked in (first, second):
        name, _, version = asked.partition(":")
        rows = archive.sql(
            "SELECT request_id, row, default_probability AS score, label, late, after_us, "
            "error_code IS NOT NULL AS failed, truth_label AS truth FROM outcomes "
            "WHERE model = ? AND (version = ? OR ? = '')",
            [name, version, version],
        ).df()
        sides.append(rows.set_index(["request_id", "row"]))
    return sides[0].add_suffix("_1").join(sides[1].add_suffix("_2"), how="inner")


def by_request(values: pd.Series) -> float:
    """Mean over requests of the mean of their rows."""
    return float(values.astype(float).groupby(level="request_id").mean().mean())


def figures(archive: Archive, first: str, second: str) -> dict[str, tuple[float, float]]:
    """What a comparison must say, computed the long way round."""
    both = joined(archive, first, second)
    scored = both[~both.failed_1 & ~both.failed_2]
    known = scored[scored.truth_1.notna()]
    is_bad = known.truth_1 == "bad"
    told: dict[str, Any] = {}
    for number in ("1", "2"):
        score, label = known[f"score_{number}"], known[f"label_{number}"]
        of_truth = np.where(is_bad, score, 1 - score)
        told.setdefault("failed", []).append(by_request(both[f"failed_{number}"]))
        told.setdefault("score", []).append(by_request(scored[f"score_{number}"]))
        told.setdefault("accuracy", []).append(by_request(label == known.truth_1))
        told.setdefault("brier", []).append(by_request((score - is_bad) ** 2))
        told.setdefault("log_loss", []).append(by_request(pd.Series(-np.log(of_truth), known.index)))
        told.setdefault("auc", []).append(roc_auc_score(is_bad, score))
        if not both.after_us_1.isna().any() and not both.after_us_2.isna().any():
            told.setdefault("late", []).append(by_request(both[f"late_{number}"]))
            told.setdefault("latency_ms", []).append(by_request(both[f"after_us_{number}"] / 1000))
    return told


@pytest.mark.parametrize(
    ("first", "second", "slice_scores"),
    [
        ("boosted:3", "logit", 500),
        ("boosted:3", "logit", 1_000_000),
        ("boosted:3", "boosted:4", 500),
        ("tree", "logit:1", 1_000_000),
        ("logit", "boosted", 2000),
    ],
)
def test_every_figure_is_that_of_the_views(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, first: str, second: str, slice_scores: int
) -> None:
    """In one slice or many; corrections, repeats, redeliveries, failures and silence included."""
    monkeypatch.setattr(census_module, "SLICE_SCORES", slice_scores)
    monkeypatch.setattr(census_module, "_BIN", 32)
    found = compare(archive, Question(first=first, second=second))
    # Without a version, live scores count, if there are any.
    expected = figures(archive, *("boosted:3" if each == "boosted" else each for each in (first, second)))
    both = joined(archive, *("boosted:3" if each == "boosted" else each for each in (first, second)))
    scored = both[~both.failed_1 & ~both.failed_2]
    told = {each.key: (each.first, each.second) for each in found.differences}
    for key, values in expected.items():
        assert told[key] == pytest.approx(tuple(values), abs=1e-4 if key == "auc" else 1e-9), key
    assert set(told) - set(expected) == {"ece"}
    assert (found.pairing.rows, found.pairing.requests) == (len(both), both.index.get_level_values(0).nunique())
    assert found.agreement.labels == pytest.approx((scored.label_1 == scored.label_2).mean())
    assert found.agreement.kappa == pytest.approx(cohen_kappa_score(scored.label_1, scored.label_2))
    assert found.agreement.pearson == pytest.approx(scored.score_1.corr(scored.score_2))
    assert found.agreement.spearman == pytest.approx(scored.score_1.corr(scored.score_2, method="spearman"))
    assert found.agreement.numbers == pytest.approx(((scored.score_1 - scored.score_2).abs() <= 0.01).mean())
    assert (found.truth.rows, found.truth.positive) == (int(scored.truth_1.notna().sum()), "bad")


def test_worst_rows_are_those_farthest_apart_with_their_inputs(archive: Archive) -> None:
    """The ten rows of greatest difference, farthest first, each with id, outputs, truth and what was asked."""
    found = compare(archive, Question(first="tree", second="logit", worst=10))
    both = joined(archive, "tree", "logit")
    both = both[~both.failed_1 & ~both.failed_2]
    apart = (both.score_1 - both.score_2).abs().sort_values(ascending=False)
    assert [each.apart for each in found.worst] == pytest.approx(apart.head(10).tolist())
    for each in found.worst:
        row = both.loc[(each.request_id, each.row)]
        assert each.first == {"score": pytest.approx(row.score_1), "label": row.label_1}
        assert each.second == {"score": pytest.approx(row.score_2), "label": row.label_2}
        assert each.truth == (None if pd.isna(row.truth_1) else row.truth_1)
        [inputs] = archive.sql(
            "SELECT DISTINCT amount, purpose FROM inputs WHERE request_id = ? AND row = ?", [each.request_id, each.row]
        ).fetchall()
        assert (each.inputs["amount"], each.inputs["purpose"]) == inputs


def test_groups_hold_the_rows_of_their_value(archive: Archive) -> None:
    """By purpose: each group's figure is that of its rows, and its interval is wider than one of its own would be."""
    found = compare(archive, Question(first="boosted:3", second="logit", by="purpose"))
    assert found.groups is not None
    both = joined(archive, "boosted:3", "logit")
    scored = both[~both.failed_1 & ~both.failed_2]
    inputs = (
        archive.sql("SELECT request_id, row, arg_min(purpose, stream_sequence) AS purpose FROM inputs GROUP BY ALL")
        .df()
        .set_index(["request_id", "row"])
    )
    scored = scored.join(inputs)
    assert set(found.groups.rows) == set(scored.purpose)
    for purpose, rows in found.groups.rows.items():
        told = {each.key: each for each in rows}
        of_group = scored[scored.purpose == purpose]
        assert told["score"].difference == pytest.approx(by_request(of_group.score_2 - of_group.score_1))
    assert found.groups.alpha == pytest.approx(0.05 / len(found.groups.rows))


def test_a_number_with_many_values_groups_the_rest_together(archive: Archive) -> None:
    """Ten groups and all others: no row is left out."""
    found = compare(archive, Question(first="boosted:3", second="logit", by="duration_months"))
    assert found.groups is not None
    assert len(found.groups.rows) == 11
    assert list(found.groups.rows)[-1] == "(all others)"


def test_scores_of_a_replay_count_and_tell_no_latency(archive: Archive) -> None:
    """A candidate that has only been replayed is compared with live scores; what replays cannot know is left out."""
    found = compare(archive, Question(first="boosted:3", second="boosted:4"))
    keys = {each.key for each in found.differences}
    assert found.second.origin == "replay"
    assert (found.second.latency_ms, found.second.late) == (None, None)
    assert not keys & {"latency_ms", "late"}
    assert any("replay" in note for note in found.truth.notes)


@pytest.mark.parametrize(("since", "until"), [(1.0, None), (None, 1.0), (1.5, 0.5)])
@pytest.mark.parametrize("second", ["logit", "boosted:4"])
def test_a_span_of_time_is_that_of_the_requests(
    archive: Archive, second: str, since: float | None, until: float | None
) -> None:
    """Requests stored since and until a moment, whenever their scores came, replayed ones too."""
    begin, end = (None if days is None else END - dt.timedelta(days=days) for days in (since, until))
    found = compare(archive, Question(first="boosted:3", second=second), since=begin, until=end)
    conditions = [f"stored_at {sign} '{each}'" for sign, each in ((">=", begin), ("<", end)) if each is not None]
    asked = archive.sql(f"SELECT DISTINCT request_id FROM inputs WHERE {' AND '.join(conditions)}").df()
    expected = joined(archive, "boosted:3", second)
    count = expected.index.get_level_values(0).isin(asked.request_id).sum()
    assert found.pairing.rows == count
    assert 0 < count < REQUESTS * ROWS


ERRORS = {
    "unknown model": ({"second": "logti"}, "nearest it has is 'logit'"),
    "unknown version": ({"second": "boosted:5"}, "'boosted:4'|'boosted:3'"),
    "the same model twice": ({"second": "boosted:3"}, "share scores"),
    "a version of itself": ({"first": "logit", "second": "logit:1"}, "share scores"),
    "unknown output": ({"output": "risk"}, "there are default_probability, label"),
    "unknown column": ({"by": "colour"}, "there are amount, duration_months, purpose, phone"),
    "alpha": ({"alpha": 1.5}, "between 0 and 1, not 1.5"),
    "tolerance": ({"tolerance": -1.0}, "at least 0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_asked_is_told_with_what_can(archive: Archive, case: str) -> None:
    """One message: what was asked for, and what there is."""
    options, message = ERRORS[case]
    with pytest.raises(CompareError, match=message):
        compare(archive, Question(**({"first": "boosted:3", "second": "logit"} | options)))  # type: ignore[arg-type]


def test_a_time_without_scores_is_told(archive: Archive) -> None:
    """After the last request there is nothing to compare."""
    with pytest.raises(CompareError, match="no scores of that time"):
        compare(archive, Question(first="boosted", second="logit"), since=END + dt.timedelta(days=9))


def test_models_without_a_common_request_are_told_apart(tmp_path: Path) -> None:
    """Where each request has one of the two only, the message says how many of each, and what to do."""
    write_archive(tmp_path / "a", ArchivePlan(requests=50, models=TRIO[:1], seed=1))
    write_archive(
        tmp_path / "a",
        ArchivePlan(requests=40, models=(ModelPlan(name="boosted", silent=1.0), TRIO[1]), endpoint="other"),
    )
    with (
        open_archive(tmp_path / "a", endpoint="other") as archive,
        pytest.raises(CompareError, match="no scores of 'b"),
    ):
        compare(archive, Question(first="boosted", second="logit"))


def test_without_truth_it_says_what_is_left_out(tmp_path: Path) -> None:
    """No feedback: agreement and speed are compared, and a note says how to have the rest."""
    write_archive(tmp_path / "a", ArchivePlan(requests=80, models=TRIO[:2]))
    with open_archive(tmp_path / "a") as archive:
        found = compare(archive, Question(first="boosted", second="logit"))
    assert {each.key for each in found.differences} == {"failed", "late", "latency_ms", "score"}
    assert any("rendezvous feedback load" in note for note in found.truth.notes)
    assert next(each for each in found.differences if each.key == "latency_ms").verdict == TOO_FEW


def run(*arguments: str) -> Any:
    """The command, in this process."""
    return CliRunner().invoke(app, ["compare", *arguments])


def test_the_command_prints_json_and_writes_a_page(root: str, tmp_path: Path) -> None:
    """JSON on standard output holds all figures; the page is one file, without script and needing nothing else."""
    page = tmp_path / "report.html"
    done = run("boosted:3", "logit", "--archive", root, "--json", "--html", str(page), "--by", "purpose")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["pairing"]["requests"] == REQUESTS
    assert {"differences", "agreement", "groups", "worst", "truth"} <= set(document)
    text = page.read_text()
    assert text.count("<svg") >= 5
    assert "<script" not in text
    for loads in ("src=", "<link", "@import", "url(http"):
        assert loads not in text
    assert done.stdout.startswith("{")


def test_the_command_prints_text(root: str) -> None:
    """For people: which model is better at what, the intervals, the worst rows, and where the method is written."""
    done = run("boosted:3", "logit", "--archive", root, "--worst", "3")
    assert done.exit_code == 0, done.output
    for told in ("same requests", "Differences", "Brier score", "kappa", "Most disagreement", "Howard, Ramdas"):
        assert told in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["boosted", "lgit"], 1, "nearest"),
        (["boosted"], 2, "MODEL"),
        (["boosted", "logit", "--threshold", "nan"], 2, "threshold"),
        (["boosted", "logit", "--alpha", "2"], 2, "alpha"),
        (["boosted", "logit", "--positive", "zzz"], 1, "there are good, bad"),
        (["boosted", "logit", "--endpoint", "x"], 1, "no endpoint"),
    ],
)
def test_the_command_ends_with_one_message(root: str, arguments: list[str], status: int, message: str) -> None:
    """What is wrong, on standard error; 1, or 2 for wrong usage."""
    done = run(*arguments, "--archive", root)
    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_hostile_names_stand_in_the_page_as_text(tmp_path: Path) -> None:
    """Markup and mathematics in names of models, columns and values neither run nor break the pictures."""
    from rendezvous_router.compare.page import render_page  # noqa: PLC0415

    hostile = "<img src=x onerror=alert(1)>$\\frac{1"
    write_archive(tmp_path / "a", ArchivePlan(requests=60, models=(ModelPlan(name=hostile), TRIO[1]), truth=1.0))
    with open_archive(tmp_path / "a") as archive:
        found = compare(archive, Question(first=hostile, second="logit", by="purpose"))
    page = render_page(found)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    json.dumps(to_document(found), allow_nan=False)


MEASURED = """
import resource, sys
from rendezvous_sdk.archive.reader import open_archive
from rendezvous_router.compare import Question, census, compare
census.SLICE_SCORES = 15_000
with open_archive(sys.argv[1]) as archive:
    found = compare(archive, Question(first="boosted", second="logit"))
print(found.pairing.requests, found.pairing.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """Thirteen times the scores take at most a quarter more memory, and every request is counted."""
    peaks = []
    for requests in (30_000, 400_000):
        folder = tmp_path / str(requests)
        write_archive(folder, ArchivePlan(requests=requests, models=TRIO[:2], batch_requests=15_000, truth=0.05))
        done = subprocess.run(  # a process of its own: its peak is its own
            [sys.executable, "-c", MEASURED, str(folder)], capture_output=True, text=True, check=True, timeout=100
        )
        counted, rows, peak_mib = map(int, done.stdout.split())
        assert (counted, rows) == (requests, requests)
        peaks.append(peak_mib)
    assert peaks[1] <= 1.25 * peaks[0]

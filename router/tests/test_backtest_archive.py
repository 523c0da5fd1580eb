"""Backtests of a made-up record against the same figures asked in SQL."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from rendezvous_router.backtest import BacktestResult, PolicyFileError, read_policy, run_backtest
from rendezvous_router.backtest.quality import Positive
from rendezvous_router.backtest.report import notes, to_document
from rendezvous_router.backtest.run import Asked
from rendezvous_sdk.archive import open_archive
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tests.support.synthetic_archives import TRIO, ArchivePlan, ModelPlan, write_archive

REQUESTS = 3000
SPEC: dict[str, Any] = {
    "endpoint": "credit",
    "inputs": [],
    "outputs": [{"name": "default_probability", "type": "FP64"}, {"name": "label", "type": "STRING"}],
    "models": {
        "boosted": {"role": "champion"},
        "logit": {"role": "challenger"},
        "tree": {"role": "challenger"},
        "newcomer": {"role": "challenger"},
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An archive with truths, repeats and redelivered scores; its decisions come from no policy that it knows."""
    folder = tmp_path_factory.mktemp("backtest") / "archive"
    write_archive(folder, ArchivePlan(requests=REQUESTS, models=TRIO, truth=0.5, repeats=0.02, redelivered=0.05))
    return str(folder)


def tried(root: str, policy: dict[str, Any], **more: Any) -> BacktestResult:
    """Tries a policy on the whole record."""
    return run_backtest(
        Asked(root=root, tenant="default", endpoint="credit", document=SPEC | {"policy": policy}, **more)
    )


def test_who_would_have_answered_is_who_came_in_time(root: str) -> None:
    """The counts of each rule are those of the scores that came by its end, asked in SQL."""
    steps = [{"until": "6ms", "take": "best", "of": ["logit"]}, {"until": "30ms", "take": "best", "of": ["boosted"]}]
    result = tried(root, {"deadline": "100ms", "steps": steps})
    with open_archive(root, endpoint="credit") as archive:
        query = """
            WITH first AS (
                SELECT request_id, model, min_by(after_us, (stored_at, score_sequence)) AS after_us,
                    min_by(error_code, (stored_at, score_sequence)) AS error
                FROM scores SEMI JOIN (SELECT DISTINCT ON (request_id) request_id, parcel_id FROM decisions
                    ORDER BY request_id, stored_at, stream_sequence) USING (request_id, parcel_id)
                GROUP BY ALL),
            came AS (SELECT request_id, bool_or(model = 'logit' AND after_us <= 6000 AND error IS NULL) AS logit,
                bool_or(model = 'boosted' AND after_us <= 30000 AND error IS NULL) AS boosted FROM first GROUP BY 1)
            SELECT count(*) FILTER (logit), count(*) FILTER (NOT logit AND boosted),
                count(*) FILTER (NOT logit AND NOT boosted) FROM came
        """
        logit, boosted, nobody = archive.sql(query).fetchall()[0]
    rules = result.summary.tried.rules
    assert result.summary.tried.requests == REQUESTS
    assert min(logit, boosted, nobody) > 0
    assert (rules["steps[0].best"], rules["steps[1].best"], rules["none"]) == (logit, boosted, nobody)
    assert result.summary.tried.fallbacks == {"canary": 0, "otherwise": 0, "error": nobody}
    assert result.summary.tried.quantile_us(1.0) == 30_000
    assert result.left_out["repeats"] > 0
    assert result.never_scored == ["newcomer"]
    assert any("newcomer" in line for line in notes(result))


def test_quality_is_that_of_the_model_that_would_have_answered(root: str) -> None:
    """Accuracy, AUC, Brier score and log-loss are scikit-learn's of that model's scores where the truth is known."""
    policy = {"deadline": "60s", "steps": [{"take": "best", "of": ["logit"]}]}
    result = tried(root, policy, positive=Positive("label", "bad"))
    with open_archive(root, endpoint="credit") as archive:
        query = """
            SELECT o.default_probability, o.label, a.truth_label FROM outcomes o JOIN answers a USING (request_id, row)
            WHERE o.model = 'logit' AND a.truth_label IS NOT NULL
        """
        rows = archive.sql(query).fetchall()
    odds, labels, truths = zip(*rows, strict=True)
    positives = [truth == "bad" for truth in truths]
    measures = result.quality["tried"]
    assert measures["label"]["rows"] == len(rows) > REQUESTS / 3
    assert measures["label"]["accuracy"] == pytest.approx(
        sum(a == b for a, b in zip(labels, truths, strict=True)) / len(rows)
    )
    assert measures["default_probability"]["auc"] == pytest.approx(roc_auc_score(positives, odds), abs=1e-4)
    assert measures["default_probability"]["brier"] == pytest.approx(brier_score_loss(positives, odds))
    assert measures["default_probability"]["log_loss"] == pytest.approx(log_loss(positives, odds))
    assert measures != result.quality["recorded"]
    assert set(result.summary.tried.models) == {"logit"}


def test_a_record_without_any_score_is_decided_anew(tmp_path: Path) -> None:
    """Where no model was ever up, nobody could have answered: no score, no output column in the view, no failure."""
    write_archive(tmp_path, ArchivePlan(requests=40, models=(ModelPlan(name="logit", silent=1.0),)))
    shutil.rmtree(tmp_path / "tenant=default/endpoint=credit/_manifest/scores", ignore_errors=True)
    otherwise = {"default_probability": 0.5, "label": "refer"}
    policy = {"deadline": "100ms", "steps": [{"take": "best", "of": ["logit"]}], "otherwise": otherwise}
    result = tried(str(tmp_path), policy)
    assert result.summary.tried.requests == 40
    assert result.summary.tried.fallbacks["otherwise"] == 40


def test_a_document_holds_both_sides_and_finite_figures(root: str) -> None:
    """JSON has the same keys for what happened and what would have, shares that add up, and examples of changes."""
    document = to_document(tried(root, {"deadline": "100ms", "steps": [{"take": "median"}]}, samples=4))
    for side in ("recorded", "tried"):
        assert sum(document[side]["rules"].values()) == document["requests"] == REQUESTS
        assert all(math.isfinite(each) for each in document[side]["decided_after_us"].values())
    assert document["recorded"].keys() == document["tried"].keys()
    assert 0 < len(document["samples"]) <= 4
    assert sum(change["requests"] for change in document["changes"]) == document["changed_answers"]


def test_a_policy_alone_needs_a_recorded_specification(root: str, tmp_path: Path) -> None:
    """Where the record has none, and where a file holds neither, one message tells what to give instead."""
    with pytest.raises(PolicyFileError, match="give a whole endpoint file"):
        run_backtest(Asked(root=root, tenant="default", endpoint="credit", document={"policy": {"deadline": "1s"}}))
    other = {**SPEC, "endpoint": "loans", "policy": {"deadline": "1s"}}
    with pytest.raises(PolicyFileError, match="about endpoint loans"):
        run_backtest(Asked(root=root, tenant="default", endpoint="credit", document=other))
    path = tmp_path / "policy.yaml"
    for text, says in (
        ("models: {}", "section `policy:` alone"),
        ("policy: {deadline: 1s}\nmodels: {}", "beside `policy` it has models"),
        ("endpoint: e\npolicy: {deadline: 1}", "a duration needs its unit"),
    ):
        path.write_text(text)
        with pytest.raises(PolicyFileError, match=says):
            read_policy(path)

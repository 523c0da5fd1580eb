"""The credit endpoint: its specification, its models as they are served, and how they are summed up."""

from typing import Any

import pytest
import yaml
from rendezvous_proto import v1
from rendezvous_proto.frames import encode_frame, type_name
from rendezvous_proto.signatures import check_signature
from rendezvous_router.project import load_project, load_spec
from rendezvous_sdk import ErrorCode, as_model, testing

from examples.credit import card, elsewhere, scorecard
from examples.credit.applicants import split_applicants
from examples.credit.boosted import Boosted
from examples.credit.elsewhere import ELSEWHERE
from examples.credit.stack import HERE
from examples.credit.standing import Record, Scored, Standing, sum_up
from examples.credit.train import train


@pytest.fixture(scope="module", autouse=True)
def _trained() -> None:
    """Trains once, so that the models have something to load."""
    train()


@pytest.mark.parametrize("target", [Boosted, scorecard.score], ids=["boosted", "scorecard"])
def test_parcel_of_two_requests_is_scored_request_by_request(target: object) -> None:
    """A served model gives each request of a parcel its own rows, with the endpoint's output columns."""
    table = split_applicants()[1].table
    tables = [table.iloc[:1].to_dict("list"), table.iloc[1:4].to_dict("list")]
    with testing.Postbox(target) as box:
        score = box.deliver(box.parcel(*tables))
        alone = box.score(tables[0])
    assert [item.rows for item in score.items] == [1, 3]
    assert alone.names == ("default_probability", "label")
    assert set(alone["label"]) <= {"good", "bad"}


def test_missing_column_is_the_failure_of_that_model() -> None:
    """A request without a column that the rules need fails alone, and says that the model failed."""
    table = split_applicants()[1].table.iloc[:1].to_dict("list")
    with testing.Postbox(scorecard.score) as box:
        table.pop("savings")
        score = box.deliver(box.parcel(table))
    assert ErrorCode(score.items[0].error.code) is ErrorCode.MODEL_FAILED


def test_specification_takes_exactly_the_columns_of_the_data() -> None:
    """The endpoint's inputs are the columns of the data set, with their types."""
    spec = load_spec(HERE / "credit.yaml")
    frame = encode_frame(split_applicants()[1].table.to_dict("list"))
    assert [(column.name, column.type) for column in spec.inputs] == [
        (column.name, type_name(column.type)) for column in frame.columns
    ]
    assert {column.name: column.type for column in spec.outputs} == card.OUTPUTS
    columns = [v1.ColumnSpec(name=column.name, type=column.type) for column in frame.columns]
    check_signature(frame, columns, what="credit")


def test_project_runs_the_models_of_the_endpoint() -> None:
    """Each model of the specification is run by the project file; its program exists."""
    spec, project = load_spec(HERE / "credit.yaml"), load_project(HERE / "rendezvous.yaml")
    assert set(project.models) == {*spec.models, *spec.enrichers}
    for name, model in project.models.items():
        if name in ELSEWHERE:
            assert (HERE / model.arguments[1]).is_file()
        else:
            assert model.arguments[-2:] == ["--name", name]
    assert as_model(Boosted).name == "boosted"


def test_python_stands_in_where_a_language_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint keeps its four models, and what was left out is said with the way to get it."""
    monkeypatch.setattr(elsewhere, "is_built", lambda language: language.name != "java")
    models = elsewhere.read_project()["models"]
    assert models["logit"]["run"] == "Rscript logit.R serve"
    assert models["forest"]["run"].startswith("rendezvous-model serve examples.credit.forest:Forest")
    [line] = elsewhere.describe_left_out()
    assert "forest is served by Python instead of Java" in line
    assert "apt-get install openjdk-17-jdk-headless maven" in line


def test_model_says_what_it_was_trained_on() -> None:
    """After training, the model's description carries the data's hash and the AUC."""
    training = card.describe_training("boosted")
    assert len(training.data_sha256) == 64
    assert training.metrics["auc"] > 0.75


def make_record(labels: dict[str, str], times_ms: dict[str, float]) -> Record:
    """A record of one request, `r1`, won by the champion."""
    record = Record()
    for model, label in labels.items():
        probability = 0.9 if label == "bad" else 0.1
        record.scores[model]["r1"] = Scored(probability, label, times_ms[model], times_ms[model] > 100)
    record.decisions["r1"] = v1.Decision(request_id="r1", models=["boosted"])
    return record


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("boosted", {"answered": 1, "won": 1, "late": 0, "agreement": 1.0, "p50_ms": 3.0}),
        ("logit", {"answered": 1, "won": 0, "late": 1, "agreement": 0.0, "p50_ms": 300.0}),
        ("forest", {"answered": 0, "won": 0, "late": 0, "agreement": 0.0}),
    ],
)
def test_standing_counts_answers_wins_and_lateness(model: str, expected: dict[str, Any]) -> None:
    """A model's row has what it answered and won, what was late, and how often it agrees with the champion."""
    record = make_record({"boosted": "bad", "logit": "good"}, {"boosted": 3.0, "logit": 300.0})
    standings = {each.model: each for each in sum_up(record, ["boosted", "logit", "forest"], "boosted", {"r1": 1})}
    standing: Standing = standings[model]
    for name, value in expected.items():
        assert getattr(standing, name) == value


def test_specification_file_is_plain_yaml() -> None:
    """The key `on` survives YAML 1.1, where it would mean true."""
    steps = yaml.safe_load((HERE / "credit.yaml").read_text())["policy"]["steps"]
    assert steps[1]["on"] == "label"

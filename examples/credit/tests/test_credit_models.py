"""Training and the four models of the credit example."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from examples.credit import estimators, scorecard, train
from examples.credit.applicants import load_applicants, split_applicants
from examples.credit.boosted import Boosted
from examples.credit.features import CATEGORIES, NUMBERS, WIDTH, encode
from examples.credit.forest import Forest
from examples.credit.history import History, make_up
from examples.credit.logit import Logit

TRAINED: dict[str, type[Boosted | Logit | Forest]] = {"boosted": Boosted, "logit": Logit, "forest": Forest}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, float]]:
    """Models trained into a folder of their own; gives the AUC by model."""
    folder = tmp_path_factory.mktemp("artefacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "FOLDER", folder)
        patch.setattr(train, "REPORT", folder / "training.json")
        yield dict(train.train())


def make_scorer(name: str) -> Callable[[Any], dict[str, Any]]:
    """Returns the scoring function of one of the four models."""
    if name == "scorecard":
        return scorecard.score
    model = TRAINED[name]()
    model.setup()
    return model.score


@pytest.mark.parametrize(("name", "floor"), [("boosted", 0.77), ("logit", 0.77), ("forest", 0.75), ("scorecard", 0.70)])
def test_each_model_ranks_held_out_applicants_well(trained: dict[str, float], name: str, floor: float) -> None:
    """Every model tells bad loans from good ones on applicants that it never saw."""
    _, held_out = split_applicants()
    answer = make_scorer(name)(held_out.table)
    assert roc_auc_score(held_out.defaulted, answer["default_probability"]) >= floor
    assert set(answer["label"]) == {"good", "bad"}


def test_training_again_gives_the_same_models(trained: dict[str, float]) -> None:
    """Two trainings end in the same predictions, to the last bit."""
    _, held_out = split_applicants()
    before = {name: make_scorer(name)(held_out.table)["default_probability"] for name in TRAINED}
    train.train()
    for name, expected in before.items():
        np.testing.assert_array_equal(make_scorer(name)(held_out.table)["default_probability"], expected)


def test_split_is_stratified_and_disjoint() -> None:
    """700 applicants for training, 300 held out, three bad loans in ten in both."""
    training, held_out = split_applicants()
    assert (len(training.table), len(held_out.table)) == (700, 300)
    assert (sum(training.defaulted), sum(held_out.defaulted)) == (210, 90)


def test_every_category_of_the_data_is_known() -> None:
    """Each category sets exactly one feature; the numbers are taken as they are."""
    training, _ = split_applicants()
    features = encode(training.table)
    assert features.shape == (700, WIDTH)
    assert (features[:, len(NUMBERS) :].sum(axis=1) == len(CATEGORIES)).all()
    np.testing.assert_array_equal(features[:, 1], training.table["credit_amount"])


def test_unknown_category_sets_no_feature() -> None:
    """A category that training never saw is scored as none, not refused."""
    _, held_out = split_applicants()
    applicant = held_out.table.iloc[:1].to_dict("list") | {"purpose": ["a yacht"]}
    assert encode(applicant)[0, len(NUMBERS) :].sum() == len(CATEGORIES) - 1


@pytest.mark.parametrize(
    ("change", "points"),
    [({}, 15), ({"checking_account": "... < 0 DM"}, 0), ({"duration_months": 48, "age_years": 20}, 0)],
)
def test_scorecard_adds_the_points_of_the_rules_that_hold(change: dict[str, Any], points: int) -> None:
    """Points start at the base and move by each rule that holds."""
    plain = {
        "checking_account": "0 <= ... < 200 DM",
        "savings": "... < 100 DM",
        "duration_months": 24,
        "credit_amount": 2000,
        "employed_since": "1 <= ... < 4 years",
        "other_installment_plans": "none",
        "property": "real estate",
        "age_years": 40,
    }
    table = {name: [value] for name, value in (plain | change).items()}
    assert scorecard.count_points(table) == [points]
    assert scorecard.to_probability(0) == 0.5


def test_scorecard_counts_what_the_enricher_adds() -> None:
    """Someone who was late before loses points, a known payer gains some; who is not known has the ten rules alone."""
    table = load_applicants().table.head(50)
    enricher = History()
    enricher.setup()
    added = enricher.score(table)
    plain = scorecard.count_points(table)
    changes = [after - before for before, after in zip(plain, scorecard.count_points({**table, **added}), strict=True)]
    for change, loans, days in zip(changes, added["past_loans"], added["worst_delay_days"], strict=True):
        assert change == (5 if loans > 1 else 0) - (10 if days is not pd.NA and days > 30 else 0)
    assert set(changes) == {-10, -5, 0, 5}


def test_history_is_the_made_up_one_and_knows_nothing_of_the_outcome() -> None:
    """The table is what `make_up` gives; it knows about nine applicants in ten, and a stranger has no history."""
    enricher = History()
    enricher.setup()
    made = make_up()
    assert {customer: [loans, days] for customer, loans, days in made} == enricher._known
    assert 850 < len(made) < 950
    stranger = enricher.score({"customer_id": ["C9999", None]})
    assert (stranger["past_loans"], stranger["worst_delay_days"].isna().tolist()) == ([0, 0], [True, True])


def test_missing_artefact_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was not trained yet names the command that trains it."""
    monkeypatch.setattr(estimators, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"python -m examples\.credit\.train"):
        Boosted().setup()

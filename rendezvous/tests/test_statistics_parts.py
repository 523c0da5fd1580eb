"""Accumulators against scikit-learn and scipy, whole and merged from parts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendezvous.statistics import (
    Calibration,
    Confusion,
    GroupedMoments,
    JointMoments,
    Moments,
    NumberAgreement,
    Quantiles,
    Ranking,
    Smallest,
    brier,
    log_loss,
    rank_correlation,
    request_means,
)
from rendezvous.statistics.requests import number_requests
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score
from sklearn.metrics import log_loss as known_log_loss

RNG = np.random.default_rng(4)
SIZE = 20_000
TRUTH = RNG.random(SIZE) < 0.3
SCORES = np.clip(RNG.normal(0.3 + 0.2 * TRUTH, 0.2), 0, 1)
OTHERS = np.clip(SCORES + RNG.normal(0, 0.1, SIZE), 0, 1)


def merged(make: Callable[[], Any], *columns: np.ndarray) -> Any:
    """An accumulator of the columns, fed in five batches to two of its kind which are then merged."""
    one, other = make(), make()
    for place, part in enumerate(np.array_split(np.arange(len(columns[0])), 5)):
        (one if place % 2 else other).add(*(column[part] for column in columns))
    one.merge(other)
    return one


RANKED = {
    "probabilities": 1 / (1 + np.exp(-RNG.normal(TRUTH, 1.5))),
    "at the ends": SCORES,
    "with ties": np.round(SCORES, 1),
    "huge and negative": (SCORES - 0.5) * np.power(10.0, RNG.integers(-200, 200, SIZE)),
    "infinite": np.where(SCORES > 0.9, np.inf, SCORES),
}


@pytest.mark.parametrize("name", RANKED)
def test_auc_is_that_of_scikit_learn_within_the_error_it_tells(name: str) -> None:
    """The histogram's AUC differs from the exact one by no more than it says, and that is little."""
    ranking = merged(Ranking, RANKED[name], TRUTH)
    exact = roc_auc_score(TRUTH, np.nan_to_num(RANKED[name]))
    assert abs(ranking.auc - exact) <= ranking.auc_error + 1e-12
    assert (ranking.positives, ranking.negatives) == (TRUTH.sum(), (~TRUTH).sum())
    if name == "probabilities":
        assert ranking.auc_error < 1e-4


def test_auc_of_one_class_is_unknown() -> None:
    """Without negatives, or without anything, there is no AUC."""
    ranking = Ranking()
    assert math.isnan(ranking.auc)
    ranking.add(SCORES, np.ones(SIZE, np.bool_))
    assert math.isnan(ranking.auc)


@given(st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=2, max_size=50))
def test_auc_of_few_distinct_scores_is_exact(pairs: list[tuple[int, bool]]) -> None:
    """Small whole numbers fall into bins of their own: ties count half, nothing else is approximated."""
    scores, truth = np.asarray([p[0] for p in pairs], float), np.asarray([p[1] for p in pairs])
    ranking = merged(Ranking, scores, truth)
    if truth.all() or not truth.any():
        assert math.isnan(ranking.auc)
    else:
        assert ranking.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_losses_are_those_of_scikit_learn() -> None:
    """Log-loss and Brier score, sure and wrong scores among them."""
    scores = np.concatenate((SCORES, [0.0, 1.0]))
    truth = np.concatenate((TRUTH, [True, False]))
    assert log_loss(scores, truth).mean() == pytest.approx(known_log_loss(truth, scores), rel=1e-9)
    assert brier(scores, truth).mean() == pytest.approx(brier_score_loss(truth, scores), rel=1e-12)


def test_kappa_is_that_of_scikit_learn() -> None:
    """Agreement and kappa of three labels, batches naming them in another order each."""
    names = np.asarray(["good", "bad", "refer"])
    first = RNG.integers(0, 3, SIZE)
    second = np.where(RNG.random(SIZE) < 0.7, first, RNG.integers(0, 3, SIZE))
    one, other = Confusion(), Confusion()
    one.add(list(names), first[:9000], second[:9000])
    other.add(list(names[::-1]), 2 - first[9000:], 2 - second[9000:])
    one.merge(other)
    assert one.agreement == pytest.approx((first == second).mean())
    assert one.kappa == pytest.approx(cohen_kappa_score(first, second), rel=1e-12)
    assert one.total == SIZE


def test_labels_without_end_do_not_take_memory_without_end() -> None:
    """Beyond the limit labels share one name; what is counted stays all."""
    confusion = Confusion(most_labels=5)
    for start in range(0, 100, 10):
        names = [str(each) for each in range(start, start + 10)]
        confusion.add(names, np.arange(10), np.arange(10))
    assert confusion.counts.shape == (6, 6)
    assert confusion.labels[-1] == Confusion.REST
    assert confusion.total == 100


def test_correlations_are_those_of_scipy() -> None:
    """Pearson from merged moments; Spearman with ties; neither where one side does not vary."""
    assert merged(JointMoments, SCORES, OTHERS).correlation == pytest.approx(pearsonr(SCORES, OTHERS)[0], rel=1e-9)
    rough = np.round(SCORES, 1)
    assert rank_correlation(rough, OTHERS) == pytest.approx(spearmanr(rough, OTHERS)[0], rel=1e-9)
    assert math.isnan(merged(JointMoments, SCORES, np.ones(SIZE)).correlation)
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))


def test_moments_survive_a_large_offset() -> None:
    """Mean and variance are exact beside a billion, where sums of squares alone lose all digits."""
    moments = merged(Moments, SCORES + 1e9)
    assert moments.mean - 1e9 == pytest.approx(SCORES.mean(), abs=1e-6)
    assert moments.variance == pytest.approx(SCORES.var(), rel=1e-4)


def test_calibration_tells_each_bin_and_the_expected_error() -> None:
    """Bins hold mean probability and share that came true; 1.0 belongs to the last."""
    scores = np.asarray([0.05, 0.05, 0.15, 1.0])
    calibration = merged(lambda: Calibration(10), scores, np.asarray([True, False, False, True]))
    assert calibration.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert calibration.predicted[:2] == pytest.approx([0.05, 0.15])
    assert calibration.came_true[0] == 0.5
    assert math.isnan(calibration.came_true[5])
    assert calibration.error == pytest.approx((2 * 0.45 + 0.15) / 4)


def test_quantiles_are_right_within_the_error_of_rank_that_is_told() -> None:
    """A million values, merged from parts: each quantile's share is within the error told; few are exact."""
    values = RNG.lognormal(3, 1, 1_000_000)
    quantiles = merged(Quantiles, values)
    shares = [0.01, 0.25, 0.5, 0.75, 0.95, 0.99]
    assert 0 < quantiles.rank_error < 0.002
    for share, found in zip(shares, quantiles.at(shares), strict=True):
        assert abs((values <= found).mean() - share) <= 2 * quantiles.rank_error
    assert (quantiles.least, quantiles.greatest) == (values.min(), values.max())
    few = merged(Quantiles, np.asarray([3.0, 1.0, 2.0, math.nan, 4.0, 5.0]))
    assert (few.count, few.rank_error, few.at([0.5])) == (5, 0.0, [3.0])
    assert few.shares_within(np.asarray([1.0, 3.0, 5.0])) == pytest.approx([0.6, 0.4])
    assert math.isnan(Quantiles().at([0.5])[0])


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 10))
def test_the_smallest_are_kept_whatever_the_batches(keys: list[int], size: int) -> None:
    """After any batches and a merge, the rows with the smallest keys are there, and their columns beside them."""
    array = np.asarray(keys, np.int64)
    one, other = Smallest(size), Smallest(size)
    for place, part in enumerate(np.array_split(array, 4)):
        (one if place % 2 else other).add(part, {"key": part, "double": part * 2})
    one.merge(other)
    assert one.columns["key"].tolist() == sorted(keys)[:size]
    assert one.columns["double"].tolist() == [2 * each for each in sorted(keys)[:size]]


def test_numbers_agree_within_the_tolerance() -> None:
    """A difference of just the tolerance agrees; the greatest difference is told."""
    found = merged(lambda: NumberAgreement(0.5), np.asarray([1.0, 2.0, 3.0]), np.asarray([1.5, 2.0, 4.0]))
    assert (found.share, found.greatest, found.total) == (pytest.approx(2 / 3), 1.0, 3)


def test_rows_of_a_request_count_as_one_value() -> None:
    """A request's value is the mean of its rows; where each row is a request, nothing changes."""
    requests = np.asarray([7, 7, 9, 7, 3])
    numbers, count = number_requests(requests)
    assert count == 3
    assert request_means(np.asarray([0.0, 3.0, 5.0, 0.0, 2.0]), numbers).tolist() == [2.0, 1.0, 5.0]
    assert number_requests(np.asarray([4, 2, 1])) == (None, 3)
    assert number_requests(np.zeros(0, np.int64)) == (None, 0)


def test_moments_of_groups_are_those_of_each_apart() -> None:
    """Each group, each with all before it, and all together; a group without values has none."""
    groups = RNG.integers(0, 4, SIZE)
    grouped = merged(lambda: GroupedMoments(5), OTHERS, groups)
    for number, (own, so_far) in enumerate(zip(grouped.each(), grouped.up_to_each(), strict=True)):
        for found, expected in ((own, OTHERS[groups == number]), (so_far, OTHERS[groups <= number])):
            assert found.count == len(expected)
            if len(expected):
                assert (found.mean, found.variance) == pytest.approx((expected.mean(), expected.var()), rel=1e-9)
    assert grouped.total().mean == pytest.approx(OTHERS.mean())
    assert math.isnan(grouped.each()[4].variance)

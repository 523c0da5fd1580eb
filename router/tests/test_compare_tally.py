"""What is counted of pairs of scores: errors of numbers, thresholds, labels without end."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rendezvous_router.compare.pairs import Pairs, Scores, Vocabulary
from rendezvous_router.compare.tally import Tally, Target


def _pairs(first: np.ndarray, second: np.ndarray) -> Pairs:
    """Pairs of numbers, two rows to a request."""
    count = len(first)
    none = np.full(count, Vocabulary.NONE)
    no = np.zeros(count, np.bool_)
    places = np.arange(count, dtype=np.uint64)
    sides = (Scores(each, none, no, no, np.full(count, 5000.0)) for each in (first, second))
    return Pairs(places // 2, places, np.ones(count, np.int64), np.arange(count) // 2, *sides)


def _tally(target: Target, vocabulary: Vocabulary) -> Tally:
    return Tally(
        target,
        groups=0,
        worst=3,
        tolerance=0.5,
        vocabulary=vocabulary,
        span_us=(0, 999),
        are_live=True,
        has_scores=True,
    )


def test_numbers_are_compared_by_their_errors() -> None:
    """Where the truth is a number: absolute and squared error and bias, of each request; unknown rows are left out."""
    rng = np.random.default_rng(8)
    truth = rng.normal(50, 10, 1000)
    first, second = truth + rng.normal(1, 2, 1000), truth + rng.normal(0, 1, 1000)
    known = np.where(np.arange(1000) % 5 == 0, np.nan, truth)
    tally = _tally(Target(task="numbers"), Vocabulary())
    for part in np.array_split(np.arange(1000), 2):
        tally.add(_pairs(first[part], second[part]), known[part], None)
    frame = pd.DataFrame({"request": np.arange(1000) // 2, "a": first - known, "b": second - known}).dropna()
    for key, loss in (("mae", np.abs), ("mse", np.square), ("bias", lambda x: x)):
        means = [loss(frame[column]).groupby(frame.request).mean().mean() for column in ("a", "b")]
        assert tally.measures[key].means == pytest.approx(means)
    verdicts = {key: tally.measures[key].difference(0.05, tally.ends_us, bound=None) for key in ("mae", "bias")}
    assert verdicts["mae"].verdict == "second is better"
    assert verdicts["bias"].verdict == "second is lower"


def test_a_threshold_stands_in_for_a_label() -> None:
    """Scores from the threshold on mean the positive class, whether truths are labels or 0 and 1."""
    scores, truth = np.asarray([0.2, 0.7, 0.9, 0.4]), np.asarray([0.0, 1.0, 0.0, 1.0])
    tally = _tally(Target(task="classes", threshold=0.7), Vocabulary())
    tally.add(_pairs(scores, 1 - scores), truth, None)
    assert tally.measures["accuracy"].means == pytest.approx((0.5, 0.25))
    vocabulary = Vocabulary()
    bad = vocabulary.number("bad")
    labelled = _tally(Target(task="classes", is_text=True, positive=bad, threshold=0.7), vocabulary)
    labelled.add(_pairs(scores, 1 - scores), np.where(truth == 1, bad, 7.0), None)
    assert labelled.measures["accuracy"].means == pytest.approx((0.5, 0.25))


def test_labels_without_end_are_never_taken_for_equal() -> None:
    """Free text as label: beyond a thousand different ones memory stays bounded, and unknown ones differ."""
    vocabulary = Vocabulary()
    numbers = [vocabulary.number(str(each)) for each in range(1500)]
    assert numbers[999] == 999
    assert set(numbers[1000:]) == {Vocabulary.OTHER}
    pairs = _pairs(np.zeros(1500), np.zeros(1500))
    labels = np.asarray(numbers)
    pairs.first.label[:], pairs.second.label[:] = labels, labels
    tally = _tally(Target(task=None), vocabulary)
    tally.add(pairs, np.full(1500, np.nan), None)
    assert tally.labels_differ.mean == pytest.approx(500 / 1500)


@pytest.mark.parametrize("side", ["first", "second"])
def test_labels_without_end_on_one_side_alone_are_counted(side: str) -> None:
    """One model has thousands of labels, the other one: they agree on none, whichever of the two it is."""
    vocabulary = Vocabulary()
    one = vocabulary.number("one")
    pairs = _pairs(np.zeros(1500), np.zeros(1500))
    many = np.asarray([vocabulary.number(f"label {each}") for each in range(1500)])
    sides = {each: replace(getattr(pairs, each), label=np.full(1500, one)) for each in ("first", "second")}
    sides[side] = replace(sides[side], label=many)
    tally = _tally(Target(task=None), vocabulary)
    tally.add(replace(pairs, **sides), np.full(1500, np.nan), None)
    assert tally.labels_differ.mean == 1.0
    assert (tally.confusion.total, tally.confusion.agreement) == (1500, 0.0)

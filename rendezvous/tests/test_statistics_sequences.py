"""Confidence sequences: what they promise, by simulation, beside an ordinary interval that does not keep it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendezvous.statistics import (
    GREATEST_LOG_LOSS,
    MINIMUM_REQUESTS,
    Moments,
    bounded_interval,
    mixture_boundary,
    unbounded_interval,
)

ALPHA = 0.05
PATHS, LENGTH = 600, 2000
RNG_SEED = 20


def signs(rng: np.random.Generator, differing: float) -> np.ndarray:
    """Differences of two equally good models' hits: -1 or 1 where they differ, else 0."""
    return rng.choice([-1.0, 0.0, 1.0], (PATHS, LENGTH), p=[differing / 2, 1 - differing, differing / 2])


def skewed(rng: np.random.Generator) -> np.ndarray:
    """Mean zero, within [-1, 1]: often a little below, seldom far above."""
    return np.where(rng.random((PATHS, LENGTH)) < 0.05, 0.95, -0.05)


def drifting(rng: np.random.Generator) -> np.ndarray:
    """The better model changes every 50 requests; on average over any hundred there is no difference."""
    centre = np.where(np.arange(LENGTH) // 50 % 2 == 0, 0.1, -0.1)
    centre[: LENGTH // 2] = 0.0
    return np.where(rng.random((PATHS, LENGTH)) < (1 + centre) / 2, 1.0, -1.0) - centre


def boundary(squares: np.ndarray, alpha: float) -> np.ndarray:
    """The boundary between its values at 400 places: as good as computing it at each."""
    places = np.concatenate(([0.0], np.geomspace(1e-3, squares.max() + 1e-3, 400)))
    return np.interp(squares, places, mixture_boundary(places, alpha))


def false_alarms(values: np.ndarray, radius: np.ndarray, first: int = 1) -> float:
    """Share of paths on which the interval around the mean so far excludes 0 at any look from the first on."""
    means = np.cumsum(values, axis=1) / np.arange(1, LENGTH + 1)
    return float((np.abs(means) > radius)[:, first - 1 :].any(axis=1).mean())


def bounded_radius(values: np.ndarray, bound: float = 1.0) -> np.ndarray:
    """Half the width of `bounded_interval` after each value."""
    squares = np.cumsum((values / bound) ** 2, axis=1)
    return bound * boundary(squares, ALPHA / 2) / np.arange(1, LENGTH + 1)


def running_deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation of all values so far."""
    n = np.arange(1, LENGTH + 1)
    means = np.cumsum(values, axis=1) / n
    return np.sqrt(np.maximum(np.cumsum(values**2, axis=1) / n - means**2, 0))


NULLS = {
    "seldom differing": lambda rng: (signs(rng, 0.05), 1.0),
    "often differing": lambda rng: (signs(rng, 0.8), 1.0),
    "uniform": lambda rng: (rng.uniform(-1, 1, (PATHS, LENGTH)), 1.0),
    "skewed": lambda rng: (skewed(rng), 1.0),
    "drifting": lambda rng: (drifting(rng), 1.1),
}


@pytest.mark.parametrize("name", NULLS)
def test_looking_after_every_request_raises_no_false_alarm_beyond_alpha(name: str) -> None:
    """Where there is no difference, at most alpha of the sequences ever say there is, looked at after every request."""
    values, bound = NULLS[name](np.random.default_rng(RNG_SEED))
    assert false_alarms(values, bounded_radius(values, bound)) <= ALPHA


@pytest.mark.parametrize("name", ["often differing", "uniform"])
def test_an_ordinary_interval_looked_at_after_every_request_is_wrong_far_more_often(name: str) -> None:
    """The same simulation finds the interval of the normal distribution wrong: so it can find errors."""
    values, _ = NULLS[name](np.random.default_rng(RNG_SEED))
    naive = 1.96 * running_deviation(values) / np.sqrt(np.arange(1, LENGTH + 1))
    assert false_alarms(values, naive, first=100) > 3 * ALPHA


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_the_asymptotic_sequence_keeps_alpha_for_values_without_bounds(draw: str) -> None:
    """Differences of latencies, normal or of heavy tail: at most alpha of the sequences err."""
    rng = np.random.default_rng(RNG_SEED)
    shape = (PATHS, LENGTH)
    values = rng.normal(0, 30, shape) if draw == "normal" else rng.exponential(5, shape) - rng.exponential(5, shape)
    radius = np.zeros(LENGTH)
    for n in range(MINIMUM_REQUESTS, LENGTH + 1):
        interval = unbounded_interval(Moments(n, 0.0, float(n)), alpha=ALPHA)
        assert interval is not None
        radius[n - 1] = interval.high
    assert false_alarms(values, radius * running_deviation(values), first=MINIMUM_REQUESTS) <= ALPHA


@pytest.mark.parametrize(("mean", "spread"), [(0.3, 0.2), (-0.02, 0.5), (0.9, 0.05)])
def test_the_true_difference_is_inside_at_every_look(mean: float, spread: float) -> None:
    """With a difference, the interval covers it at all looks of at least 1 - alpha of the sequences, and finds it."""
    rng = np.random.default_rng(RNG_SEED)
    values = np.clip(mean + rng.uniform(-spread, spread, (PATHS, LENGTH)), -1, 1)
    radius = bounded_radius(values)
    means = np.cumsum(values, axis=1) / np.arange(1, LENGTH + 1)
    truth = float(np.clip(mean + np.linspace(-spread, spread, 100_001), -1, 1).mean())
    assert float((np.abs(means - truth) > radius).any(axis=1).mean()) <= ALPHA
    if abs(mean) > 0.1:
        assert (np.abs(means[:, -1]) > radius[:, -1]).all()


@given(st.floats(0, 1e9), st.floats(1e-6, 0.5))
def test_the_boundary_solves_its_equation(squares: float, alpha: float) -> None:
    """At the boundary, the mixture of martingales is 1 / alpha, for any sum of squares."""
    u = float(mixture_boundary(np.asarray([squares]), alpha)[0])
    rates = [2.0 ** -(k + 0.5) for k in range(12)]
    exponents = [r * u - (-math.log1p(-r) - r) * squares for r in rates]
    top = max(exponents)
    log_mixture = top + math.log(sum(math.exp(each - top) for each in exponents) / len(rates))
    assert log_mixture == pytest.approx(-math.log(alpha), abs=1e-6)


def test_the_boundary_is_near_that_of_the_best_rate_over_five_orders_of_magnitude() -> None:
    """The price of holding at all looks is less than twice the width of an interval that holds once."""
    squares = np.geomspace(10, 1e8, 50)
    ratio = mixture_boundary(squares, ALPHA / 2) / np.sqrt(squares)
    assert (ratio > 1.96).all()
    assert (ratio[squares > 1000] < 2 * 1.96).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.randoms())
def test_the_order_of_requests_does_not_matter(values: list[float], order: object) -> None:
    """Parts counted apart, in any order, and merged give the same interval."""
    shuffled = list(values)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    half = len(values) // 2
    parts = Moments.of(np.asarray(shuffled[:half]))
    parts.merge(Moments.of(np.asarray(shuffled[half:])))
    one, other = bounded_interval(Moments.of(np.asarray(values)), bound=1.0), bounded_interval(parts, bound=1.0)
    assert (one.low, one.high, one.estimate) == pytest.approx((other.low, other.high, other.estimate), abs=1e-9)


def test_without_requests_an_interval_says_nothing() -> None:
    """No request: the whole range; too few for the asymptotic one: none at all."""
    nothing = bounded_interval(Moments(), bound=1.0)
    assert (nothing.low, nothing.high, nothing.excludes_zero) == (-1.0, 1.0, False)
    assert unbounded_interval(Moments.of(np.arange(MINIMUM_REQUESTS - 1.0))) is None
    assert unbounded_interval(Moments.of(np.arange(float(MINIMUM_REQUESTS)))) is not None


def test_values_that_are_all_equal_tell_nothing_of_rare_ones() -> None:
    """Where a sure and wrong score is seldom, none has come yet: no interval without bounds, a wide one within them."""
    assert unbounded_interval(Moments.of(np.zeros(100_000))) is None
    bounded = bounded_interval(Moments.of(np.zeros(1000)), bound=GREATEST_LOG_LOSS)
    assert bounded.high > 0.002 * GREATEST_LOG_LOSS
    assert bounded_interval(Moments.of(np.zeros(100_000)), bound=GREATEST_LOG_LOSS).high < 0.01


def test_log_losses_keep_alpha_however_rare_the_large_ones_are() -> None:
    """One in five hundred scores is sure and wrong: within the bound of log-losses, at most alpha of sequences err."""
    rng = np.random.default_rng(RNG_SEED)
    values = np.where(rng.random((PATHS, LENGTH)) < 0.002, GREATEST_LOG_LOSS, rng.normal(0, 0.1, (PATHS, LENGTH)))
    truth = 0.002 * GREATEST_LOG_LOSS
    means = np.cumsum(values, axis=1) / np.arange(1, LENGTH + 1)
    assert float((np.abs(means - truth) > bounded_radius(values, GREATEST_LOG_LOSS)).any(axis=1).mean()) <= ALPHA


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_alpha_that_is_no_chance_is_refused(alpha: float) -> None:
    """Alpha lies between 0 and 1; the message says what it was."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        bounded_interval(Moments.of(np.zeros(3)), bound=1.0, alpha=alpha)

"""Confidence sequences: intervals that hold at every look, however often one looks and whenever one stops.

An ordinary 95 % interval is right in 95 % of cases if it is computed once, at a size fixed beforehand. Whoever computes
it every day and stops when it leaves zero is wrong far more often. The intervals here are right at all looks together:
P(there is a look at which the mean lies outside) <= alpha.

Both depend on what they were given only through its number, sum and sum of squares. So the order in which requests
became complete does not matter, parts can be counted apart and merged, and a truth that comes late joins the sequence.

Sources:
    S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon: Time-uniform, nonparametric, nonasymptotic confidence sequences.
    Annals of Statistics 49(2), 2021: theorem 4 (empirical Bernstein) and section 3 (mixtures). arXiv:1810.08240.
    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas: Time-uniform central limit theory and asymptotic
    confidence sequences. Annals of Statistics 52(6), 2024: theorem 2.2. arXiv:2103.06476.
"""

import math
from dataclasses import dataclass

import numpy as np

from rendezvous.statistics._arrays import Floats
from rendezvous.statistics.moments import Moments

__all__ = [
    "ASYMPTOTIC",
    "EMPIRICAL_BERNSTEIN",
    "MINIMUM_REQUESTS",
    "Interval",
    "bounded_interval",
    "mixture_boundary",
    "unbounded_interval",
]

EMPIRICAL_BERNSTEIN = "empirical Bernstein (Howard, Ramdas, McAuliffe, Sekhon 2021)"
"""Holds at any number of requests, for values within known bounds."""

ASYMPTOTIC = "asymptotic (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024)"
"""Holds from a number of requests on at which the central limit theorem does; for values without known bounds."""

MINIMUM_REQUESTS = 500
"""Fewer give no asymptotic interval. From here on exponential values, and log-normal ones of sigma 1, keep alpha."""

# The mixture: twelve rates, each half of the one before, of equal weight. It is near its best for sums of squares from
# about 10 to 10^8 times the squared bound, and holds for all.
_RATES: Floats = np.exp2(-(np.arange(12, dtype=np.float64) + 0.5))
_COSTS: Floats = -np.log1p(-_RATES) - _RATES
_LOG_WEIGHT = -math.log(len(_RATES))
_NEWTON_STEPS = 30

# The asymptotic sequence is narrowest at about this many requests. It must not depend on what was seen.
_NARROWEST_AT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a mean lies, with what certainty, and by which method."""

    estimate: float
    """The mean of the requests."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    requests: int
    """How many requests it is drawn from."""
    alpha: float
    """Chance, over all looks, that the mean is ever outside."""
    method: str
    """`EMPIRICAL_BERNSTEIN` or `ASYMPTOTIC`."""

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside: a difference is there."""
        return self.low > 0 or self.high < 0


def mixture_boundary(squares: Floats, alpha: float) -> Floats:
    """Returns the boundary that a sum of centred values, each at most 1, crosses at any time with chance <= alpha.

    u(v) solves (1/K) sum_k exp(r_k u - psi(r_k) v) = 1/alpha, with psi(r) = -log(1 - r) - r: Ville's inequality for a
    mixture of the supermartingales exp(r S_t - psi(r) V_t), where V_t is the sum of squared values.

    Args:
        squares: sums of squared values v >= 0, any shape.
        alpha: chance of a crossing, of (0, 1).

    Returns:
        u(v), same shape.

    Raises:
        ValueError: alpha is not within (0, 1).

    Source: Howard et al. 2021, theorem 4 and the discrete mixtures of section 3; 3.4 to 3.7 times sqrt(v) for alpha =
    0.025, where a normal quantile, which holds once only, is 1.96.
    """
    _check_alpha(alpha)
    v = np.asarray(squares, dtype=np.float64)[..., np.newaxis]
    goal = -math.log(alpha)
    # One rate alone crosses later than the mixture: Newton's steps come down from there, the function being convex.
    u: Floats = ((goal - _LOG_WEIGHT + _COSTS * v) / _RATES).min(axis=-1)
    for _ in range(_NEWTON_STEPS):
        exponents = _RATES * u[..., np.newaxis] - _COSTS * v
        top = exponents.max(axis=-1, keepdims=True)
        terms = np.exp(exponents - top)
        total = terms.sum(axis=-1)
        excess = np.log(total) + top[..., 0] + _LOG_WEIGHT - goal
        step = excess * total / (terms * _RATES).sum(axis=-1)
        u = u - step
        if np.all(np.abs(step) <= 1e-12 * (1 + u)):
            break
    return u


def bounded_interval(moments: Moments, *, bound: float, alpha: float = 0.05, low: float | None = None) -> Interval:
    """Returns where the mean of bounded values lies, at every look.

    mean ± bound · u(V / bound²) / n, with V the sum of squares and u `mixture_boundary` at alpha / 2. It is theorem 4
    with 0 as the prediction of each value: a natural one for paired differences, and one that makes V independent of
    the order. Values may drift: then it is about the average of their means so far.

    Args:
        moments: of one value for each request, all within [-bound, bound].
        bound: the largest size of a value, > 0.
        alpha: chance, over all looks, that the mean is ever outside; of (0, 1).
        low: the least possible value; None: -bound.

    Returns:
        The interval, within [low, bound]; all of that without values.

    Raises:
        ValueError: bound or alpha is out of range.
    """
    _check_alpha(alpha)
    if not bound > 0:
        raise ValueError(f"the bound of values is positive, not {bound}")
    least = -bound if low is None else low
    if not moments.count:
        return Interval(estimate=math.nan, low=least, high=bound, requests=0, alpha=alpha, method=EMPIRICAL_BERNSTEIN)
    squares = np.asarray([moments.squares / bound**2])
    radius = bound * float(mixture_boundary(squares, alpha / 2)[0]) / moments.count
    return Interval(
        estimate=moments.mean,
        low=max(least, moments.mean - radius),
        high=min(bound, moments.mean + radius),
        requests=moments.count,
        alpha=alpha,
        method=EMPIRICAL_BERNSTEIN,
    )


def unbounded_interval(moments: Moments, *, alpha: float = 0.05) -> Interval | None:
    """Returns where the mean of values without known bounds lies, at every look from `MINIMUM_REQUESTS` on.

    mean ± s sqrt( 2 (n ρ² + 1) / (n² ρ²) · log( sqrt(n ρ² + 1) / alpha ) ), with s the standard deviation and
    ρ² = (-2 log alpha + log(1 - 2 log alpha)) / 1000: Robbins' normal mixture, narrowest near 1000 requests. Its chance
    of ever being wrong is alpha in the limit, as it is for the usual interval. With values of heavy tails it is larger:
    for alpha = 0.05 and 8000 requests 0.03 with exponential ones, 0.2 with log-normal ones of sigma 2, 0.4 where one in
    500 is several hundred times as large as the others. Where a bound is known, `bounded_interval` is to be used.

    Args:
        moments: of one value for each request; a finite variance is assumed.
        alpha: chance, over all looks, that the mean is ever outside; of (0, 1).

    Returns:
        The interval; None with fewer than `MINIMUM_REQUESTS` requests, and where all values so far are equal: that
        tells nothing of those to come.

    Raises:
        ValueError: alpha is out of range.

    Source: Waudby-Smith et al. 2024, theorem 2.2.
    """
    _check_alpha(alpha)
    if moments.count < MINIMUM_REQUESTS or not moments.variance > 0:
        return None
    n = moments.count
    share = (-2 * math.log(alpha) + math.log1p(-2 * math.log(alpha))) / _NARROWEST_AT
    grown = n * share + 1
    radius = math.sqrt(moments.variance * 2 * grown / (n * n * share) * math.log(math.sqrt(grown) / alpha))
    mean = moments.mean
    return Interval(estimate=mean, low=mean - radius, high=mean + radius, requests=n, alpha=alpha, method=ASYMPTOTIC)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1, not {alpha}")

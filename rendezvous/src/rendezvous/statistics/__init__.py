"""Statistics of models on the same requests: streaming, mergeable, without I/O and without a clock.

Every accumulator takes NumPy batches with `add`, joins another of its kind with `merge`, and keeps memory that does not
grow with what it was given. Needs the extra `rendezvous[statistics]`: NumPy and Apache DataSketches.

Rows of one request are not independent of each other. So intervals take the request as their unit: `request_means`
turns values of rows into one value for each request.
"""

from rendezvous.statistics.agreement import Confusion, NumberAgreement
from rendezvous.statistics.calibration import Calibration
from rendezvous.statistics.grouped import GroupedMoments
from rendezvous.statistics.losses import GREATEST_LOG_LOSS, absolute_error, brier, log_loss, squared_error
from rendezvous.statistics.moments import JointMoments, Moments
from rendezvous.statistics.quantiles import Quantiles
from rendezvous.statistics.ranking import Ranking
from rendezvous.statistics.requests import number_requests, request_means
from rendezvous.statistics.samples import Smallest, rank_correlation
from rendezvous.statistics.sequences import (
    ASYMPTOTIC,
    EMPIRICAL_BERNSTEIN,
    MINIMUM_REQUESTS,
    Interval,
    bounded_interval,
    mixture_boundary,
    unbounded_interval,
)

__all__ = [
    "ASYMPTOTIC",
    "EMPIRICAL_BERNSTEIN",
    "GREATEST_LOG_LOSS",
    "MINIMUM_REQUESTS",
    "Calibration",
    "Confusion",
    "GroupedMoments",
    "Interval",
    "JointMoments",
    "Moments",
    "NumberAgreement",
    "Quantiles",
    "Ranking",
    "Smallest",
    "absolute_error",
    "bounded_interval",
    "brier",
    "log_loss",
    "mixture_boundary",
    "number_requests",
    "rank_correlation",
    "request_means",
    "squared_error",
    "unbounded_interval",
]

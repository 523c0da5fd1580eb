"""Backtest: another policy over the recorded arrivals, beside what did happen."""

from rendezvous_router.backtest.policies import Policies, PolicyFileError, read_policy
from rendezvous_router.backtest.reading import FoundRequest, Record
from rendezvous_router.backtest.run import BacktestResult, run_backtest

__all__ = [
    "BacktestResult",
    "FoundRequest",
    "Policies",
    "PolicyFileError",
    "Record",
    "read_policy",
    "run_backtest",
]

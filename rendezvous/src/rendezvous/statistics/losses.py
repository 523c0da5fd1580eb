"""Loss of each row: what a score costs where the truth is known."""

import math

import numpy as np

from rendezvous.statistics._arrays import Flags, Floats

__all__ = ["GREATEST_LOG_LOSS", "PROBABILITY_FLOOR", "absolute_error", "brier", "log_loss", "squared_error"]

PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1, so one sure and wrong score does not make the log-loss infinite."""

GREATEST_LOG_LOSS = -math.log(PROBABILITY_FLOOR)
"""What a sure and wrong score costs, in nats: no two losses differ by more."""


def log_loss(probabilities: Floats, is_positive: Flags) -> Floats:
    """Returns -log of the probability given to what was true, in nats; at most 36.04.

    Args:
        probabilities: of the positive class, each of [0, 1], shape [rows].
        is_positive: the truth, shape [rows].
    """
    of_truth = np.where(is_positive, probabilities, 1.0 - probabilities)
    losses: Floats = -np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0))
    return losses


def brier(probabilities: Floats, is_positive: Flags) -> Floats:
    """Returns the squared distance of a probability from the truth (0 or 1); of [0, 1]."""
    return np.square(probabilities - is_positive)


def absolute_error(values: Floats, truths: Floats) -> Floats:
    """Returns |value - truth|."""
    return np.abs(values - truths)


def squared_error(values: Floats, truths: Floats) -> Floats:
    """Returns (value - truth)²."""
    return np.square(values - truths)

"""From values of rows to one value for each request."""

import numpy as np

from rendezvous.statistics._arrays import Anything, Floats, Integers

__all__ = ["number_requests", "request_means"]


def number_requests(requests: Anything) -> tuple[Integers | None, int]:
    """Numbers the requests of rows.

    Args:
        requests: what tells requests apart (integers), one for each row, in any order.

    Returns:
        The number of each row's request, from 0, or None where each row is a request of its own; and how many requests.
    """
    if not len(requests):
        return None, 0
    unique, places = np.unique(requests, return_inverse=True)
    return (None if len(unique) == len(requests) else places), len(unique)


def request_means(values: Floats, numbers: Integers | None) -> Floats:
    """Returns the mean of each request's values.

    Rows of one request are not independent; their means are, as far as requests are. Each request weighs the same,
    however many rows it has. Means of bounded values keep the bounds.

    Args:
        values: one for each row.
        numbers: number of each row's request, see `number_requests`; None: each row is a request of its own.

    Returns:
        One for each request that has a row.
    """
    if numbers is None or not len(values):
        return values
    counts = np.bincount(numbers)
    sums = np.bincount(numbers, values)
    return sums[counts > 0] / counts[counts > 0]

"""Types of NumPy arrays that the statistics take and return, and what is summed of them."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Anything = npt.NDArray[Any]


def sum_products(x: Floats, y: Floats) -> float:
    """Returns the sum of x * y, without BLAS, whose threads wait for each other in a loop that keeps other work out."""
    return float(np.einsum("i,i->", x, y))

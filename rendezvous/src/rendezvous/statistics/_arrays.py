"""Types of NumPy arrays that the statistics take and return."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Anything = npt.NDArray[Any]

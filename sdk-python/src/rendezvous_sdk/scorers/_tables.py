"""What the ready-made scorers share: columns as one matrix, and names for what comes out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rendezvous_proto.errors import SignatureMismatchError


def stack_matrix(columns: Mapping[str, NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Returns columns side by side, shape (rows, features); a column of shape (rows, n) gives n features.

    Raises:
        SignatureMismatchError: a column is not numeric.
    """
    parts = []
    for name, values in columns.items():
        if values.dtype.kind not in "biuf":
            raise SignatureMismatchError(
                f"column {name!r} is not numeric: this model takes numbers only", {"column": name}
            )
        parts.append(values.reshape(len(values), -1))
    return np.concatenate(parts, axis=1, dtype=dtype, casting="unsafe")

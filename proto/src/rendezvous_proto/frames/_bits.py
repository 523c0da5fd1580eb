"""The bitmap of missing rows: one bit a row, least significant first, 1 = missing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_bits(missing: NDArray[np.bool_]) -> bytes:
    """Returns the bitmap of a mask of shape (rows,); empty if no row is missing."""
    return np.packbits(missing, bitorder="little").tobytes() if missing.any() else b""


def unpack_bits(bitmap: bytes, rows: int) -> NDArray[np.bool_]:
    """Returns the mask of shape (rows,) of a bitmap; of an empty one, all false."""
    if not bitmap:
        return np.zeros(rows, dtype=np.bool_)
    octets: NDArray[Any] = np.frombuffer(bitmap, dtype=np.uint8)
    return np.unpackbits(octets, count=rows, bitorder="little").view(np.bool_)


def join_bits(bitmaps: Sequence[bytes], rows: Sequence[int]) -> bytes:
    """Returns the bitmap of all rows, of bitmaps over *rows* rows each."""
    if not any(bitmaps):
        return b""
    return pack_bits(np.concatenate([unpack_bits(*pair) for pair in zip(bitmaps, rows, strict=True)]))


def spare_bits_set(bitmap: bytes, rows: int) -> bool:
    """Tells whether a bit beyond the last row is 1, in a bitmap of the right length."""
    used = rows % 8
    return bool(used and bitmap and bitmap[-1] >> used)

"""Where 64-bit hashes are among many: found by their first bits, which is several times quicker than sorting them."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Places", "Seen", "find_sorted", "first_of_each"]

_Array = npt.NDArray[Any]
_REMEMBERED = 16_000_000
"""Rows behind which a repeat of a request is no longer known as one: 8 bytes each."""
_SCREEN_BITS = 25


class Places:
    """Finds hashes: a table by their first bits, 16 to 32 bytes each; the few that share these are searched for.

    Args:
        keys: evenly spread hashes, without repeats, in any order.
    """

    def __init__(self, keys: _Array) -> None:
        self._keys = keys
        _, self._table, displaced = _spread(keys)
        self._displaced = displaced[np.argsort(keys[displaced])]
        self._displaced_keys = keys[self._displaced]

    def find(self, wanted: _Array) -> _Array:
        """Returns where each of *wanted* is among the keys; -1: nowhere."""
        if not len(self._keys):
            return np.full(len(wanted), -1, np.int64)
        at: _Array = self._table[_slots(wanted, len(self._table))].astype(np.int64)
        is_other = self._keys[at] != wanted
        doubtful = np.flatnonzero(is_other & (at >= 0))
        at[is_other] = -1
        found = find_sorted(self._displaced_keys, wanted[doubtful])
        is_found = found >= 0
        at[doubtful[is_found]] = self._displaced[found[is_found]]
        return at


class Seen:
    """Rows of the slices before, by hash: the last `_REMEMBERED`."""

    def __init__(self) -> None:
        self._slices: list[_Array] = []
        # Most new rows are none of the old: a bit for the first bits of their hash says so at once.
        self._screen = np.zeros(1 << _SCREEN_BITS, np.uint8)

    def add(self, keys: _Array) -> _Array:
        """Adds hashes without repeats, in any order; returns for each whether it is new."""
        slots = _slots(keys, len(self._screen))
        bits = np.left_shift(np.uint8(1), (keys >> np.uint64(61 - _SCREEN_BITS)).astype(np.uint8) & np.uint8(7))
        is_new = np.ones(len(keys), np.bool_)
        doubtful = np.flatnonzero(self._screen[slots] & bits)
        if len(doubtful):
            doubtful = doubtful[np.argsort(keys[doubtful])]
            wanted = keys[doubtful]
            for seen in self._slices:
                is_new[doubtful] &= find_sorted(seen, wanted) < 0
        self._set(slots, bits)
        self._slices.append(np.sort(keys if is_new.all() else keys[is_new]))
        while sum(map(len, self._slices)) > _REMEMBERED:
            self._slices.pop(0)
        return is_new

    def _set(self, slots: _Array, bits: _Array) -> None:
        while len(slots):
            self._screen[slots] |= bits
            # Of several that share a byte, one was written.
            is_lost = (self._screen[slots] & bits) == 0
            slots, bits = slots[is_lost], bits[is_lost]


def find_sorted(known: _Array, wanted: _Array) -> _Array:
    """Returns where each of *wanted* is in *known*, which ascends without repeats; -1: nowhere."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def first_of_each(keys: _Array, rank: _Array) -> _Array:
    """Returns, ascending, where the lowest rank of each key is; of equal ranks the first."""
    slots, table, displaced = _spread(keys)
    if not len(displaced):
        return np.arange(len(keys))
    # Repeats are among the rows that share a place of the table.
    is_shared = np.zeros(len(table), np.bool_)
    is_shared[slots[displaced]] = True
    doubtful = is_shared[slots]
    few = np.flatnonzero(doubtful)
    few = few[np.argsort(keys[few])]
    ordered = keys[few]
    again = np.zeros(len(few), np.bool_)
    again[1:] = ordered[1:] == ordered[:-1]
    if not again.any():
        return np.arange(len(keys))
    repeated = again.copy()
    repeated[:-1] |= again[1:]
    tied = few[repeated]
    few[repeated] = tied[np.lexsort((tied, rank[tied], keys[tied]))]
    kept = np.ones(len(keys), np.bool_)
    kept[few[again]] = False
    return np.flatnonzero(kept)


def _spread(keys: _Array) -> tuple[_Array, _Array, _Array]:
    """Returns each key's place in a table by first bits, the table, and the keys whose place a later one took."""
    size = 1 << max(4, (4 * len(keys)).bit_length())
    slots = _slots(keys, size)
    numbers = np.arange(len(keys), dtype=np.int32)
    table = np.full(size, -1, np.int32)
    table[slots] = numbers
    return slots, table, np.flatnonzero(table[slots] != numbers)


def _slots(keys: _Array, size: int) -> _Array:
    slots: _Array = keys >> np.uint64(65 - size.bit_length())
    return slots.view(np.int64)

"""Hashes found by their first bits: exact whether first bits are shared or not."""

import numpy as np
import pytest
from rendezvous_router.compare.places import Places, Seen, find_sorted, first_of_each

_SPREADS = pytest.mark.parametrize(
    "shared_bits", [0, 8, 26, 40], ids=["spread", "crowded", "one byte", "all in one place"]
)


def _hashes(count: int, shared_bits: int, seed: int = 1) -> np.ndarray:
    """Different hashes, whose first bits are the same."""
    drawn = np.random.default_rng(seed).integers(0, 2**63, 2 * count, dtype=np.uint64) * np.uint64(2)
    return np.random.default_rng(seed).permutation(np.unique(drawn >> np.uint64(shared_bits)))[:count]


@_SPREADS
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_places_of_known_hashes_are_found_and_others_are_nowhere(count: int, shared_bits: int) -> None:
    """Each known hash is found where it is, every other nowhere, however many share their first bits."""
    hashes = _hashes(2 * count + 3, shared_bits)
    known, others = hashes[:count], hashes[count:]
    places = Places(known)
    assert np.array_equal(places.find(known[::-1]), np.arange(count)[::-1])
    assert (places.find(others) == -1).all()


@_SPREADS
def test_first_of_each_is_that_of_the_lowest_rank(shared_bits: int) -> None:
    """Of repeats the one with the lowest rank is kept, of equal ranks the first; the order of rows stays."""
    rng = np.random.default_rng(2)
    keys = rng.choice(_hashes(3000, shared_bits), 5000)
    rank = rng.integers(0, 3, 5000)
    best: dict[int, int] = {}
    for row, key in enumerate(keys.tolist()):
        if key not in best or rank[row] < rank[best[key]]:
            best[key] = row
    assert first_of_each(keys, rank).tolist() == sorted(best.values())


@_SPREADS
def test_first_of_each_keeps_all_where_nothing_repeats(shared_bits: int) -> None:
    """Without repeats every row is kept."""
    keys = _hashes(3000, shared_bits)
    assert np.array_equal(first_of_each(keys, np.zeros(3000)), np.arange(3000))


@_SPREADS
def test_seen_knows_what_came_in_any_slice_before(shared_bits: int) -> None:
    """A hash is new once, in whichever slice it comes again."""
    hashes = _hashes(4000, shared_bits)
    seen = Seen()
    assert seen.add(hashes[:1000]).all()
    assert seen.add(hashes[1000:2500]).all()
    assert np.array_equal(seen.add(hashes[500:3000]), np.arange(500, 3000) >= 2500)


def test_find_sorted_in_nothing_finds_nothing() -> None:
    """Among no hashes none is found."""
    assert find_sorted(np.zeros(0, np.uint64), np.ones(2, np.uint64)).tolist() == [-1, -1]

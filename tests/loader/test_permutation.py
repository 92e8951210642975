"""Permutations by key: each element once, the same whichever way they are asked for, and random."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffcv.kernels import random
from ffcv.loader import permutation
from ffcv.loader.permutation import KeyedPermutation, below, bits, order_key

SIZES = st.integers(0, 6000) | st.sampled_from([4095, 4097, 65_535, 65_536, 100_003])
KEYS = st.integers(0, 2**128 - 1)


@given(SIZES, KEYS)
@settings(max_examples=60, deadline=None)
def test_has_each_element_once(size: int, key: int) -> None:
    found = KeyedPermutation(size, key).at(np.arange(size))
    assert np.array_equal(np.sort(found), np.arange(size))


@given(st.integers(1, 2**62), KEYS, st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_any_places_are_what_they_are_alone(size: int, key: int, some: list[int]) -> None:
    places = np.unique([place % size for place in some])
    found = KeyedPermutation(size, key).at(places)
    assert len(set(found.tolist())) == len(places)
    assert found.min() >= 0
    assert found.max() < size
    again = KeyedPermutation(size, key)
    assert [int(again.at(np.array([place]))[0]) for place in places] == found.tolist()


def test_places_may_have_any_shape_and_lie_anywhere_in_memory() -> None:
    shuffled = KeyedPermutation(50_000, 5)
    row = shuffled.at(np.arange(24_000))
    grid = np.arange(24_000).reshape(3, 8000)
    assert np.array_equal(shuffled.at(grid), row.reshape(3, 8000))
    assert np.array_equal(shuffled.at(grid[::-1, ::7]), row.reshape(3, 8000)[::-1, ::7])
    assert shuffled.at(np.array(7)) == row[7]
    assert shuffled.at(np.empty(0, np.int64)).shape == (0,)


def test_functions_in_tables_are_those_that_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.arange(0, 10**6, 37)
    tabulated = KeyedPermutation(10**6, 3).at(places)
    monkeypatch.setattr(permutation, "_TABULATED", 1)
    assert np.array_equal(KeyedPermutation(10**6, 3).at(places), tabulated)


@pytest.mark.parametrize(
    ("size", "first"),
    [
        (7, [1, 0, 6, 3]),
        (4097, [3768, 2156, 2860, 3558]),
        (1_281_167, [519726, 1269102, 127223, 271038]),
        (10**9, [385015131, 435907535, 372117912, 75711714]),
        (2**62, [83314778087774081, 1693169083690283235, 45503005799269404, 4599482153927582645]),
    ],
)
def test_a_key_gives_what_it_gave(size: int, first: list[int]) -> None:
    shuffled = KeyedPermutation(size, order_key(1, 2, "samples"))
    assert shuffled.at(np.arange(4)).tolist() == first


@pytest.mark.parametrize(("size", "key"), [(-1, 0), (2**62 + 1, 0)])
def test_sizes_that_are_none_are_refused(size: int, key: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        KeyedPermutation(size, key)


def test_keys_differ_with_each_of_their_parts() -> None:
    parts = itertools.product((0, 1, 10, 11, 2**64, 2**64 + 1), (0, 1, 10, 11), ("a", "b"))
    keys = {order_key(*part) for part in parts}
    assert len(keys) == 6 * 4 * 2


def test_bits_are_those_of_kernels() -> None:
    positions = np.array([0, 1, 2, 2**40])
    for key in (0, 1, 2**64 - 1):
        drawn = bits(key, positions).tolist()
        assert drawn == [random.fork(key, position) for position in positions.tolist()]


@given(st.integers(1, 2**62), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_numbers_below_a_limit_are_the_upper_half_of_a_product(
    limit: int, given: list[int]
) -> None:
    found = below(limit, np.array(given, np.uint64)).tolist()
    assert found == [drawn * limit >> 64 for drawn in given]


def test_a_billion_places_take_little_memory() -> None:
    tracemalloc.start()
    try:
        KeyedPermutation(10**9, 1).at(np.arange(10**9 - 100_000, 10**9))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# How random: with fixed keys, against what is known of permutations that are all equally likely.


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_small_permutations_are_equally_frequent(size: int) -> None:
    all_of_them = list(itertools.permutations(range(size)))
    times, places = 40 * len(all_of_them), np.arange(size)
    counts = dict.fromkeys(all_of_them, 0)
    for epoch in range(times):
        shuffled = KeyedPermutation(size, order_key(7, epoch, "samples"))
        counts[tuple(shuffled.at(places).tolist())] += 1
    chi_square = sum((count - 40) ** 2 / 40 for count in counts.values())
    degrees = len(all_of_them) - 1
    assert abs(chi_square - degrees) < 4 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("size", [3000, 4097, 50_000])
def test_neither_places_nor_neighbours_tell_what_comes(size: int) -> None:
    """Scores that have mean 0 and variance 1, of permutations of a few consecutive epochs."""
    places, before, scores = np.arange(size), None, []
    for epoch in range(20):
        found = KeyedPermutation(size, order_key(7, epoch, "samples")).at(places)
        scores.append(_correlation(places, found))
        scores.append(_correlation(found[:-1], found[1:]))
        scores.append((np.count_nonzero(np.diff(found) < 0) - (size - 1) / 2) / (size / 12) ** 0.5)
        scores.append(np.count_nonzero(found == places) - 1.0)
        if before is not None:
            scores.append(_correlation(before, found))
            scores.append(np.count_nonzero(found == before) - 1.0)
        before = found
    assert abs(np.mean(scores)) < 4 / len(scores) ** 0.5
    assert 0.6 < np.var(scores) < 1.6


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) * len(one) ** 0.5


@pytest.mark.parametrize(("rounds", "is_random"), [(2, False), (3, False), (6, True), (8, True)])
def test_rows_are_dealt_out_evenly(rounds: int, is_random: bool) -> None:
    """Pairs that begin in one row of the network's square and end in one row, against chance."""
    size, scores = 90_000, []
    for epoch in range(10):
        shuffled = KeyedPermutation(size, order_key(1, epoch, "samples"), rounds)
        rows = np.arange(size) >> 8
        ends = shuffled.at(np.arange(size)) >> 8
        together = np.bincount(rows * (rows[-1] + 1) + ends)
        in_a_row = np.bincount(rows)
        pairs = (in_a_row * (in_a_row - 1)).sum() / 2
        mean = pairs * pairs / (size * (size - 1) / 2)
        scores.append(((together * (together - 1)).sum() / 2 - mean) / mean**0.5)
    assert (abs(np.mean(scores)) < 4 / 10**0.5) == is_random

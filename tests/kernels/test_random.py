"""The random numbers of kernels: reference values, distributions, and compiled against eager."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from ffcv.kernels import random

KEYS = st.integers(0, 2**64 - 1)


@njit
def compiled(key, position, low, high, a, b):
    return (
        random.fork(key, position),
        random.uniform(key, position),
        random.integer(key, position, low, high),
        random.normal(key, position),
        random.beta(key, position, a, b),
    )


@njit
def compiled_permutation(key, out):
    random.permutation(key, 3, out)


def draws(function, count=20_000, slot=0):
    base = random.base_key(seed=1, epoch=2, slot=slot)
    return np.array([function(random.sample_key(base, i)) for i in range(count)])


def test_bits_are_those_of_splitmix64():
    # The published generator's first outputs for the seed 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [random.fork(1234567, n) for n in range(5)] == expected


@given(KEYS, st.integers(0, 2**40), st.integers(-1000, 1000), st.integers(1, 10**6))
def test_compiled_equals_eager(key, position, low, width):
    fast = compiled(np.uint64(key), position, low, low + width, 0.3, 2.0)
    fork, uniform, integer, normal, beta = fast
    assert fork == random.fork(key, position)
    assert uniform == random.uniform(key, position)
    assert integer == random.integer(key, position, low, low + width)
    assert low <= integer < low + width
    assert 0 <= uniform < 1
    assert 0 <= beta <= 1
    np.testing.assert_allclose(normal, random.normal(key, position), rtol=1e-12)
    np.testing.assert_allclose(beta, random.beta(key, position, 0.3, 2.0), rtol=1e-9)


@given(KEYS, st.integers(0, 50))
def test_permutations_are_permutations_compiled_as_eager(key, size):
    out, eager = np.empty(size, np.int64), np.empty(size, np.int64)
    compiled_permutation(np.uint64(key), out)
    random.permutation(key, 3, eager)
    assert out.tolist() == eager.tolist()
    assert sorted(out) == list(range(size))


def test_uniform_fills_the_interval_evenly():
    counts = np.histogram(draws(lambda key: random.uniform(key, 0)), 100, (0, 1))[0]
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert 50 < chi_square < 165  # both ends are 4.5 sigma and more away


def test_neighbouring_samples_slots_and_positions_are_independent():
    one = draws(lambda key: random.uniform(key, 0))
    others = [
        draws(lambda key: random.uniform(key, 1)),
        draws(lambda key: random.uniform(key, 0), slot=1),
        np.roll(one, 1),
    ]
    for other in others:
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))


def test_normal_has_its_moments():
    values = draws(lambda key: random.normal(key, 4))
    assert abs(values.mean()) < 0.035
    assert abs(values.var() - 1) < 0.05
    assert abs((values**3).mean()) < 0.15


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.4, 0.4), (1.0, 3.0), (5.0, 2.0)])
def test_beta_has_its_moments(a, b):
    values = draws(lambda key: random.beta(key, 1, a, b), 8000)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert abs(values.mean() - a / (a + b)) < 5 * np.sqrt(variance / len(values))
    assert abs(values.var() - variance) < 0.1 * variance


def test_keys_differ_for_each_seed_epoch_and_slot():
    keys = {random.base_key(s, e, o) for s in range(10) for e in range(10) for o in range(10)}
    assert len(keys) == 1000

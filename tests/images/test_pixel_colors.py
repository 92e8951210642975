"""Kernels that change the colours of rows, against NumPy, in guarded memory."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.raster import colors

blend_row, saturate_row, is_quick = (
    njit(**JIT_OPTIONS)(getattr(colors, name)) for name in ("blend_row", "saturate_row", "is_quick")
)
WIDTHS = st.sampled_from([0, 1, 2, 5, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 100])
TIES = [0.0, 0.5, 1.0, 1.5, 2.0, 1 / 255, 127.5 / 255, 1.5 / 7, 64.0, 65.0, 1e300]
"""Factors of which some products lie in the middle between integers, or whose bytes all clamp."""
FACTORS = st.one_of(
    st.floats(0, 3),
    st.sampled_from(TIES),
    st.sampled_from(TIES).map(lambda factor: np.nextafter(factor, 2)),
    st.sampled_from(TIES).map(lambda factor: np.nextafter(factor, -1)),
    st.builds(lambda half, part: (half + 0.5) / part, st.integers(0, 300), st.integers(1, 255)),
)


def address(array):
    return int(array.ctypes.data)


def blended(values, factor, other):
    """The definition, in float64."""
    sums = factor * values.astype(np.float64) + (1.0 - factor) * other
    return np.floor(sums.clip(0, 255) + 0.5)


def luma(pixels):
    return ((pixels.astype(np.int64) @ [19595, 38470, 7471]) + 32768) >> 16


def places(row, in_place, end):
    """The row, and where its result goes."""
    source = guarded_copy(row, end)
    target = source if in_place else guarded(row.nbytes, end).reshape(row.shape)
    return source, target


@given(
    width=WIDTHS,
    factor=FACTORS,
    other=st.integers(0, 255),
    seed=st.integers(0, 99),
    in_place=st.booleans(),
    end=st.booleans(),
)
def test_blending_with_one_number(width, factor, other, seed, in_place, end):
    row = np.random.default_rng(seed).integers(0, 256, (width, 3), np.uint8)
    source, target = places(row, in_place, end)
    blend_row(address(source), address(target), width, factor, other, is_quick(factor))
    np.testing.assert_array_equal(target, blended(row, factor, other))


@given(
    width=WIDTHS,
    factor=FACTORS,
    seed=st.integers(0, 99),
    in_place=st.booleans(),
    end=st.booleans(),
)
def test_blending_with_grey(width, factor, seed, in_place, end):
    row = np.random.default_rng(seed).integers(0, 256, (width, 3), np.uint8)
    source, target = places(row, in_place, end)
    saturate_row(address(source), address(target), width, factor, is_quick(factor))
    np.testing.assert_array_equal(target, blended(row, factor, luma(row)[:, None]))


ALL = np.arange(256, dtype=np.uint8)


@given(FACTORS)
def test_what_is_quick_has_the_bytes_of_float64(factor):
    """For all values and all numbers that they can be blended with."""
    if not is_quick(factor):
        return
    rows, others = np.tile(ALL, (256, 3)), ALL[:, None]
    for row, other in zip(rows, ALL, strict=True):
        blend_row(address(row), address(row), 256, factor, int(other), True)
    np.testing.assert_array_equal(rows, blended(np.tile(ALL, 3), factor, others.astype(float)))


def test_most_factors_are_quick():
    factors = np.random.default_rng(0).uniform(0.6, 1.4, 2000)
    assert np.mean([is_quick(factor) for factor in factors]) > 0.98


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.5, 1 / 510, 64.5, 1e300, -0.1, np.nan, np.inf])
def test_factors_with_products_between_integers_or_too_large_are_not(factor):
    assert not is_quick(factor)
    assert not colors.is_quick(factor)


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, 2**0.5, 2 / 3, 64.0])
def test_factors_that_are(factor):
    assert is_quick(factor)
    assert colors.is_quick(factor)


def test_arrays_are_changed_alike():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(colors.gray_array(image), luma(image))
    np.testing.assert_array_equal(colors.blend_array(image, 1.3, 17), blended(image, 1.3, 17))

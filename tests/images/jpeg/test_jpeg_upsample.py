"""Upsampling of chroma, against NumPy; all memory is fenced and windows are as small as allowed."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_planes import component_window, describe
from jpeg_reference import upsampled
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg import upsample

ROW = njit(**JIT_OPTIONS)(upsample.upsample_row)
HOLDS = njit(**JIT_OPTIONS)(upsample.holds)
FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)]


def rows_of(words, factors, smooth, region, align_end=True):
    """The region's pixels, row by row."""
    y, x, height, width = region
    words = guarded_copy(words)
    buffer = guarded(upsample.row_buffer_bytes(width), align_end)
    buffer[:] = 99
    assert HOLDS(words.ctypes.data, *factors, smooth, *region)
    result = []
    for row in range(y, y + height):
        at = ROW(words.ctypes.data, *factors, smooth, row, x, width, buffer.ctypes.data)
        result.append(bytes_at(at, width + 15)[:width])
    return np.stack(result)


def bytes_at(address, count):
    return np.frombuffer(ctypes.string_at(address, count), np.uint8)


@st.composite
def regions(draw, factors, largest=90):
    """Samples of a component, and a region of the image that they give."""
    h, v = factors
    shape = draw(st.integers(1, 12)), draw(st.integers(1, largest // h + 1) | st.integers(1, 4))
    height, width = shape[0] * v, shape[1] * h
    rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
    y, x = draw(st.integers(0, height - rows)), draw(st.integers(0, width - columns))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return rng.integers(0, 256, shape, dtype=np.uint8), (y, x, rows, columns)


@pytest.mark.parametrize("smooth", [1, 0])
@pytest.mark.parametrize("factors", FACTORS)
@given(data=st.data(), gap=st.integers(0, 40), align_end=st.booleans())
def test_equals_the_reference(factors, smooth, data, gap, align_end):
    samples, region = data.draw(regions(factors))
    window = component_window(samples.shape, region, factors, smooth)
    words, memory = describe(samples, window, gap, align_end)
    before = memory.copy()
    y, x, height, width = region
    expected = upsampled(samples, *factors, smooth)[y : y + height, x : x + width]
    np.testing.assert_array_equal(rows_of(words, factors, smooth, region, align_end), expected)
    np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("samples", [[0, 255], [255, 0, 255, 0], [255, 255, 255], [7]])
@pytest.mark.parametrize("factors", FACTORS)
def test_extreme_samples(factors, samples):
    samples = np.array([samples, samples[::-1], samples], np.uint8)
    region = 0, 0, 3 * factors[1], samples.shape[1] * factors[0]
    words, _memory = describe(samples, (0, 0, *samples.shape))
    expected = upsampled(samples, *factors)
    np.testing.assert_array_equal(rows_of(words, factors, 1, region), expected)


@pytest.mark.parametrize("smooth", [1, 0])
@pytest.mark.parametrize("factors", FACTORS)
@given(data=st.data())
def test_smaller_windows_are_refused(factors, smooth, data):
    samples, region = data.draw(regions(factors))
    top, left, rows, columns = component_window(samples.shape, region, factors, smooth)
    for window in (
        (top + 1, left, rows - 1, columns),
        (top, left + 1, rows, columns - 1),
        (top, left, rows - 1, columns),
        (top, left, rows, columns - 1),
    ):
        words = np.array([0, 0, window[1], window[0], window[3], window[2], *samples.shape[::-1]])
        assert not HOLDS(words.ctypes.data, *factors, smooth, *region)


@pytest.mark.parametrize(
    "region", [(-1, 0, 4, 4), (0, -1, 4, 4), (0, 0, 9, 4), (0, 0, 4, 13), (8, 0, 1, 1)]
)
def test_regions_outside_of_the_image_are_refused(region):
    words = np.array([0, 6, 0, 0, 6, 4, 6, 4])
    assert HOLDS(words.ctypes.data, 2, 2, 1, 0, 0, 8, 12)
    assert not HOLDS(words.ctypes.data, 2, 2, 1, *region)


def test_rows_that_need_no_work_are_not_copied():
    samples = np.arange(60, dtype=np.uint8).reshape(4, 15)
    words, memory = describe(samples, (1, 2, 3, 13))
    words = guarded_copy(words)
    assert ROW(words.ctypes.data, 1, 1, 1, 2, 5, 4, 0) == memory.ctypes.data + 13 + 3
    assert ROW(words.ctypes.data, 1, 2, 0, 5, 5, 4, 0) == memory.ctypes.data + 13 + 3

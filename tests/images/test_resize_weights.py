"""Weights of resampling: against the filters' definitions, and compiled code against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded
from hypothesis import given
from hypothesis import strategies as st

from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.axis import fill_axis_entry
from ffcv_plugins.raster.resizing.weights import (
    FILTERS,
    NARROW_ONE,
    WIDE_BITS,
    count_taps,
    make_axis,
)

SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}


def filter_value(method, x):
    x = abs(x)
    if method == "bilinear":
        return max(1 - x, 0)
    if method == "bicubic":
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        return near if x < 1 else (-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0)
    return np.sinc(x) * np.sinc(x / 3) if x < 3 else 0


def matrix_by_definition(method, start, length, step, outputs, low, high):
    """``(outputs, high - low)``: all weights, as fractions of one."""
    scale = length / outputs / step
    matrix = np.zeros((outputs, high - low))
    for j in range(outputs):
        center = start / step + (j + 0.5) * scale
        for i in range(low, high):
            if method == "area":
                reach = center - scale / 2, center + scale / 2
                share = max(min(i + 1, reach[1]) - max(i, reach[0]), 0)
            else:
                share = filter_value(method, (i + 0.5 - center) / max(scale, 1))
            matrix[j, i - low] = share
    return matrix / matrix.sum(axis=1, keepdims=True)


def as_matrix(axis, samples):
    matrix = np.zeros((len(axis.first), samples))
    for j, first in enumerate(axis.first):
        matrix[j, first : first + axis.weights.shape[1]] = axis.weights[j]
    return matrix / (1 << WIDE_BITS if axis.is_wide else NARROW_ONE)


@st.composite
def axes(draw, longest=400):
    """Arguments of ``make_axis`` behind the filter: of pixels, or of samples of several pixels."""
    outputs, length = draw(st.integers(1, 300)), draw(st.integers(1, longest))
    step = draw(st.sampled_from([1, 1, 2, 4, 8]))
    start = draw(st.integers(0, 50)) if step > 1 else 0
    low, high = start // step, -(-(start + length) // step)
    return outputs, start, length, step, low, high


@pytest.mark.parametrize("method", ["area", "bilinear", "bicubic", "lanczos"])
@given(case=axes(longest=120))
def test_are_those_of_the_filters_definition(method, case):
    outputs, start, length, step, low, high = case
    expected = matrix_by_definition(method, start, length, step, outputs, low, high)
    axis = make_axis(FILTERS[method], *case)
    one = 1 << WIDE_BITS if axis.is_wide else NARROW_ONE
    # A running sum is rounded to within 1/2; what is left of 1 has no room in 16 bits.
    np.testing.assert_allclose(as_matrix(axis, high - low), expected, atol=1.01 / one)


@pytest.mark.parametrize("method", list(FILTERS))
@given(case=axes())
def test_add_up_and_stay_inside(method, case):
    outputs, _, _, _, low, high = case
    axis = make_axis(FILTERS[method], *case)
    taps = axis.weights.shape[1]
    sums = axis.weights.sum(axis=1)
    if axis.is_wide:
        assert (sums == 1 << WIDE_BITS).all()
    else:
        alone = (axis.weights == NARROW_ONE - 1).any(axis=1)
        np.testing.assert_array_equal(sums, np.where(alone, NARROW_ONE - 1, NARROW_ONE))
    assert axis.first.shape == (outputs,)
    assert axis.first.min() >= 0
    assert axis.first.max() + taps <= high - low


@pytest.mark.parametrize("method", list(FILTERS))
@given(case=axes())
def test_mirrored_outputs_come_in_reverse_order(method, case):
    plain, mirrored = make_axis(FILTERS[method], *case), make_axis(FILTERS[method], *case, True)
    np.testing.assert_array_equal(plain.first[::-1], mirrored.first)
    np.testing.assert_array_equal(plain.weights[::-1], mirrored.weights)


@given(st.integers(1, 500), st.integers(1, 500))
def test_nearest_takes_the_sample_in_which_the_centre_lies(length, outputs):
    axis = make_axis(FILTERS["nearest"], outputs, 0, length)
    expected = [(2 * j + 1) * length // (2 * outputs) for j in range(outputs)]
    np.testing.assert_array_equal(axis.first, expected)


def compiled_axis(method, outputs, start, length, step, low, high, mirror=False, shrink=0):
    """What ``fill_axis`` writes, in fenced memory, of which ``shrink`` bytes are missing."""
    taps = count_taps(FILTERS[method], length, step * outputs, high - low)
    padded = -(-outputs // 16) * 16
    first, weights, scratch = (
        guarded(size - shrink) for size in (4 * padded, 4 * padded * taps, 128 * taps)
    )
    words = guarded(w.AXIS_BYTES).view(np.int64)
    words[0:4] = first.ctypes.data, first.size, weights.ctypes.data, weights.size
    buffer = np.array([scratch.ctypes.data, scratch.size])
    code = fill_axis_entry(
        words.ctypes.data,
        buffer.ctypes.data,
        *(FILTERS[method], outputs, start, length, step, low, high, mirror),
    )
    if code:
        return code, None, None, None
    size = np.int32 if words[w.IS_WIDE // 8] else np.uint16
    count = padded * int(words[w.TAPS // 8])
    assert words[w.SPACING // 8] == padded * np.dtype(size).itemsize
    table = weights[: count * np.dtype(size).itemsize].view(size).reshape(-1, padded)
    return 0, first.view(np.int32)[:outputs], table.T[:outputs], bool(words[w.IS_WIDE // 8])


@pytest.mark.parametrize("method", list(FILTERS))
@given(case=axes(), mirror=st.booleans())
def test_compiled_code_gives_the_same(method, case, mirror):
    expected = make_axis(FILTERS[method], *case, mirror)
    code, first, weights, wide = compiled_axis(method, *case, mirror)
    assert code == 0
    assert wide == expected.is_wide
    np.testing.assert_array_equal(first, expected.first)
    np.testing.assert_array_equal(weights, expected.weights)


@pytest.mark.parametrize("method", ["nearest", "area", "bilinear", "bicubic"])
@pytest.mark.parametrize(("length", "outputs"), [(65535, 1), (65535, 7), (1, 65535), (7, 65535)])
def test_extreme_scales(method, length, outputs):
    case = outputs, 0, length, 1, 0, length
    expected = make_axis(FILTERS[method], *case)
    code, first, weights, _ = compiled_axis(method, *case)
    assert code == 0
    np.testing.assert_array_equal(first, expected.first)
    np.testing.assert_array_equal(weights, expected.weights)


def test_too_small_a_buffer_is_an_error():
    assert compiled_axis("bilinear", 20, 0, 30, 1, 0, 30, shrink=1)[0] == 1

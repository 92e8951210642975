"""The inverse DCT of 16 blocks, against NumPy; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_reference import ZIGZAG, inverse_dct
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg import idct

TRANSFORM = njit(**JIT_OPTIONS)(idct.inverse_dct)
CLEAR = njit(**JIT_OPTIONS)(idct.clear)
SIZES = [8, 4, 2, 1]


def transformed(blocks, quantisers, size, last, gap=0, align_end=True):
    """Pixels of 16 blocks, ``(16, size, size)``; fails if bytes between rows change."""
    coefficients = guarded_copy(np.ascontiguousarray(blocks.T.astype(np.int16)), align_end)
    quantisers = guarded_copy(quantisers.astype(np.int16), align_end)
    work = guarded(2048, align_end)
    work[:] = 77  # scratch holds what was there before
    width = 16 * size
    pitch = width + gap
    target = guarded(pitch * (size - 1) + width, align_end)
    target[:] = 0x5A
    memory = coefficients, quantisers, work, target
    TRANSFORM(size, last, *(part.ctypes.data for part in memory), pitch)
    rows = [target[row * pitch :][:width] for row in range(size)]
    between = [target[row * pitch :][width:pitch] for row in range(size - 1)]
    assert all((part == 0x5A).all() for part in between)
    return np.stack(rows).reshape(size, 16, size).swapaxes(0, 1)


@st.composite
def cases(draw):
    """Blocks with zeros behind ``last``, and quantisers; any numbers or such as pixels have."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    last = draw(st.integers(0, 63))
    strength = draw(st.sampled_from([1, 30, 1000, 32767]))
    blocks = rng.integers(-strength - 1, strength + 1, (16, 64))
    blocks[:, ZIGZAG[last + 1 :]] = 0
    quantisers = rng.integers(1, draw(st.sampled_from([2, 30, 256, 32768])), 64)
    return blocks, quantisers, last


@pytest.mark.parametrize("size", SIZES)
@given(cases(), st.integers(0, 70), st.booleans())
def test_equals_the_reference(size, case, gap, align_end):
    blocks, quantisers, last = case
    expected = inverse_dct(blocks, quantisers, size)
    result = transformed(blocks, quantisers, size, last, gap, align_end)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("last", range(64))
def test_every_shortcut(size, last):
    rng = np.random.default_rng(last)
    blocks = np.zeros((16, 64), int)
    blocks[:, ZIGZAG[: last + 1]] = rng.integers(-40, 41, (16, last + 1))
    quantisers = rng.integers(1, 20, 64)
    expected = inverse_dct(blocks, quantisers, size)
    np.testing.assert_array_equal(transformed(blocks, quantisers, size, last), expected)


@pytest.mark.parametrize("value", [-32768, -1025, -1024, -4, -3, 0, 3, 4, 1019, 1020, 32767])
@pytest.mark.parametrize("size", SIZES)
def test_flat_blocks(size, value):
    blocks = np.zeros((16, 64), int)
    blocks[:, 0] = value
    result = transformed(blocks, np.ones(64, int), size, 0)
    assert (result == np.clip((value + 4) // 8 + 128, 0, 255)).all()


@pytest.mark.parametrize("strength", [3, 40, 200])
def test_is_the_inverse_dct(strength):
    """Less than one level from what the definition (T.81, A.3.3) gives without rounding."""
    rng = np.random.default_rng(strength)
    blocks = rng.integers(-strength, strength + 1, (16, 64))
    x, u = np.arange(8)[:, None], np.arange(8)
    basis = np.cos((2 * x + 1) * u * np.pi / 16) / 2
    basis[:, 0] = np.sqrt(1 / 8)
    exact = basis @ blocks.reshape(16, 8, 8) @ basis.T
    result = transformed(blocks, np.ones(64, int), 8, 63)
    assert np.abs(result - (exact + 128).clip(0, 255)).max() < 1


@pytest.mark.parametrize("align_end", [True, False])
def test_clear(align_end):
    coefficients = guarded(2048, align_end)
    coefficients[:] = 255
    CLEAR(coefficients.ctypes.data)
    assert not coefficients.any()

"""bfloat16 in NumPy's clothes, against torch and exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ffcv.pipeline import State, bfloat16
from ffcv.pipeline.dtypes import code_dtype, dtype_name, from_bfloat16, is_half, to_bfloat16

EVERY = np.arange(65536, dtype=np.uint16)
NUMBERS = torch.from_numpy(EVERY.view(np.int16)).view(torch.bfloat16).float().numpy()


def bits_by_torch(numbers):
    return torch.from_numpy(numbers).bfloat16().view(torch.int16).numpy().view(np.uint16)


def test_every_number_keeps_its_bits():
    np.testing.assert_array_equal(from_bfloat16(EVERY.view(bfloat16)), NUMBERS)
    there = ~np.isnan(NUMBERS)
    np.testing.assert_array_equal(to_bfloat16(NUMBERS).view(np.uint16)[there], EVERY[there])
    assert np.isnan(from_bfloat16(to_bfloat16(NUMBERS))[~there]).all()


@given(st.integers(0, 2**32 - 1))
def test_float32_is_rounded_as_torch_does(seed):
    numbers = np.random.default_rng(seed).integers(0, 2**32, 4096, np.uint32).view(np.float32)
    there = ~np.isnan(numbers)
    bits = to_bfloat16(numbers).view(np.uint16)
    np.testing.assert_array_equal(bits[there], bits_by_torch(numbers)[there])
    assert np.isnan(from_bfloat16(bits.view(bfloat16))[~there]).all()


def test_ties_go_to_even():
    numbers = np.float32([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 2.0**-133 + 2.0**-134])
    assert to_bfloat16(numbers).view(np.uint16).tolist() == [0x3F80, 0x3F82, 0xBF80, 0x0002]


def test_what_is_too_large_is_infinite():
    numbers = np.array([3.4e38, -3.4e38, 1e300, -np.inf, 3.38e38])
    bits = to_bfloat16(numbers).view(np.uint16).tolist()
    assert bits == [0x7F80, 0xFF80, 0x7F80, 0xFF80, 0x7F7E]


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int8, np.uint16, np.int32, np.uint64, np.float16, np.float64]
)
def test_numbers_of_all_kinds(dtype):
    numbers = (np.random.default_rng(0).normal(size=500) * 100).astype(np.int64).astype(dtype)
    np.testing.assert_array_equal(
        to_bfloat16(numbers).view(np.uint16), bits_by_torch(numbers.astype(np.float64))
    )


@given(st.floats(-1e30, 1e30, allow_subnormal=False).filter(lambda v: abs(v) > 1e-30))
def test_float64_is_rounded_once(value):
    low = np.uint16(np.float32(value).view(np.uint32) >> 16)
    near = np.uint16([low - 1, low, low + 1]).view(bfloat16)
    numbers = [Fraction(float(number)) for number in from_bfloat16(near)]
    best = min(range(3), key=lambda i: (abs(numbers[i] - Fraction(value)), int(low) + i + 1 & 1))
    assert to_bfloat16(np.array([value]))[0] == near[best]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3, 4)])
def test_arrays_of_any_shape(shape):
    numbers = np.full(shape, 1.5)
    assert to_bfloat16(numbers).shape == shape
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(numbers)), numbers)
    turned = to_bfloat16(np.ones((3, 4)))[::-1, ::2].T
    np.testing.assert_array_equal(from_bfloat16(turned), np.ones((2, 3)))


def test_names_and_forms():
    assert is_half(bfloat16)
    assert is_half(np.dtype("f2"))
    assert not is_half(np.dtype("u2"))
    assert not is_half(torch.bfloat16)
    assert code_dtype(bfloat16) == code_dtype(np.dtype("f2")) == np.uint16
    assert code_dtype(np.dtype("f4")) == np.float32
    assert dtype_name(torch.bfloat16) == dtype_name(bfloat16) == "bfloat16"
    assert str(State(True, "cpu", (4, 4), bfloat16)) == "array 4×4 bfloat16"

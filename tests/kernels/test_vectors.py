"""Words of the vector vocabulary, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import TypingError, njit

from ffcv.kernels import vectors
from ffcv.kernels.marking import JIT_OPTIONS

I16 = np.array([-32768, -300, -129, -128, -1, 0, 1, 127, 128, 255, 256, 32767, 5, 6, 7, 8], "i2")
I32 = np.where(np.arange(16) % 3 == 0, I16.astype("i4") * 65536, I16.astype("i4"))


@pytest.mark.parametrize(
    ("word", "load", "numbers", "result"),
    [
        (vectors.clamp_u8, vectors.load_i16x16, I16, np.uint8),
        (vectors.clamp_u8, vectors.load_i32x16, I32, np.uint8),
        (vectors.clamp_i8, vectors.load_i16x16, I16, np.int8),
        (vectors.clamp_i8, vectors.load_i32x16, I32, np.int8),
        (vectors.clamp_i16, vectors.load_i32x16, I32, np.int16),
    ],
)
def test_clamping_keeps_to_the_range_of_the_narrower_type(word, load, numbers, result):
    @njit(**JIT_OPTIONS)
    def run(source, target):
        vectors.store(vectors.address_of(target), word(load(vectors.address_of(source))))

    clamped = np.zeros(16, result)
    run(numbers, clamped)
    limits = np.iinfo(result)
    np.testing.assert_array_equal(clamped, numbers.clip(limits.min, limits.max))


F64 = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.5,
        1e300,
        -1e300,
        1e-300,
        np.pi,
        2.0**24 + 1,
        0.1,
        65519.9,
        65520,
        3,
        7,
        9,
        -2,
    ],
    "f8",
)
BYTES = np.arange(48, dtype="u1") * 5 % 251


def apply(word, load, numbers, result):
    """A vector word's results for an array that one load reads."""

    @njit(**JIT_OPTIONS)
    def run(source, target):
        vectors.store(vectors.address_of(target), word(load(vectors.address_of(source))))

    target = np.zeros_like(result)
    run(np.ascontiguousarray(numbers), target)
    return target


@pytest.mark.parametrize(
    ("word", "load", "numbers", "result"),
    [
        (vectors.to_f64, vectors.load_u8x16, BYTES[:16], "f8"),
        (vectors.to_f64, vectors.load_i32x16, I32, "f8"),
        (vectors.to_f32, vectors.load_i16x16, I16, "f4"),
    ],
)
def test_conversions_keep_values(word, load, numbers, result):
    expected = numbers.astype(result)
    np.testing.assert_array_equal(apply(word, load, numbers, expected), expected)


def test_float64_becomes_the_nearest_float32():
    with np.errstate(over="ignore"):
        expected = F64.astype("f4")
    result = apply(vectors.round_to_f32, vectors.load_f64x16, F64, expected)
    np.testing.assert_array_equal(result.view("u4"), expected.view("u4"))


def test_float32_becomes_the_nearest_int32():
    halves = np.arange(-8, 8) / 2
    largest = np.float32([0.49999997, 4194303.5, -4194303.5, -0.0] * 4)
    for some in (halves.astype("f4"), (halves * 1.37).astype("f4"), largest):
        expected = np.rint(some).astype("i4")
        result = apply(vectors.round_to_i32, vectors.load_f32x16, some, expected)
        np.testing.assert_array_equal(result, expected)


def test_float32_becomes_the_nearest_float16():
    every_half = np.arange(65536, dtype="u2").view("f2")
    halves = every_half[np.isfinite(every_half)].astype("f4")
    between = np.concatenate([halves, np.nextafter(halves, np.float32(np.inf)), halves[:-1] / 3])
    middles = (np.sort(halves)[1:] + np.sort(halves)[:-1]) / 2
    numbers = np.concatenate([between, middles, np.float32([np.inf, -np.inf, 1e30])])
    numbers = np.resize(numbers, -(-numbers.size // 16) * 16)

    @njit(**JIT_OPTIONS)
    def run(source, target):
        for i in range(0, source.size, 16):
            halves = vectors.float16_bits(vectors.load_f32x16(vectors.address_of(source) + 4 * i))
            vectors.store(vectors.address_of(target) + 2 * i, halves)

    bits = np.zeros(numbers.size, "u2")
    run(numbers, bits)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(bits, numbers.astype("f2").view("u2"))


def test_pixels_are_reversed():
    result = apply(vectors.reverse_pixels, vectors.load_u8x48, BYTES, BYTES)
    np.testing.assert_array_equal(result.reshape(16, 3), BYTES.reshape(16, 3)[::-1])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_with_numbers_and_each_other(dtype):
    load = vectors.load_f32x16 if dtype == "f4" else vectors.load_f64x16

    @njit(**JIT_OPTIONS)
    def run(source, number, target):
        vector = load(vectors.address_of(source))
        quotient = vectors.divide(vector * number - 1, vector + 0.5)
        vectors.store(vectors.address_of(target), quotient)

    numbers = np.arange(1, 17, dtype=dtype) / 7
    target = np.zeros(16, dtype)
    run(numbers, 0.1, target)
    one, half, tenth = np.array([1, 0.5, 0.1], dtype)
    np.testing.assert_array_equal(target, (numbers * tenth - one) / (numbers + half))


def test_single_floats():
    @njit(**JIT_OPTIONS)
    def run(single, double, target):
        address = vectors.address_of(target)
        narrow = float(vectors.load_f32(vectors.address_of(single)))
        vectors.store_f64(address, narrow + vectors.load_f64(vectors.address_of(double)))

    target = np.zeros(1)
    run(np.array([0.1], "f4"), np.array([0.2]), target)
    assert target[0] == float(np.float32(0.1)) + 0.2


def test_storing_past_the_cache():
    @njit(**JIT_OPTIONS)
    def run(source, target):
        for i in range(0, source.size, 32):
            vector = vectors.load_u8x32(vectors.address_of(source) + i)
            vectors.store_past_cache(vectors.address_of(target) + i, vector)
        vectors.fence()

    memory = np.zeros(320 + 31, "u1")
    target = memory[-memory.ctypes.data % 32 :][:320]
    source = np.arange(320).astype("u1")
    run(source, target)
    np.testing.assert_array_equal(target, source)
    assert memory.sum() == source.sum()
    (code,) = run.inspect_llvm().values()
    assert "!nontemporal" in code
    assert "fence seq_cst" in code


def test_only_whole_aligned_vectors_are_stored_past_the_cache():
    @njit(**JIT_OPTIONS)
    def run(target):
        address = vectors.address_of(target)
        vectors.store_past_cache(address, vectors.load_u8x48(address))

    with pytest.raises(TypingError):
        run(np.zeros(48, "u1"))

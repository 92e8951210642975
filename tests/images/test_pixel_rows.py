"""Kernels for rows of pixels, against NumPy, in guarded memory."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.raster import rows
from ffcv_plugins.raster.normalization import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    IS_EXACT,
    normalization,
    result_bits,
    result_table,
)

COMPILED = {name: njit(**JIT_OPTIONS)(getattr(rows, name)) for name in rows.__all__}
WIDTHS = [0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 100, 224]
ENDS = pytest.mark.parametrize("end", [True, False], ids=["end", "start"])
IMAGENET = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def run(name, source, nbytes, *rest, end=True):
    """Call a kernel on guarded copies of the row and of its other arrays."""
    out = guarded(nbytes, end)
    out[:] = 0x5A
    arrays = [guarded_copy(array, end) for array in ([] if source is None else [source])]
    arrays += [out]
    rest = [guarded_copy(r, end) if isinstance(r, np.ndarray) else r for r in rest]
    COMPILED[name](*(int(r.ctypes.data) if hasattr(r, "ctypes") else r for r in arrays + rest))
    return out


def pixels(width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (width, 3), dtype=np.uint8)


@ENDS
@pytest.mark.parametrize("width", WIDTHS)
class TestBytes:
    def test_copy(self, width, end):
        row = pixels(width).reshape(-1)[: max(3 * width - 1, 0)]
        np.testing.assert_array_equal(run("copy_row", row, row.size, row.size, end=end), row)

    def test_copy_past_the_cache(self, width, end):
        for row in (pixels(width).reshape(-1), pixels(width).reshape(-1)[: max(3 * width - 1, 0)]):
            np.testing.assert_array_equal(run("stream_row", row, row.size, row.size, end=end), row)

    def test_mirror(self, width, end):
        row = pixels(width)
        out = run("mirror_row", row, row.size, width, end=end)
        np.testing.assert_array_equal(out.reshape(-1, 3), row[::-1])

    def test_mirror_in_place(self, width, end):
        row = guarded_copy(pixels(width), end)
        COMPILED["mirror_row"](int(row.ctypes.data), int(row.ctypes.data), width)
        np.testing.assert_array_equal(row, pixels(width)[::-1])

    def test_look_up(self, width, end):
        row = pixels(width)
        tables = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint8)
        out = run("lookup_row", row, row.size, width, tables, end=end)
        np.testing.assert_array_equal(out.reshape(-1, 3), tables[[0, 1, 2], row])

    def test_fill(self, width, end):
        out = run("fill_row", None, 3 * width, width, 1, 0, 255, end=end)
        np.testing.assert_array_equal(out.reshape(-1, 3), np.full((width, 3), [1, 0, 255]))

    def test_split(self, width, end):
        row, plane = pixels(width), width + 5
        out = run("split_row", row, 2 * plane + width, width, plane, end=end)
        for c in range(3):
            np.testing.assert_array_equal(out[c * plane : c * plane + width], row[:, c])
        assert (out[width:plane] == 0x5A).all()


@ENDS
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16, FLOAT32])
@pytest.mark.parametrize("constants", [IMAGENET, (0, 1)])
class TestNormalising:
    def test_interleaved(self, width, kind, constants, end):
        row, expected = pixels(width), normalized(pixels(width), constants, kind)
        record = normalization(*constants, kind)
        out = run("normalize_row", row, expected.nbytes, width, 0, kind, record, end=end)
        np.testing.assert_array_equal(out.view(expected.dtype).reshape(-1, 3), expected)

    def test_planes(self, width, kind, constants, end):
        row, expected = pixels(width), normalized(pixels(width), constants, kind).T
        plane = (width + 3) * expected.itemsize
        record = normalization(*constants, kind)
        nbytes = 2 * plane + width * expected.itemsize
        out = run("normalize_row", row, nbytes, width, plane, kind, record, end=end)
        for c in range(3):
            begin = c * plane
            line = out[begin : begin + width * expected.itemsize].view(expected.dtype)
            np.testing.assert_array_equal(line, expected[c])


def normalized(row, constants, kind):
    """The results' bits, by NumPy and torch alone."""
    mean, std = (np.broadcast_to(np.float64(part), 3) for part in constants)
    values = (row.astype(np.float64) - mean) / std
    if kind == FLOAT16:
        return values.astype(np.float16).view(np.uint16)
    if kind == FLOAT32:
        return values.astype(np.float32).view(np.uint32)
    # torch rounds float64 to float32 first, which makes no difference for these constants
    return torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16, FLOAT32])
def test_constants_that_vectors_cannot_use_go_through_the_table(kind):
    record = normalization(*IMAGENET, kind)
    record[IS_EXACT] = 0
    row = pixels(50)
    expected = normalized(row, IMAGENET, kind)
    out = run("normalize_row", row, expected.nbytes, 50, 0, kind, record)
    np.testing.assert_array_equal(out.view(expected.dtype).reshape(-1, 3), expected)


@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16, FLOAT32])
@given(mean=st.floats(-300, 300), std=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_any_constants_give_the_bits_of_the_table(kind, mean, std, seed):
    row = pixels(40, seed)
    record, table = normalization(mean, std, kind), result_table(mean, std, kind)
    size = 4 if kind == FLOAT32 else 2
    out = run("normalize_row", row, 120 * size, 40, 0, kind, record)
    expected = table[[0, 1, 2], row]
    np.testing.assert_array_equal(out.view(f"u{size}").reshape(-1, 3), expected)


@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16, FLOAT32])
@pytest.mark.parametrize(
    "constants", [IMAGENET, (0, 1), (0, 255), (127.5, 127.5), (128, 64), ([1, 2, 3], [4, 5, 6])]
)
def test_usual_constants_need_no_table(kind, constants):
    assert normalization(*constants, kind)[IS_EXACT] == 1


def exact_bfloat16(value):
    """The nearest bfloat16 by exact arithmetic, ties to even."""
    bits = int(np.float32(value).view(np.uint32)) >> 16
    near = [b for b in (bits - 1, bits, bits + 1) if 0 <= b < 1 << 16]
    numbers = {b: np.uint32(b << 16).view(np.float32) for b in near}

    def distance(b):
        return abs(Fraction(float(numbers[b])) - Fraction(value)), b & 1

    return min((b for b in near if np.isfinite(numbers[b])), key=distance)


@given(st.floats(-1e30, 1e30, allow_subnormal=False).filter(lambda v: abs(v) > 1e-30))
def test_bfloat16_is_rounded_once(value):
    assert result_bits(np.array([value]), BFLOAT16)[0] == exact_bfloat16(value)


@pytest.mark.parametrize("sign", [1, -1])
def test_bfloat16_of_numbers_that_two_roundings_get_wrong(sign):
    # Just above the middle between two bfloat16, so that float32 rounds it to the middle.
    value = sign * (1 + 2.0**-8 + 2.0**-40)
    assert result_bits(np.array([value]), BFLOAT16)[0] == (0x3F81 if sign > 0 else 0xBF81)

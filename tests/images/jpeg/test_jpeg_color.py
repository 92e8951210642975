"""From planes to RGB, against NumPy; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_planes import component_window, describe
from jpeg_reference import upsampled, ycc_to_rgb
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg import color
from ffcv_plugins.images.jpeg import state as s

CONVERT = njit(**JIT_OPTIONS)(color.region_to_rgb)
FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)]
BLANK = 0x5A


def converted(components, factors, smooth, region, gap=0, align_end=True):
    """RGB of a region; fails if bytes between the rows change."""
    height, width = region[2:]
    words, kept = np.zeros((3, s.PLANE_WORDS), np.int64), []
    for number, samples in enumerate(components):
        own, is_smooth = (factors, smooth) if number else ((1, 1), 0)
        window = component_window(samples.shape, region, own, is_smooth)
        words[number], memory = describe(samples, window, gap, align_end)
        kept.append(memory)
    words = guarded_copy(words[: len(components)], align_end)
    pitch = 3 * width + gap
    target = guarded(pitch * (height - 1) + 3 * width, align_end)
    target[:] = BLANK
    work = guarded(color.rgb_work_bytes(width), align_end)
    where = target.ctypes.data, pitch, work.ctypes.data
    assert CONVERT(words.ctypes.data, len(components), *factors, smooth, *region, *where) == 1
    rows = [target[row * pitch :][: 3 * width] for row in range(height)]
    between = [target[row * pitch :][3 * width : pitch] for row in range(height - 1)]
    assert all((part == BLANK).all() for part in between)
    return np.stack(rows).reshape(height, width, 3)


def components_of(rng, size, factors, count):
    """Luma of an image and chroma of a fraction of its size, rounded up."""
    h, v = factors
    reduced = -(-size[0] // v), -(-size[1] // h)
    shapes = [size, reduced, reduced][:count]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def expected_rgb(components, factors, smooth):
    if len(components) == 1:
        return np.repeat(components[0][..., None], 3, 2)
    luma, *chroma = components
    height, width = luma.shape
    return ycc_to_rgb(
        luma, *(upsampled(plane, *factors, smooth)[:height, :width] for plane in chroma)
    )


@st.composite
def regions(draw):
    """Size of an image, and a region in it."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 100) | st.integers(1, 9))
    rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
    place = draw(st.integers(0, height - rows)), draw(st.integers(0, width - columns))
    return (height, width), (*place, rows, columns)


@pytest.mark.parametrize("factors", FACTORS)
@given(regions(), st.booleans(), st.integers(0, 60), st.booleans(), st.integers(0, 2**31))
def test_color_regions(factors, case, smooth, gap, align_end, seed):
    size, region = case
    components = components_of(np.random.default_rng(seed), size, factors, 3)
    y, x, height, width = region
    expected = expected_rgb(components, factors, smooth)[y : y + height, x : x + width]
    result = converted(components, factors, int(smooth), region, gap, align_end)
    np.testing.assert_array_equal(result, expected)


@given(regions(), st.integers(0, 60), st.booleans(), st.integers(0, 2**31))
def test_grey_regions(case, gap, align_end, seed):
    size, region = case
    components = components_of(np.random.default_rng(seed), size, (1, 1), 1)
    y, x, height, width = region
    expected = expected_rgb(components, (1, 1), 0)[y : y + height, x : x + width]
    result = converted(components, (1, 1), 0, region, gap, align_end)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("luma", [0, 1, 60, 127, 128, 200, 254, 255])
def test_all_colors(luma):
    cb, cr = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    components = [np.full_like(cb, luma), cb, cr]
    result = converted(components, (1, 1), 1, (0, 0, 256, 256))
    np.testing.assert_array_equal(result, ycc_to_rgb(*components))


@pytest.mark.parametrize("missing", range(3))
def test_planes_that_do_not_hold_the_region_are_refused(missing):
    size, region = (8, 40), (2, 3, 4, 20)
    components = components_of(np.random.default_rng(0), size, (2, 2), 3)
    parts = [
        describe(plane, component_window(plane.shape, region, own, 1))
        for plane, own in zip(components, [(1, 1), (2, 2), (2, 2)], strict=True)
    ]
    words = np.stack([part[0] for part in parts])
    target, work = guarded(3 * 4 * 20), guarded(color.rgb_work_bytes(20))
    where = target.ctypes.data, 60, work.ctypes.data
    assert CONVERT(words.ctypes.data, 3, 2, 2, 1, *region, *where) == 1
    assert target.any()
    target[:] = 0
    words[missing, s.P_COLUMNS] -= 1
    assert CONVERT(words.ctypes.data, 3, 2, 2, 1, *region, *where) == 0
    assert not target.any()


@pytest.mark.parametrize("region", [(0, 0, 0, 5), (0, 0, 5, 0), (0, 0, -1, 5), (0, 0, 5, -7)])
def test_empty_regions_are_refused(region):
    words, _memory = describe(np.zeros((8, 8), np.uint8), (0, 0, 8, 8))
    assert CONVERT(words.ctypes.data, 1, 1, 1, 0, *region, 0, 0, 0) == 0

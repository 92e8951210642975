"""Antialiased bilinear resizing, against NumPy and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_reference import picture, resize
from numba import njit
from PIL import Image

from ffcv.kernel import JIT_OPTIONS
from ffcv_plugins.images.resample import allocate, resize_crop

COMPILED = njit(**JIT_OPTIONS)(resize_crop)
GUARD = 0x5A


def resized(image, part, size, code=COMPILED):
    """Resize ``part`` of ``image`` to ``size``; fails if memory beside the destination changes."""
    height, width = size
    memory = np.full(height * width * 3 + 128, GUARD, np.uint8)
    out = memory[64:-64].reshape(height, width, 3)
    work = allocate(part[2], part[3], size)
    for member in work:
        member.fill(77)  # scratch holds what the last sample left
    code(image, *part, out, work)
    assert (memory[:64] == GUARD).all()
    assert (memory[-64:] == GUARD).all()
    return out


def sides(largest):
    return st.integers(1, largest) | st.sampled_from([1, 2, 3, largest])


@st.composite
def cases(draw, largest_in, largest_out):
    height, width = draw(sides(largest_in)), draw(sides(largest_in))
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    y, x = draw(st.integers(0, height - h)), draw(st.integers(0, width - w))
    size = draw(sides(largest_out)), draw(sides(largest_out))
    return (height, width), (y, x, h, w), size, draw(st.integers(0, 2**31))


@given(cases(90, 70))
def test_equals_the_reference(case):
    (height, width), (y, x, h, w), size, seed = case
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = resize(image[y : y + h, x : x + w], *size)
    np.testing.assert_array_equal(resized(image, (y, x, h, w), size), expected)


@given(cases(9, 6))
def test_python_equals_compiled_code(case):
    (height, width), part, size, seed = case
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        resized(image, part, size, resize_crop), resized(image, part, size)
    )


@given(cases(60, 40))
def test_nothing_outside_of_the_part_matters(case):
    (height, width), (y, x, h, w), size, seed = case
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    other = np.full_like(image, 255 - int(image[y, x, 0]))
    other[y : y + h, x : x + w] = image[y : y + h, x : x + w]
    part = y, x, h, w
    np.testing.assert_array_equal(resized(image, part, size), resized(other, part, size))


@pytest.mark.parametrize(
    ("part", "size", "mean"),
    [
        ((20, 30, 130, 170), (224, 224), 0.1),
        ((0, 0, 375, 500), (224, 224), 0.1),
        ((5, 0, 300, 400), (96, 160), 0.3),
        ((0, 100, 375, 90), (64, 200), 0.3),  # Pillow 13 begins with the vertical pass here
        ((0, 0, 40, 500), (224, 30), 0.1),
        ((0, 0, 375, 500), (20, 30), 0.3),
    ],
)
def test_is_close_to_pillow(part, size, mean):
    image = picture(375, 500)
    y, x, h, w = part
    crop = Image.fromarray(image).crop((x, y, x + w, y + h))
    expected = np.asarray(crop.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(resized(image, part, size) - expected)
    assert difference.max() <= 1
    assert difference.mean() < mean


def test_same_size_is_a_copy():
    image = picture(50, 60)
    np.testing.assert_array_equal(resized(image, (3, 4, 40, 30), (40, 30)), image[3:43, 4:34])


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_constant_images_stay_constant(value):
    image = np.full((70, 31, 3), value, np.uint8)
    for size in [(7, 9), (200, 100), (1, 1)]:
        assert (resized(image, (0, 0, 70, 31), size) == value).all()


def test_very_tall_and_very_wide_images():
    tall = np.random.default_rng(0).integers(0, 256, (65535, 2, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resized(tall, (0, 0, 65535, 2), (3, 2)), resize(tall, 3, 2))
    wide = np.ascontiguousarray(tall.transpose(1, 0, 2))
    np.testing.assert_array_equal(resized(wide, (0, 0, 2, 65535), (2, 3)), resize(wide, 2, 3))

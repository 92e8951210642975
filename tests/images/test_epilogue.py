"""What happens to finished rows: every combination, against NumPy and torch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_reference import picture
from resize_support import resize_planes, resize_rgb

from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION
from ffcv_plugins.raster.epilogue.record import Color, Epilogue, Rectangle, record
from ffcv_plugins.raster.normalization import BFLOAT16, FLOAT16, FLOAT32, UINT8, normalization
from ffcv_plugins.raster.resizing.arrays import (
    Plane,
    epilogue_array,
    resize_array,
    resize_planes_array,
)

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TABLE = np.random.default_rng(5).integers(0, 256, (3, 256), dtype=np.uint8)
RECTANGLES = (
    Rectangle(3, 5, 20, 40, 1, 2, 3),
    Rectangle(-4, -7, 9, 12, 200, 100, 0),
    Rectangle(30, 60, 900, 900, 255, 255, 255),
    Rectangle(10, 10, 5, 90),
)
COLORS = Color(BRIGHTNESS, 1.2345), Color(SATURATION, 0.6789), Color(BRIGHTNESS, 0.5)
KINDS = [UINT8, FLOAT16, BFLOAT16, FLOAT32]


def make_epilogue(kind, planar, mirror, table, rectangles, colors):
    return Epilogue(
        mirror=mirror,
        kind=kind,
        planar=planar,
        table=TABLE if table else None,
        constants=None if kind == UINT8 else normalization(MEAN, STD, kind),
        rectangles=RECTANGLES if rectangles else (),
        colors=COLORS if colors else (),
    )


def recolored(pixels, color):
    other = 0
    if color.kind == SATURATION:
        other = ((pixels.astype(np.int64) @ [19595, 38470, 7471] + 32768) >> 16)[..., None]
    blended = color.factor * pixels.astype(np.float64) + (1 - color.factor) * other
    return np.floor(blended.clip(0, 255) + 0.5).astype(np.uint8)


def expected_bits(pixels, kind, planar, table, rectangles, colors):
    """``pixels`` are mirrored already."""
    pixels = pixels.copy()
    if table:
        for c in range(3):
            pixels[..., c] = TABLE[c][pixels[..., c]]
    for color in COLORS if colors else ():
        pixels = recolored(pixels, color)
    if rectangles:
        pixels[3:20, 5:40] = 1, 2, 3
        pixels[:9, :12] = 200, 100, 0
        pixels[30:, 60:] = 255
    if planar:
        pixels = np.moveaxis(pixels, -1, 0)
    if kind == UINT8:
        return pixels
    shape = (3, 1, 1) if planar else (3,)
    values = (pixels - np.reshape(MEAN, shape)) / np.reshape(STD, shape)
    if kind == BFLOAT16:
        # torch rounds by way of float32, which makes no difference for these constants.
        return torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    return values.astype(np.float16 if kind == FLOAT16 else np.float32)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("rectangles", [False, True])
@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", KINDS)
class TestEveryCombination:
    def test_of_a_resized_image(self, kind, planar, mirror, table, rectangles, colors, at_end):
        image, box, size = picture(90, 120), (5, 7, 80, 111), (49, 101)
        epilogue = make_epilogue(kind, planar, mirror, table, rectangles, colors)
        pixels = resize_array(image, box, size, epilogue=Epilogue(mirror=mirror))
        expected = expected_bits(pixels, kind, planar, table, rectangles, colors)
        code, sample = resize_rgb(image, box, size, epilogue=epilogue, at_end=at_end)
        assert code == 0
        np.testing.assert_array_equal(sample, expected)
        np.testing.assert_array_equal(resize_array(image, box, size, epilogue=epilogue), expected)

    def test_of_a_copy(self, kind, planar, mirror, table, rectangles, colors, at_end):
        image, box, size = picture(60, 110), (2, 3, 49, 101), (49, 101)
        epilogue = make_epilogue(kind, planar, mirror, table, rectangles, colors)
        pixels = image[2:51, 3:104][:, :: -1 if mirror else 1]
        expected = expected_bits(pixels, kind, planar, table, rectangles, colors)
        code, sample = resize_rgb(image, box, size, epilogue=epilogue, at_end=at_end, copy=True)
        assert code == 0
        np.testing.assert_array_equal(sample, expected)

    def test_of_planes(self, kind, planar, mirror, table, rectangles, colors, at_end):
        image, box, size = picture(90, 120), (5, 8, 80, 110), (49, 101)
        planes = [Plane(np.ascontiguousarray(image[:, :, c])) for c in range(3)]
        epilogue = make_epilogue(kind, planar, mirror, table, rectangles, colors)
        pixels = resize_planes_array(planes, (1, 1), 1, box, size, epilogue=Epilogue(mirror=mirror))
        expected = expected_bits(pixels, kind, planar, table, rectangles, colors)
        code, sample = resize_planes(planes, (1, 1), 1, box, size, epilogue=epilogue, at_end=at_end)
        assert code == 0
        np.testing.assert_array_equal(sample, expected)


@given(
    width=st.integers(1, 50),
    rectangle=st.tuples(*[st.integers(-(2**40), 2**40) | st.integers(-60, 60)] * 4),
)
def test_rectangles_never_reach_beyond_the_sample(width, rectangle):
    image = picture(20, 50)
    epilogue = Epilogue(rectangles=(Rectangle(*rectangle, 9, 8, 7),))
    code, sample = resize_rgb(image, (0, 0, 20, width), (20, width), epilogue=epilogue, copy=True)
    assert code == 0
    top, left, bottom, right = rectangle
    rows, columns = np.arange(20)[:, None], np.arange(width)[None]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    expected = np.where(inside[:, :, None], np.uint8([9, 8, 7]), image[:, :width])
    np.testing.assert_array_equal(sample, expected)
    np.testing.assert_array_equal(epilogue_array(image[:, :width], epilogue), expected)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 70) | st.sampled_from([32, 64])),
    kind=st.sampled_from(KINDS),
    planar=st.booleans(),
    mirror=st.booleans(),
    filled=st.booleans(),
    colors=st.lists(
        st.builds(
            Color,
            st.sampled_from([BRIGHTNESS, SATURATION]),
            st.sampled_from([0.0, 0.5, 0.8, 1.0, 1.3, 100.0]) | st.floats(0, 3),
        ),
        max_size=4,
    ),
    copy=st.booleans(),
    past_cache=st.booleans(),
    at_end=st.booleans(),
)
def test_samples_of_any_size(size, kind, planar, mirror, filled, colors, copy, past_cache, at_end):
    image = picture(45, 75, seed=sum(size))
    epilogue = Epilogue(
        mirror=mirror,
        kind=kind,
        planar=planar,
        constants=None if kind == UINT8 else normalization(MEAN, STD, kind),
        rectangles=(Rectangle(1, 2, 30, 20, 200, 7, 0),) if filled else (),
        colors=tuple(colors),
        past_cache=past_cache and kind == UINT8 and not planar,
    )
    box = (3, 2, *size) if copy else (1, 1, 41, 53)
    code, sample = resize_rgb(image, box, size, epilogue=epilogue, at_end=at_end, copy=copy)
    assert code == 0
    expected = resize_array(image, box, size, epilogue=epilogue)
    np.testing.assert_array_equal(sample.view(np.uint8), expected.view(np.uint8))
    pixels = resize_array(image, box, size, epilogue=Epilogue(mirror=mirror))
    for color in colors:
        pixels = recolored(pixels, color)
    plain = epilogue._replace(colors=(), mirror=False)
    np.testing.assert_array_equal(epilogue_array(pixels, plain), expected)


@pytest.mark.parametrize(
    ("epilogue", "message"),
    [
        (Epilogue(colors=(Color(2, 1.0),)), "kind 0 or 1"),
        (Epilogue(kind=FLOAT32), "constants"),
        (Epilogue(planar=True, past_cache=True), "past the cache"),
        (Epilogue(constants=normalization(0, 1, FLOAT16)), "constants"),
        (Epilogue(table=np.zeros((256, 3), np.uint8)), r"table must be \(3, 256\) uint8"),
        (Epilogue(table=np.zeros((3, 256), np.int8)), r"table must be \(3, 256\) uint8"),
    ],
)
def test_parts_that_do_not_fit(epilogue, message):
    with pytest.raises(ValueError, match=message):
        record(epilogue, 5, 5)
    with pytest.raises(ValueError, match=message):
        epilogue_array(np.zeros((5, 5, 3), np.uint8), epilogue)

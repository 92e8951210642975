"""Resampling of RGB images: against NumPy bit by bit, against Pillow, and in fenced memory."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from image_reference import picture
from PIL import Image
from resize_support import BUFFERS, address, fenced_sample, resize_rgb

from ffcv.kernels.entry import compiled_entries
from ffcv_plugins.raster.epilogue.record import Epilogue, record
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.arrays import resize_array
from ffcv_plugins.raster.resizing.rgb import (
    BAD_SIZE,
    NOT_COMPILED,
    TOO_SMALL,
    copy_rgb_entry,
    resize_rgb_entry,
)
from ffcv_plugins.raster.resizing.weights import FILTERS
from ffcv_plugins.raster.resizing.workspace import allocate

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
METHODS = pytest.mark.parametrize("method", list(FILTERS))
ENDS = pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])

CHROMA = [p for p in BUFFERS if w.AXES + 2 * w.AXIS_BYTES <= p < w.COMPONENTS] + BUFFERS[-2:]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sides(largest):
    return st.integers(1, largest) | st.sampled_from([1, 2, 3, largest])


@st.composite
def regions(draw, largest=100):
    """Size of an image, and a region of it."""
    height, width = draw(sides(largest)), draw(sides(largest))
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    return (height, width), (
        draw(st.integers(0, height - h)),
        draw(st.integers(0, width - w)),
        h,
        w,
    )


@ENDS
@METHODS
@given(
    region=regions(),
    size=st.tuples(sides(150), sides(150)),
    mirror=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(region=((1, 1), (0, 0, 1, 1)), size=(70, 131), mirror=False, seed=0)
@example(region=((100, 100), (0, 0, 100, 100)), size=(1, 1), mirror=True, seed=1)
def test_gives_what_numpy_gives_and_touches_nothing_else(
    method, at_end, region, size, mirror, seed
):
    (height, width), box = region
    image, epilogue = noise(height, width, seed), Epilogue(mirror=mirror)
    code, sample = resize_rgb(image, box, size, method, epilogue, at_end=at_end)
    assert code == 0
    np.testing.assert_array_equal(sample, resize_array(image, box, size, method, epilogue))


@METHODS
@pytest.mark.parametrize(
    ("image_size", "size"),
    [
        ((375, 500), (224, 224)),
        ((1000, 90), (33, 224)),
        ((40, 2000), (300, 66)),
        ((9, 7), (270, 200)),
    ],
)
def test_large_and_uneven_sizes(method, image_size, size):
    image, box = noise(*image_size), (0, 0, *image_size)
    code, sample = resize_rgb(image, box, size, method)
    assert code == 0
    np.testing.assert_array_equal(sample, resize_array(image, box, size, method))


OF_PILLOW_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="the order of passes is that of Pillow 13"
)


def by_pillow(image, size, method):
    return np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[method])).astype(int)


def edges(height, width, seed=0):
    """Only black and white: filters with negative weights overshoot everywhere."""
    rng = np.random.default_rng(seed)
    return (rng.random((height, width, 3)) > 0.5).astype(np.uint8) * 255


@OF_PILLOW_13
@pytest.mark.parametrize("method", list(PILLOW))
@given(image_size=st.tuples(sides(150), sides(150)), size=st.tuples(sides(150), sides(150)))
@example(image_size=(344, 231), size=(64, 96))
@example(image_size=(231, 344), size=(96, 64))
@example(image_size=(100, 100), size=(30, 65))
@example(image_size=(100, 100), size=(30, 66))
@example(image_size=(100, 40), size=(99, 60))
@example(image_size=(60, 5), size=(20, 9))
def test_hard_edges_are_within_two_levels_of_pillow(method, image_size, size):
    image = edges(*image_size)
    code, result = resize_rgb(image, (0, 0, *image_size), size, method)
    assert code == 0
    assert np.abs(result - by_pillow(image, size, method)).max() <= 2


@METHODS
@pytest.mark.parametrize("width", [1, 2, 5, 6, 11, 16, 64, 65, 131])
@pytest.mark.parametrize("height", [31, 32, 33, 64, 100])
def test_rows_first_in_bands_of_any_size(method, height, width):
    image, mirror = edges(300, width), Epilogue(mirror=True)
    for size, epilogue in (((height, width + 3), None), ((height, max(width - 2, 1)), mirror)):
        code, sample = resize_rgb(image, (0, 0, 300, width), size, method, epilogue)
        assert code == 0
        expected = resize_array(image, (0, 0, 300, width), size, method, epilogue)
        np.testing.assert_array_equal(sample, expected)


@OF_PILLOW_13
@pytest.mark.parametrize("method", list(PILLOW))
@given(region=regions(), size=st.tuples(sides(150), sides(150)), seed=st.integers(0, 2**31))
def test_noise_is_within_two_levels_of_pillow(method, region, size, seed):
    (height, width), (y, x, h, w) = region
    image = noise(height, width, seed)
    expected = by_pillow(image[y : y + h, x : x + w], size, method)
    assert np.abs(resize_array(image, (y, x, h, w), size, method) - expected).max() <= 2


@OF_PILLOW_13
@pytest.mark.parametrize("method", list(PILLOW))
@pytest.mark.parametrize(
    ("part", "size"),
    [
        ((20, 30, 130, 170), (224, 224)),
        ((0, 0, 375, 500), (224, 224)),
        ((5, 0, 300, 400), (96, 160)),
        ((0, 100, 375, 90), (64, 200)),
        ((0, 0, 375, 500), (13, 17)),
        ((100, 100, 10, 8), (300, 240)),
    ],
)
def test_pictures_are_close_to_pillow(method, part, size):
    image = picture(375, 500)
    y, x, h, w = part
    crop = Image.fromarray(image).crop((x, y, x + w, y + h))
    result = resize_array(image, part, size, method)
    expected = by_pillow(np.asarray(crop), size, method)
    assert np.abs(result - expected).max() <= 2
    # Without overshoots the order of the passes is not followed, which moves some values by one.
    assert np.abs(result - expected).mean() < (0.2 if method == "bilinear" else 0.02)


@given(region=regions(60), size=st.tuples(sides(60), sides(60)))
def test_nearest_is_pillow_s_where_no_centre_lies_on_an_edge(region, size):
    (height, width), (y, x, h, w) = region
    image = noise(height, width)
    crop = Image.fromarray(image).crop((x, y, x + w, y + h))
    expected = np.asarray(crop.resize(size[::-1], Image.Resampling.NEAREST))
    rows, columns = (
        (2 * np.arange(n) + 1) * length % (2 * n) != 0
        for n, length in zip(size, (h, w), strict=True)
    )
    result = resize_array(image, (y, x, h, w), size, "nearest")
    np.testing.assert_array_equal(result[rows][:, columns], expected[rows][:, columns])


@pytest.mark.parametrize(
    ("image_size", "size"), [((90, 120), (30, 40)), ((91, 133), (30, 40)), ((300, 200), (7, 9))]
)
def test_area_is_opencv_s_when_images_shrink(image_size, size):
    cv2 = pytest.importorskip("cv2")
    image = noise(*image_size)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(resize_array(image, (0, 0, *image_size), size, "area") - expected).max() <= 1


def test_area_keeps_hard_edges_when_images_grow():
    image = noise(3, 2)
    grown = resize_array(image, (0, 0, 3, 2), (12, 10), "area")
    np.testing.assert_array_equal(grown, image.repeat(4, 0).repeat(5, 1))


@METHODS
@given(value=st.integers(0, 255), region=regions(), size=st.tuples(sides(120), sides(120)))
def test_one_colour_stays_that_colour(method, value, region, size):
    image = np.full((*region[0], 3), value, np.uint8)
    code, sample = resize_rgb(image, region[1], size, method)
    assert code == 0
    assert (sample == value).all()


@METHODS
@given(region=regions(), size=st.tuples(sides(120), sides(120)))
def test_mirroring_is_flipping_the_result(method, region, size):
    image = noise(*region[0])
    _, plain = resize_rgb(image, region[1], size, method)
    _, mirrored = resize_rgb(image, region[1], size, method, Epilogue(mirror=True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


@METHODS
@given(region=regions(), size=st.tuples(sides(100), sides(100)), more=st.integers(0, 40))
def test_a_workspace_serves_all_smaller_regions(method, region, size, more):
    image, (_, _, h, w) = noise(*region[0]), region[1]
    code, sample = resize_rgb(image, region[1], size, method, room=(h + more, w + 2 * more))
    assert code == 0
    np.testing.assert_array_equal(sample, resize_array(image, region[1], size, method))


@METHODS
@given(region=regions(), size=st.tuples(sides(100), sides(100)), room=st.tuples(sides(9), sides(9)))
def test_too_small_a_workspace_is_an_error(method, region, size, room):
    image = noise(*region[0])
    code, sample = resize_rgb(image, region[1], size, method, room=room)
    assert code in (0, TOO_SMALL)
    if code == 0:
        np.testing.assert_array_equal(sample, resize_array(image, region[1], size, method))


@METHODS
@pytest.mark.parametrize("place", [p for p in BUFFERS if p not in [*CHROMA, w.BAND]])
def test_each_buffer_s_size_is_checked(method, place):
    image = noise(60, 90)
    assert resize_rgb(image, (0, 0, 60, 90), (70, 100), method, halved=place)[0] == (
        0 if place == w.LINE else TOO_SMALL  # which has room for the rows of components
    )


@pytest.mark.parametrize("method", ["bicubic", "lanczos"])
def test_the_size_of_a_band_is_checked(method):
    for size, code in (((20, 100), TOO_SMALL), ((70, 100), 0), ((20, 40), 0)):
        assert resize_rgb(noise(60, 90), (0, 0, 60, 90), size, method, halved=w.BAND)[0] == code


def test_a_workspace_for_another_output_is_an_error():
    image, work = noise(50, 60), allocate(50, 60, (20, 20))
    for size in [(20, 21), (21, 20), (300, 300)]:
        sample, words = fenced_sample(size, Epilogue())
        code = resize_rgb_entry(
            *(address(image), 180, 0, 0, 50, 60, address(work.table), address(words))
        )
        # Twenty-one have room beside twenty, in buffers that are rounded up.
        assert code == (TOO_SMALL if size[0] == 300 else 0)
        if code == 0:
            np.testing.assert_array_equal(sample, resize_array(image, (0, 0, 50, 60), size))


@ENDS
@pytest.mark.parametrize("mirror", [False, True])
@given(region=regions(150))
def test_copies(mirror, at_end, region):
    image, (y, x, h, w) = noise(*region[0]), region[1]
    epilogue = Epilogue(mirror=mirror)
    for copy in (True, False):
        code, sample = resize_rgb(
            image, region[1], (h, w), epilogue=epilogue, at_end=at_end, copy=copy
        )
        assert code == 0
        expected = image[y : y + h, x : x + w]
        np.testing.assert_array_equal(sample, expected[:, ::-1] if mirror else expected)


def test_copying_needs_the_samples_size():
    image = noise(20, 20)
    assert resize_rgb(image, (0, 0, 9, 10), (10, 10), copy=True)[0] == BAD_SIZE
    assert resize_rgb(image, (0, 0, 10, 11), (10, 10), copy=True)[0] == BAD_SIZE


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, 0), (0, 0, -1, 5), (0, 0, 65536, 5)])
@pytest.mark.parametrize("entry", [resize_rgb_entry, copy_rgb_entry])
def test_sizes_that_no_image_has(entry, box):
    image, work = noise(20, 20), allocate(20, 20, (10, 10))
    _, words = fenced_sample((10, 10), Epilogue())
    arguments = address(work.table), address(words)
    assert entry(address(image), 60, *box, *arguments) == BAD_SIZE
    words[2:4] = box[2:]
    assert entry(address(image), 60, 0, 0, 20, 20, *arguments) == BAD_SIZE
    assert entry(address(image), 60, *box, *arguments) == BAD_SIZE


def test_rows_that_overlap():
    image, work = noise(20, 20), allocate(20, 20, (10, 10))
    _, words = fenced_sample((10, 10), Epilogue())
    arguments = 0, 0, 20, 20, address(work.table), address(words)
    assert resize_rgb_entry(address(image), 59, *arguments) == BAD_SIZE
    assert resize_rgb_entry(address(image), -60, *arguments) == BAD_SIZE


def test_what_was_made_without_compilation_cannot_run_compiled():
    image, sample = noise(20, 20), np.zeros((10, 10, 3), np.uint8)
    work = allocate(20, 20, (10, 10))
    words = record(Epilogue(), 10, 10, address(sample))
    with compiled_entries(False):
        plain_work = allocate(20, 20, (10, 10))
        plain_words = record(Epilogue(), 10, 10, address(sample))
    for table, chosen in [(plain_work.table, words), (work.table, plain_words)]:
        code = resize_rgb_entry(
            *(address(image), 60, 0, 0, 20, 20, address(table), address(chosen))
        )
        assert code == NOT_COMPILED
    arguments = address(work.table), address(plain_words)
    assert copy_rgb_entry(address(image), 60, 0, 0, 10, 10, *arguments) == NOT_COMPILED


def test_an_unknown_filter_is_an_error():
    with pytest.raises(ValueError, match=r"no filter is called 'cubic'; there are nearest, area"):
        allocate(10, 10, (5, 5), "cubic")

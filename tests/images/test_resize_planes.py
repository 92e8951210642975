"""Resampling of a JPEG's planes: against NumPy bit by bit, against Pillow, and in fenced memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from image_reference import picture
from PIL import Image
from resize_support import BUFFERS, make_planes, resize_planes

from ffcv_plugins.raster.epilogue.record import Epilogue
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.arrays import Plane, resize_array, resize_planes_array
from ffcv_plugins.raster.resizing.rgb import BAD_REGION, BAD_SIZE, TOO_SMALL
from ffcv_plugins.raster.resizing.weights import FILTERS

METHODS = pytest.mark.parametrize("method", list(FILTERS))
FACTORS = st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)])


@st.composite
def cases(draw, largest=90):
    """Size of an image, region, factors of chroma, pixels for each luma sample."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    box = draw(st.integers(0, height - h)), draw(st.integers(0, width - w)), h, w
    return (height, width), box, draw(FACTORS), draw(st.sampled_from([1, 1, 2, 8]))


@METHODS
@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@given(
    case=cases(),
    size=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    gray=st.booleans(),
    mirror=st.booleans(),
    margin=st.integers(0, 20),
    seed=st.integers(0, 2**31),
)
def test_gives_what_numpy_gives_and_touches_nothing_else(
    method, at_end, case, size, gray, mirror, margin, seed
):
    image_size, box, factors, scale = case
    planes = make_planes(seed, image_size, factors, scale, box, gray=gray, margin=margin)
    arguments = planes, factors, scale, box, size, method, Epilogue(mirror=mirror)
    code, sample = resize_planes(*arguments, at_end=at_end)
    assert code == 0
    np.testing.assert_array_equal(sample, resize_planes_array(*arguments))


@METHODS
@given(case=cases(), room=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_too_small_a_workspace_is_an_error(method, case, room):
    image_size, box, factors, scale = case
    arguments = (
        make_planes(0, image_size, factors, scale, box),
        factors,
        scale,
        box,
        (30, 90),
        method,
    )
    code, sample = resize_planes(*arguments, room=room)
    assert code in (0, TOO_SMALL)
    if code == 0:
        np.testing.assert_array_equal(sample, resize_planes_array(*arguments))


@given(
    case=cases(), cut=st.sampled_from(["left", "top", "right", "bottom"]), index=st.integers(0, 2)
)
def test_a_window_without_the_region_is_an_error(case, cut, index):
    image_size, box, factors, scale = case
    planes = make_planes(0, image_size, factors, scale, box)
    plane = planes[index]
    if cut in ("right", "bottom"):
        smaller = plane.samples[:, :-1] if cut == "right" else plane.samples[:-1]
        planes[index] = plane._replace(samples=smaller)
    else:
        planes[index] = plane._replace(**{cut: getattr(plane, cut) + 1})
    assert resize_planes(planes, factors, scale, box, (20, 20))[0] == BAD_REGION


@METHODS
@pytest.mark.parametrize("place", BUFFERS)
def test_each_buffer_s_size_is_checked(method, place):
    arguments = make_planes(0, (60, 90), (1, 1), 1, (0, 0, 60, 90)), (1, 1), 1, (0, 0, 60, 90)
    code, sample = resize_planes(*arguments, (70, 100), method, halved=place)
    if code == 0:  # luma leaves room in what is made for pixels of three bytes
        np.testing.assert_array_equal(sample, resize_planes_array(*arguments, (70, 100), method))
        assert place in (w.EDGE, w.STRIP, w.SUMS, w.BAND, w.COMPONENTS)
    else:
        assert code == TOO_SMALL


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, 0), (0, 0, 65536, 5)])
def test_sizes_that_no_image_has(box):
    planes = make_planes(0, (20, 20), (2, 2), 1, (0, 0, 20, 20))
    assert resize_planes(planes, (2, 2), 1, box, (20, 20), room=(9, 9))[0] == BAD_SIZE


@pytest.mark.parametrize(
    ("components", "factors", "scale"),
    [
        (0, (2, 2), 1),
        (2, (2, 2), 1),
        (4, (2, 2), 1),
        (3, (0, 2), 1),
        (3, (2, -1), 1),
        (3, (2, 2), 0),
    ],
)
def test_planes_that_no_image_has(components, factors, scale):
    planes = make_planes(0, (20, 20), (1, 1), 1, (0, 0, 20, 20))
    planes = (planes + planes)[:components] or planes
    arguments = planes, factors, scale, (0, 0, 20, 20), (10, 10)
    assert resize_planes(*arguments, components=components)[0] == BAD_REGION


@METHODS
@given(value=st.tuples(*[st.integers(0, 255)] * 3), case=cases())
@example(value=(84, 0, 82), case=((69, 1), (0, 0, 69, 1), (1, 1), 1))
def test_one_colour_becomes_one_colour(method, value, case):
    image_size, box, factors, scale = case
    planes = [
        plane._replace(samples=np.full_like(plane.samples, v))
        for plane, v in zip(make_planes(0, image_size, factors, scale, box), value, strict=True)
    ]
    sample = resize_planes_array(planes, factors, scale, box, (17, 23), method)
    y, cb, cr = value[0], value[1] - 128, value[2] - 128
    exact = np.array([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    assert np.abs(sample - exact.clip(0, 255)).max() < 0.6
    # Weights of some rows add up to a hair less than those of others, which may show in numbers
    # that are rounded from a half.
    is_half = np.abs(exact % 1 - 0.5) < 0.05
    assert ((sample == sample[0, 0]) | is_half).all()


def test_grey_is_as_good_as_rgb():
    luma = picture(200, 300)[:, :, 0]
    for method in FILTERS:
        gray = resize_planes_array([Plane(luma)], (1, 1), 1, (3, 5, 150, 222), (99, 70), method)
        rgb = np.repeat(luma[:, :, None], 3, axis=2)
        expected = resize_array(rgb, (3, 5, 150, 222), (99, 70), method).astype(int)
        assert np.abs(gray - expected).max() <= 1


def upsampled(chroma, height, width):
    """Chroma at luma's resolution, as libjpeg does it: 3/4 of the near sample, 1/4 of the far."""
    for axis, size in enumerate((height, width)):
        padded = np.pad(
            chroma.astype(float), [(1, 1) if a == axis else (0, 0) for a in (0, 1)], "edge"
        )
        near = padded.take(range(1, padded.shape[axis] - 1), axis)
        before = 0.75 * near + 0.25 * padded.take(range(padded.shape[axis] - 2), axis)
        behind = 0.75 * near + 0.25 * padded.take(range(2, padded.shape[axis]), axis)
        both = np.stack([before, behind], axis + 1)
        shape = [2 * n if a == axis else n for a, n in enumerate(near.shape)]
        chroma = both.reshape(shape).take(range(size), axis)
    return chroma


def as_rgb(luma, cb, cr):
    y, b, r = luma.astype(float), cb - 128.0, cr - 128.0
    colors = y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b
    return np.rint(np.stack(colors, -1)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize(("method", "mean"), [("bilinear", 0.75), ("area", 1.1)])
def test_photographs_are_close_to_converting_first(name, method, mean):
    data = pytest.importorskip("skimage.data")
    photo = Image.fromarray(getattr(data, name)()).convert("RGB").resize((450, 371))
    luma, *chroma = np.moveaxis(np.asarray(photo.convert("YCbCr")), -1, 0)
    cb, cr = (
        np.asarray(Image.fromarray(plane).resize((225, 186), Image.Resampling.BOX))
        for plane in chroma
    )
    rgb = as_rgb(luma, upsampled(cb, 371, 450), upsampled(cr, 371, 450))
    for box in [(40, 51, 200, 301), (0, 0, 371, 450), (100, 200, 111, 90)]:
        y, x, h, w = box
        expected = resize_array(rgb, box, (224, 224), method)
        if method == "bilinear":
            crop = Image.fromarray(rgb[y : y + h, x : x + w])
            expected = np.asarray(crop.resize((224, 224), Image.Resampling.BILINEAR))
        result = resize_planes_array(
            [Plane(luma), Plane(cb), Plane(cr)], (2, 2), 1, box, (224, 224), method
        )
        assert np.abs(result - expected.astype(int)).mean() < mean
        assert abs((result - expected.astype(int)).mean()) < 0.05

"""``RGBImageField``: what it takes, what it refuses, what it stores."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_reference import picture
from PIL import Image
from xxhash import xxh3_64_hexdigest

from ffcv.testing import encode_value
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.opencv import OpenCVCodec

IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3)))


def stored(field, value):
    """Mode, pixels."""
    record, regions = encode_value(field, value)
    data = regions[int(record["data_ptr"])]
    shape = int(record["height"]), int(record["width"]), 3
    if record["mode"] == 1:
        return 1, data.reshape(shape)
    pixels = np.zeros(shape, np.uint8)
    OpenCVCodec().decode(data, pixels)
    return int(record["mode"]), pixels


class TestConformance(FieldConformance):
    max_examples = 10

    def fields(self):
        return [RGBImageField()]

    def values(self, field):
        return st.just((5, 7)).flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3)))

    def wrong_values(self, field):
        return [
            (None, "its bytes; got NoneType"),
            ([[1, 2], [3, 4]], "its bytes; got list"),
            (np.zeros((4, 4, 3), np.float32), "got float32 (4, 4, 3). Convert it first: (x * 255)"),
            (np.zeros((4, 4, 3), np.uint16), "got uint16 (4, 4, 3). Scale it"),
            (np.zeros((4, 4), bool), "got bool (4, 4). Convert it first: x.astype"),
            (np.zeros((4, 5, 4), np.uint8), "got uint8 (4, 5, 4). Drop the alpha channel"),
            (np.zeros((3, 4, 5), np.uint8), "(3, 4, 5). Put channels last with x.transpose"),
            (np.zeros(9, np.uint8), "got uint8 (9,)"),
            (np.ma.array(np.zeros((2, 2), np.uint8), mask=[[0, 0], [0, 1]]), "(1, 1) is masked"),
            (np.zeros((0, 4, 3), np.uint8), "got one of 4×0"),
            (np.zeros((1, 65536, 3), np.uint8), "at most 65535 pixels a side, got 65536×1; set"),
            (torch.zeros(3, 4, 5), "got float32"),
            (torch.zeros((3, 4, 3), dtype=torch.uint8), "channels first or last"),
            (Image.new("I;16", (3, 3)), "8 bits a channel, got the PIL image of mode 'I;16'"),
            (Image.new("F", (3, 3)), "mode 'F'"),
            ("/no/such/picture.png", "cannot read the image file '/no/such/picture.png': No such"),
            (
                "https://a.org/b.png",
                "'https://a.org/b.png': it is a URL, and ffcv reads files: down",
            ),
            ("a\0b.png", "cannot read the image file 'a\\x00b.png': embedded null byte"),
            (b"not an image", "PIL cannot decode 12 bytes"),
        ]


def test_record_is_that_of_format_version_2():
    dtype = RGBImageField().metadata_type
    assert dtype.itemsize == 13
    assert [dtype.fields[n][1] for n in ("mode", "width", "height", "data_ptr")] == [0, 1, 3, 5]
    assert not np.asarray(RGBImageField("jpg").to_binary()).tobytes().strip(b"\0")


@given(IMAGES)
def test_raw_round_trips(image):
    mode, pixels = stored(RGBImageField(), image)
    assert mode == 1
    np.testing.assert_array_equal(pixels, image)


@given(IMAGES, st.integers(1, 100))
def test_jpeg_is_what_the_codec_makes_of_it(image, quality):
    mode, pixels = stored(RGBImageField("jpg", jpeg_quality=quality), image)
    assert mode == 0
    expected = np.zeros_like(image)
    codec = OpenCVCodec()
    codec.decode(np.frombuffer(codec.encode(image, quality), np.uint8), expected)
    np.testing.assert_array_equal(pixels, expected)


@given(IMAGES)
def test_all_kinds_of_input_are_the_same(image):
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    kinds = [
        Image.fromarray(image),
        png.getvalue(),
        bytearray(png.getvalue()),
        image[::-1][::-1],
        np.asfortranarray(image),
    ]
    if image.shape[0] != 3:  # else it could have its channels first
        kinds.append(torch.from_numpy(image))
    if image.shape[1] not in (1, 3):
        kinds.append(torch.from_numpy(image).permute(2, 0, 1))
    for kind in kinds:
        np.testing.assert_array_equal(stored(RGBImageField(), kind)[1], image)


def test_paths(tmp_path):
    image = picture(9, 12)
    path = tmp_path / "ein Bild.png"
    Image.fromarray(image).save(path)
    for given_path in (path, str(path)):
        np.testing.assert_array_equal(stored(RGBImageField(), given_path)[1], image)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "half.jpg"
    Image.fromarray(picture(90, 120)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"half\.jpg.: the JPEG stream of 1500 bytes breaks off"):
        encode_value(RGBImageField(), path)


def test_grey_is_replicated():
    gray = picture(6, 8)[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=2)
    for value in (gray, gray[..., None], torch.from_numpy(gray)[None], Image.fromarray(gray)):
        np.testing.assert_array_equal(stored(RGBImageField(), value)[1], expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "HSV", "YCbCr"])
def test_pillow_modes_are_converted_by_pillow(mode):
    image = Image.fromarray(picture(6, 8)).convert("L" if mode == "LA" else "RGB").convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(stored(RGBImageField(), image)[1], expected)


def test_exif_does_not_rotate():
    image = Image.fromarray(picture(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    np.testing.assert_array_equal(stored(RGBImageField(), stream.getvalue())[1], picture(6, 8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((90, 120), (45, 60)), ((120, 90), (60, 45)), ((60, 1), (60, 1)), ((2000, 1), (60, 1))],
)
def test_max_resolution(size, expected):
    image = picture(*size)
    _, pixels = stored(RGBImageField(max_resolution=60), image)
    assert pixels.shape == (*expected, 3)
    if size == expected:
        np.testing.assert_array_equal(pixels, image)


def test_max_resolution_takes_means_of_areas():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    _, pixels = stored(RGBImageField(max_resolution=20), image)
    means = image.reshape(15, 4, 20, 4, 3).mean(axis=(1, 3))
    assert np.abs(pixels - means).max() <= 1


def test_shrunk_pixels_are_the_same_on_all_machines():
    """Digests of what x86-64 gave; libraries round differently from one architecture to another."""
    found = []
    for (height, width), longest in (((300, 211), 97), ((211, 300), 128), ((64, 1000), 333)):
        rows, columns, channels = np.ogrid[:height, :width, :3]
        image = (rows * columns * 7 // 5 + rows * 29 + channels * 85).astype(np.uint8)
        _, pixels = stored(RGBImageField(max_resolution=longest), image)
        found.append(xxh3_64_hexdigest(np.ascontiguousarray(pixels).data))
    assert found == ["7ba97c3da0184292", "4939a756c2ffeff6", "c573c4088de49226"]


def test_sides_beyond_those_that_records_can_hold_are_shrunk():
    image = np.broadcast_to(picture(4, 1), (4, 70_000, 3)).copy()
    image[:, ::2] //= 2
    _, pixels = stored(RGBImageField(max_resolution=350), image)
    assert pixels.shape == (1, 350, 3)
    assert np.abs(pixels - image.mean(axis=(0, 1))).max() <= 1


def test_founding_spelling_stores_raw():
    assert stored(RGBImageField(max_resolution=256, jpeg_quality=90), picture(5, 5))[0] == 1


@pytest.mark.parametrize(("threshold", "mode"), [(None, 1), (299, 0), (300, 1), (0, 0)])
def test_smart_compresses_what_is_larger(threshold, mode):
    field = RGBImageField("smart", smart_threshold=threshold)
    assert stored(field, picture(10, 10))[0] == mode


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_proportion(probability):
    images = [picture(4, 4, seed) for seed in range(1000)]
    modes = {}
    for seed in (0, 1):
        field = RGBImageField("proportion", compress_probability=probability, seed=seed)
        modes[seed] = encode_values(field, images).records["mode"]
        assert abs((modes[seed] == 0).mean() - probability) < 0.06
        again = encode_values(field, images[::-1]).records["mode"][::-1]
        np.testing.assert_array_equal(modes[seed], again)
    assert (modes[0] != modes[1]).any() == (0 < probability < 1)


@pytest.mark.parametrize("kind", [float, np.float32, np.float16, np.int64, np.uint8, Fraction])
def test_whole_numbers_of_any_type(kind):
    field = RGBImageField("smart", kind(64), kind(200), kind(75), seed=kind(3))
    numbers = (field.max_resolution, field.smart_threshold, field.jpeg_quality, field.seed)
    assert numbers == (64, 200, 75, 3)
    assert {type(number) for number in numbers} == {int}
    right = RGBImageField("smart", 64, 200, 75, seed=3)
    assert (
        stored(field, picture(90, 70))[1].tobytes() == stored(right, picture(90, 70))[1].tobytes()
    )


@pytest.mark.parametrize("mode", ["raw", "jpg", "smart", "keep"])
def test_no_probability_where_none_is_used(mode):
    field, usual = RGBImageField(mode, compress_probability=None), RGBImageField(mode)
    assert field.compress_probability is None
    assert stored(field, picture(9, 9))[1].tobytes() == stored(usual, picture(9, 9))[1].tobytes()


def test_proportion_is_decided_by_what_is_given():
    """Not by what shrinking makes of it, nor by how a file is given."""
    images = [picture(40, 60, seed) for seed in range(60)]
    modes = {
        longest: encode_values(RGBImageField("proportion", longest), images).records["mode"]
        for longest in (None, 10, 50)
    }
    assert 10 < modes[None].sum() < 50
    for found in modes.values():
        np.testing.assert_array_equal(found, modes[None])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_proportion_decides_alike_for_a_file_its_bytes_and_a_new_image_of_it(tmp_path, kind):
    def modes(values):
        return encode_values(RGBImageField("proportion", 30), values).records["mode"].tolist()

    paths = [tmp_path / f"{i}.{kind}" for i in range(20)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(40, 60, i)).save(path)
    expected = modes(paths)
    assert {0, 1} == set(expected)
    assert modes([path.read_bytes() for path in paths]) == expected
    assert modes([str(path) for path in paths]) == expected
    if kind == "JPEG":
        assert modes([Image.open(path) for path in paths]) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"write_mode": "png"}, "write_mode: expected one of 'raw', 'jpg'.*'png'"),
        ({"max_resolution": 0}, "max_resolution: expected 1"),
        ({"max_resolution": 1.5}, "max_resolution: expected a whole number, got float 1.5"),
        ({"smart_threshold": -1}, "smart_threshold"),
        ({"jpeg_quality": 101}, "jpeg_quality: expected 1 to 100, got 101"),
        ({"jpeg_quality": True}, "jpeg_quality: expected a whole number, got bool"),
        ({"jpeg_quality": 90.5}, "jpeg_quality: expected a whole number, got float 90.5"),
        ({"jpeg_quality": "90"}, "jpeg_quality: expected a whole number, got str '90'"),
        ({"max_resolution": float("inf")}, "max_resolution: expected a whole number"),
        ({"write_mode": "proportion", "compress_probability": None}, 'compress_prob.*"proportion"'),
        ({"compress_probability": "half"}, "compress_probability: expected 0 to 1, got str 'half'"),
        ({"compress_probability": 1.5}, "compress_probability: expected 0 to 1, got 1.5"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        RGBImageField(**arguments)


def test_figures():
    sizes = [(4, 9), (6, 5), (8, 7), (8, 7)]
    field = RGBImageField("smart", smart_threshold=150)
    records = encode_values(field, [picture(*size) for size in sizes]).records
    figures = field.summarise(records)
    assert figures == {
        "raw": 2,
        "jpeg": 2,
        "width": {"min": 5, "median": 7, "max": 9},
        "height": {"min": 4, "median": 6, "max": 8},
    }
    records["mode"][0] = 7
    assert field.summarise(records)["unknown mode"] == 1
    assert field.summarise(records[:0]) == {"raw": 0, "jpeg": 0}
    assert "RGB" in field.describe()

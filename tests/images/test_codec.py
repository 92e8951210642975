"""The OpenCV codec on good, broken and hostile JPEG streams."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_reference import picture
from PIL import Image

from ffcv_plugins.images.codec import Codec, ImageInfo, installed_codec
from ffcv_plugins.images.opencv import OpenCVCodec

CODEC = OpenCVCodec()
PIXELS = picture(50, 70)


def jpeg(mode="RGB", image=PIXELS, **options):
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def as_array(data):
    return np.frombuffer(data, np.uint8)


def decoded(data, height=50, width=70):
    out = np.zeros((height, width, 3), np.uint8)
    CODEC.decode(as_array(data), out)
    return out


def with_orientation(data):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def test_is_found_by_its_name():
    assert isinstance(installed_codec(), OpenCVCodec)
    assert installed_codec() is installed_codec("opencv")
    assert isinstance(CODEC, Codec)


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (jpeg(quality=90), 3),
        (jpeg(quality=75, progressive=True), 3),
        (jpeg(quality=95, subsampling=0), 3),
        (jpeg("L"), 1),
        (jpeg("CMYK"), 4),
        (with_orientation(jpeg()), 3),
        (jpeg() + bytes(100), 3),
    ],
)
def test_probe_reads_the_header(data, channels):
    assert CODEC.probe(as_array(data)) == ImageInfo(70, 50, channels, "jpeg")


@pytest.mark.parametrize(
    "data", [jpeg(quality=90), jpeg(progressive=True), jpeg(subsampling=0), jpeg("L")]
)
def test_decodes_as_pillow_does(data):
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decoded(data), expected)


def test_does_not_rotate():
    np.testing.assert_array_equal(decoded(with_orientation(jpeg())), decoded(jpeg()))


def test_what_follows_the_end_is_ignored():
    np.testing.assert_array_equal(decoded(jpeg() + b"\xff\xd8more"), decoded(jpeg()))


@pytest.mark.parametrize("quality", [1, 50, 90, 100])
def test_encodes(quality):
    data = CODEC.encode(PIXELS, quality)
    assert CODEC.probe(as_array(data)) == ImageInfo(70, 50, 3, "jpeg")
    difference = np.abs(decoded(data).astype(int) - PIXELS).mean()
    assert difference < {1: 60, 50: 10, 90: 6, 100: 5}[quality]


def test_encode_refuses_what_jpeg_cannot_hold():
    with pytest.raises(ValueError, match="at most 65500 pixels a side for JPEG, got 65501×1"):
        CODEC.encode(np.zeros((1, 65501, 3), np.uint8), 90)


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_is_refused(progressive):
    data = jpeg(progressive=progressive)
    for length in [*range(0, 700, 13), *range(700, len(data) - 3, 97), len(data) - 3]:
        with pytest.raises(ValueError, match="JPEG stream"):
            decoded(data[:length])


def test_truncation_after_a_thumbnail_is_refused():
    data = jpeg()
    thumbnail = jpeg(image=picture(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    np.testing.assert_array_equal(decoded(whole), decoded(data))
    with pytest.raises(ValueError, match="breaks off"):
        decoded(whole[: -len(data) // 3])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_missing_end_marker_is_no_truncation(progressive):
    data = jpeg(progressive=progressive)
    for length in (len(data) - 2, len(data) - 1):
        np.testing.assert_array_equal(decoded(data[:length]), decoded(data))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"keep_rgb": True}, {"mode": "CMYK"}]
)
def test_what_was_cut_and_closed_is_refused(options):
    """OpenCV fills up with grey; it is never asked."""
    data = jpeg(**options)
    for length in range(len(data) * 3 // 4, len(data) - 2, 41):
        with pytest.raises(ValueError, match="JPEG stream is (damaged|incomplete): .*; restore it"):
            decoded(data[:length].rstrip(b"\xff") + b"\xff\xd9")


@pytest.mark.parametrize("size", [(70, 50), (50, 69), (1, 1), (51, 70)])
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"expected an image of {size[1]}×{size[0]} .* 70×50"):
        decoded(jpeg(), *size)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin with FF D8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "does not begin with FF D8"),
        (b"\xff\xd8\xff\xdb\x00\x01" + bytes(9), "segment of length 1"),
        (b"\xff\xd8\xff\xe0\x00\x04ab" + b"nonsense", "ends before its first scan"),
        (b"\xff\xd8" + b"\xff" * 5000, "ends before its first scan"),
        (b"\xff\xd8" + bytes(5000) + b"\xff\xd9", "ends before its first scan"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000, "over 4096 segments"),
        (b"\xff\xd8" + b"\xff\x01" * 100000, "over 4096 segments"),
        (b"\xff\xd8\xff\xda\x00\x02" + bytes(9), "no frame header"),
        (b"\xff\xd8\xff\xc0\x00\x09\x0c\x00\x01\x00\x01\x03\x00", "8 bits a value, got one of 12"),
        (b"\xff\xd8\xff\xc0\x00\x09\x08\x00\x00\x00\x01\x03\x00", "size of 1×0"),
        (b"\xff\xd8\xff\xc0\x00\x09\x08\x00\x01\x00\x01\x02\x00", "3 or 4 channels, got 2"),
        (b"\xff\xd8\xff\xc0\x00\x09\x08", "cut short"),
    ],
)
def test_hostile_headers_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        CODEC.probe(as_array(data))


@given(st.data())
def test_damage_gives_pixels_or_value_error(data):
    stream = bytearray(jpeg(progressive=data.draw(st.booleans())))
    places = st.integers(0, len(stream) - 1)
    for place in data.draw(st.lists(places | st.integers(0, 699), max_size=4)):
        stream[place] = data.draw(st.integers(0, 255))
    del stream[data.draw(places) :]
    with suppress(ValueError):
        assert decoded(bytes(stream)).shape == (50, 70, 3)


def test_threads_share_it_and_opencv_keeps_its_settings():
    before = cv2.getNumThreads()
    expected = decoded(jpeg())
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: decoded(jpeg()), range(40)):
            np.testing.assert_array_equal(got, expected)
    assert cv2.getNumThreads() == before

"""The whole decoder against OpenCV's, which is libjpeg-turbo; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from jpeg_native import NativeDecoder, decoder_for
from jpeg_streams import (
    CV2_SAMPLINGS,
    PIL_SAMPLINGS,
    by_opencv,
    by_pillow,
    cut,
    decoded_by_opencv,
    picture,
    random_region,
    random_stream,
    size_of,
    texture,
)

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.decoder import OUTSIDE
from ffcv_plugins.images.jpeg.markers import UNSUPPORTED

CHUNKS = 20


def decoded(stream, region=None, index=b"", align_end=True):
    """RGB pixels by the native decoder, of the whole image if no region is given."""
    height, width = size_of(stream)
    decoder = decoder_for(stream, height, width, align_end)
    code, pixels = decoder.rgb(stream, region or (0, 0, height, width), index, gap=5)
    assert code == 0
    return pixels


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_thousands_of_images(chunk):
    """Whole images, and regions of them: with a side index, with restart markers, with neither."""
    rng = np.random.default_rng(chunk)
    largest = int(rng.choice([9, 40, 90, 200]))
    shared = NativeDecoder(200_000, largest, largest, bool(chunk % 2))
    for _ in range(120):
        stream = random_stream(rng, largest)
        height, width = size_of(stream)
        expected = decoded_by_opencv(stream)
        code, pixels = shared.rgb(stream, (0, 0, height, width))
        assert code == 0
        np.testing.assert_array_equal(pixels, expected)
        index = shared.index(stream, int(rng.choice([0, 0, 1, 3, 8])))
        for given in (b"", index if isinstance(index, bytes) else b""):
            region = random_region(rng, height, width)
            code, pixels = shared.rgb(stream, region, given, gap=int(rng.integers(3)))
            assert code == 0
            np.testing.assert_array_equal(pixels, cut(expected, region))


@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 65])
def test_small_sizes(sampling, width):
    rng = np.random.default_rng(width)
    for height in (1, 2, 7, 8, 9, 16, 17, 33):
        stream = by_opencv(picture(rng, height, width), 80, sampling)
        np.testing.assert_array_equal(decoded(stream), decoded_by_opencv(stream))


@pytest.mark.parametrize("quality", range(1, 101))
def test_qualities(quality):
    rng = np.random.default_rng(quality)
    for stream in (
        by_opencv(picture(rng, 40, 56), quality, rng.choice(CV2_SAMPLINGS)),
        by_pillow(picture(rng, 40, 56), quality, rng.choice(PIL_SAMPLINGS), optimised=True),
    ):
        np.testing.assert_array_equal(decoded(stream), decoded_by_opencv(stream))


@pytest.mark.parametrize("align_end", [True, False])
@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
@pytest.mark.parametrize("interval", [0, 3])
def test_every_region_of_one_pixel(sampling, interval, align_end):
    height, width = 19, 37
    stream = by_opencv(texture(height, width), 90, sampling, interval=interval)
    expected = decoded_by_opencv(stream)
    decoder = decoder_for(stream, height, width, align_end)
    for y in range(height):
        for x in range(width):
            code, pixels = decoder.rgb(stream, (y, x, 1, 1))
            assert (code, pixels.tolist()) == (0, [[expected[y, x].tolist()]])


@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
@pytest.mark.parametrize("indexed", [False, True])
def test_only_the_rows_of_a_region_are_entered(sampling, indexed):
    """With a side index the MCUs above are not decoded, and damage there goes unnoticed."""
    stream = by_opencv(texture(96, 64), 90, sampling)
    decoder = decoder_for(stream, 96, 64)
    index = decoder.index(stream)
    expected = decoded_by_opencv(stream)
    at = int.from_bytes(index[8:12], "little") // 8
    damaged = stream[:at] + b"\xff\xd9" + stream[at + 2 :]
    region = (64, 5, 30, 50)
    code, pixels = decoder.rgb(damaged, region, index if indexed else b"")
    assert (code == 0) == indexed
    if indexed:
        np.testing.assert_array_equal(pixels, cut(expected, region))


@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
def test_what_comes_after_a_region_is_not_looked_at(sampling):
    stream = by_opencv(texture(96, 64), 90, sampling)
    decoder = decoder_for(stream, 96, 64)
    index, expected = decoder.index(stream), decoded_by_opencv(stream)
    region = (0, 3, 20, 40)
    cut_off = stream[: int.from_bytes(index[8 + 40 :][:4], "little") // 8]
    code, pixels = decoder.rgb(cut_off, region)
    assert code == 0
    np.testing.assert_array_equal(pixels, cut(expected, region))
    assert decoder.rgb(cut_off, (0, 0, 96, 64))[0] != 0


@pytest.mark.parametrize("size", [8, 4, 2, 1])
@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
def test_planes_of_regions_are_parts_of_the_planes(sampling, size):
    rng = np.random.default_rng(size)
    stream = by_opencv(texture(70, 150), 90, sampling)
    decoder = decoder_for(stream, 70, 150)
    _, whole = decoder.planes(stream, (0, 0, 70, 150), size)
    index = decoder.index(stream)
    for _ in range(40):
        region = random_region(rng, 70, 150)
        _, planes = decoder.planes(stream, region, size, index if rng.integers(2) else b"")
        for (top, left, samples), (_, _, all_samples) in zip(planes, whole, strict=True):
            rows, columns = samples.shape
            expected = all_samples[top : top + rows, left : left + columns]
            np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 0, 5), (0, 0, 5, 0), (0, 0, -1, 5), (-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 31, 5),
        (0, 0, 5, 41), (29, 0, 2, 5), (0, 39, 5, 2), (30, 0, 1, 1), (0, 40, 1, 1),
        (2**62, 0, 1, 1), (0, 0, 2**62, 1), (1, 0, 2**63 - 1, 1), (0, 0, 1, 2**63 - 1),
        (-(2**63), 0, 1, 1),
    ],
)  # fmt: skip
def test_regions_outside_of_the_image(region):
    stream = by_opencv(np.zeros((30, 40, 3), np.uint8), 90)
    decoder = decoder_for(stream, 30, 40)
    assert decoder.planes(stream, region) == (OUTSIDE, [])


@pytest.mark.parametrize("word", [s.N_PLANES, s.N_UNSTUFFED, s.N_ROWS])
def test_buffers_that_are_too_small(word):
    stream = by_opencv(texture(60, 60), 90)
    decoder = decoder_for(stream, 60, 60)
    region = (0, 0, 60, 60)
    before = int(decoder.state[word])
    low, high = 0, before
    while high - low > 1:
        middle = (low + high) // 2
        decoder.state[word] = middle
        code = decoder.rgb(stream, region)[0]
        assert code in (0, UNSUPPORTED)
        low, high = (middle, high) if code else (low, middle)
    # The smallest size that will do is no larger than what is allocated.
    assert 0 < high <= before
    decoder.state[word] = low
    assert decoder.rgb(stream, region)[0] == UNSUPPORTED


def test_a_worker_that_decodes_one_stream_after_another_keeps_nothing_of_it():
    rng = np.random.default_rng(5)
    decoder = NativeDecoder(100_000, 64, 64)
    streams = [random_stream(rng, 64) for _ in range(30)]
    for _ in range(200):
        stream, other = (streams[rng.integers(len(streams))] for _ in range(2))
        decoder.rgb(other[: rng.integers(len(other))], (0, 0, *size_of(other)))
        code, pixels = decoder.rgb(stream, (0, 0, *size_of(stream)))
        assert code == 0
        np.testing.assert_array_equal(pixels, decoded_by_opencv(stream))

"""Decoders of crops say which bytes they read; what lies elsewhere never shows in a sample."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import as_array, jpeg, kinds

from ffcv.pipeline import WHOLE, kernel
from ffcv.testing import decode
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv_plugins.images.conformance import CodecConformance
from ffcv_plugins.images.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
)
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.grid import cells
from ffcv_plugins.images.jpeg.parts import PARTS_ENTRY
from ffcv_plugins.images.jpeg.row_index import row_index
from ffcv_plugins.images.jpeg.segments import ENTRY_BYTES, HEADER_BYTES
from ffcv_plugins.images.native import NativeCodec
from ffcv_plugins.images.opencv import OpenCVCodec

SAMPLINGS = {
    name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
    for name in ("411", "420", "422", "440", "444")
}


@st.composite
def streams(draw):
    """JPEG streams of any usual kind."""
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 220))
    pixels = picture(height, width, draw(st.integers(0, 9)))
    if draw(st.booleans()):  # so many bytes a row that it has several entries
        pixels ^= np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)
    if draw(st.integers(0, 9)) == 0:
        return jpeg(pixels, draw(st.sampled_from(["L", "RGB"])), progressive=draw(st.booleans()))
    options = {
        cv2.IMWRITE_JPEG_QUALITY: draw(st.integers(1, 100)),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: SAMPLINGS[draw(st.sampled_from(sorted(SAMPLINGS)))],
        cv2.IMWRITE_JPEG_RST_INTERVAL: draw(st.sampled_from([0, 0, 0, 1, 7])),
    }
    return cv2.imencode(".jpg", pixels, [n for pair in options.items() for n in pair])[1].tobytes()


@st.composite
def decoders(draw):
    """Decoders of crops, small and large, at the image's borders and everywhere else."""
    size = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    options = {
        "mode": draw(st.sampled_from(["exact", "fast"])),
        "interpolation": draw(st.sampled_from(["bilinear", "area", "nearest", "bicubic"])),
    }
    if draw(st.booleans()):
        return CenterCropRGBImageDecoder(size, draw(st.sampled_from([0.1, 0.5, 1.0])), **options)
    scale = draw(st.sampled_from([(0.01, 0.05), (0.08, 1.0), (1.0, 1.0)]))
    return RandomResizedCropRGBImageDecoder(size, scale, **options)


def assert_parts_are_enough(values, field, decoder, **options):
    encoded = encode_values(field, values)
    whole = decode(field, encoded, decoder, **options)
    parts = decode(field, encoded, decoder, parts_only=True, **options)
    np.testing.assert_array_equal(parts, whole)


@settings(max_examples=150)
@given(st.lists(streams(), min_size=1, max_size=3), decoders(), st.integers(0, 2**32))
def test_what_is_elsewhere_never_shows(values, decoder, seed):
    assert_parts_are_enough(values, RGBImageField("keep"), decoder, seed=seed)


@given(st.integers(1, 60), st.integers(1, 60), decoders(), st.integers(0, 2**32))
def test_raw_images_are_read_by_rows(height, width, decoder, seed):
    values = [picture(height, width), picture(width, height)]
    assert_parts_are_enough(values, RGBImageField("raw"), decoder, seed=seed)


def parts_of_stream(data, index, size, box):
    """What is needed of a stream: pairs of begin and end, or ``None`` for all of it."""
    target, entry = guarded(32).view(np.int64), guarded_copy(as_array(index))
    number = PARTS_ENTRY(len(data), *size, *box, entry.ctypes.data, entry.size, target.ctypes.data)
    again = PARTS_ENTRY(len(data), *size, *box, entry.ctypes.data, entry.size, 0)
    assert number == again
    if number == WHOLE:
        return None
    return [(begin, begin + nbytes) for begin, nbytes in target.reshape(2, 2)[:number].tolist()]


def test_they_are_the_header_and_the_rows():
    data = jpeg(picture(160, 96), subsampling="4:2:0", quality=95)
    index = row_index(as_array(data))
    bits = [
        struct.unpack_from("<I", index, HEADER_BYTES + ENTRY_BYTES * row)[0] for row in range(10)
    ]
    scan, starts = bits[0] >> 3, [bit >> 3 for bit in bits]

    def needed(y, height):
        return parts_of_stream(data, index, (160, 96), (y, 0, height, 96))

    # One more pixel on either side, for the chroma that is interpolated.
    assert needed(33, 14) == [(0, scan), (starts[2], starts[3] + 2)]
    assert needed(32, 16) == [(0, scan), (starts[1], starts[4] + 2)]
    assert needed(0, 15) == [(0, starts[1] + 2)]
    assert needed(150, 10) == [(0, scan), (starts[9], len(data))]
    assert needed(0, 160) == [(0, len(data))]


def test_sampling_that_the_index_leaves_open_is_provided_for():
    """Ten columns in two segments and one row, or five columns in one and two rows, or ..."""
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for size in ((16, 16), (32, 32), (64, 64), (64, 128), (128, 64)):
            data = jpeg(picture(*size), subsampling=subsampling, quality=100)
            for interval in range(1, 17):
                index = row_index(as_array(data), interval)
                for y in range(0, size[0] - 8, 8):
                    found = parts_of_stream(data, index, size, (y, 3, 8, 5))
                    v = 2 if subsampling == "4:2:0" else 1
                    h = 1 if subsampling == "4:4:4" else 2
                    per_row = -(-cells(size[1], h) // interval)
                    first = max(y - (v == 2), 0) // (8 * v) * per_row
                    at = HEADER_BYTES + ENTRY_BYTES * first
                    begin = struct.unpack_from("<I", index, at)[0] >> 3
                    assert any(low <= begin < high for low, high in found)


@pytest.mark.parametrize("name", ["progressive", "RGB", "restart markers"])
def test_what_has_no_index_is_read_whole(name):
    data = kinds()[name]
    assert parts_of_stream(data, row_index(as_array(data)), (90, 130), (8, 8, 8, 8)) is None


def test_an_index_that_does_not_fit_is_no_help():
    data = jpeg(picture(90, 130))
    index, box = row_index(as_array(data)), (8, 8, 8, 8)
    assert parts_of_stream(data, index, (90, 130), box)
    for size in ((91, 300), (200, 130)):
        assert parts_of_stream(data, index, size, box) is None
    assert parts_of_stream(data + b"\0", index, (90, 130), box) is None
    for wrong in (index[:-1], index + b"\0", index[:HEADER_BYTES], b""):
        assert parts_of_stream(data, wrong, (90, 130), box) is None
    for outside in ((-1, 0, 9, 9), (0, 0, 0, 9), (89, 0, 2, 9), (0, 129, 9, 2)):
        assert parts_of_stream(data, index, (90, 130), outside) is None


@given(st.binary(min_size=4, max_size=4), st.integers(0, 5))
def test_entries_of_any_content_are_refused_or_lie_in_the_stream(entry, row):
    data = jpeg(picture(90, 130))
    index = bytearray(row_index(as_array(data)))
    at = HEADER_BYTES + ENTRY_BYTES * row
    index[at : at + 4] = entry
    found = parts_of_stream(data, bytes(index), (90, 130), (30, 8, 40, 8))
    for begin, end in found or []:
        assert 0 <= begin <= end
    # What does not lie in the region counts as all of it; see the tests of the pipeline.


class Jpeg(OpenCVCodec, NativeCodec):
    name = "jpeg"


class Indexed(CodecConformance):
    codec = Jpeg

    def index(self, stream):
        return row_index(stream)


def test_the_native_codec_conforms():
    Indexed().test_no_other_parts_are_read()


class Crops(FieldConformance):
    """Of its tests those that are about parts; the others have their turn elsewhere."""

    def fields(self):
        return [RGBImageField("raw")]

    def decoder(self, field):
        return RandomResizedCropRGBImageDecoder(8)

    def values(self, field):
        return st.builds(picture, st.integers(1, 30), st.integers(1, 30))

    def wrong_values(self, field):
        return []


def test_decoders_conform():
    crops = Crops()
    crops.max_examples = 5
    crops.test_parts_are_all_that_is_read()
    crops.max_examples = 1
    crops.test_hostile_records_are_refused_or_harmless()


@kernel
def trusts_its_record(record, nbytes, ranges, params, key, sample):
    for i in range(record["mode"]):  # 1, which stands for raw pixels, in what a writer has made
        ranges[i, 0], ranges[i, 1] = 0, nbytes
    return 1


@kernel
def says_too_little(record, nbytes, ranges, params, key, sample):
    ranges[0, 0], ranges[0, 1] = 0, nbytes // 2
    return 1


@pytest.mark.parametrize(
    ("function", "test", "words"),
    [
        (says_too_little, "parts_are_all_that_is_read", "leaves out bytes that its kernel reads"),
        (
            trusts_its_record,
            "hostile_records_are_refused_or_harmless",
            "touched memory that is not its own",
        ),
    ],
)
def test_decoders_that_do_not_are_found_out(function, test, words):
    class Wrong(RandomResizedCropRGBImageDecoder):
        parts = staticmethod(function)

    class Tests(Crops):
        max_examples = 1

        def decoder(self, field):
            return Wrong(8)

    with pytest.raises(AssertionError, match=words):
        getattr(Tests(), f"test_{test}")()


class Contradicted(RGBImageField):
    """Has an index, as long as one should be, of an image with another sampling."""

    def side_index_entry(self, record, data):
        other = jpeg(picture(int(record["height"]), int(record["width"])), subsampling="4:4:4")
        index = bytearray(row_index(as_array(other)))
        scan = data.tobytes().index(b"\xff\xda") + 14
        struct.pack_into("<I", index, 0, data.size)
        rows = (len(index) - HEADER_BYTES) // ENTRY_BYTES
        for row, byte in enumerate(np.linspace(scan, data.size - 1, rows).astype(int)):
            struct.pack_into("<I", index, HEADER_BYTES + ENTRY_BYTES * row, 8 * int(byte))
        return bytes(index)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_header_that_contradicts_the_index_is_noticed(mode):
    """The native decoder would go without the index, and read what nobody has fetched."""
    values = [jpeg(picture(160, 120, seed), subsampling="4:2:0") for seed in range(4)]
    decoder = RandomResizedCropRGBImageDecoder(40, (0.05, 0.1), mode=mode)
    field = Contradicted("keep")
    assert_parts_are_enough(values, field, decoder)
    plain = RandomResizedCropRGBImageDecoder(40, (0.05, 0.1))
    np.testing.assert_array_equal(
        decode(field, values, plain, parts_only=True), decode(RGBImageField("keep"), values, plain)
    )


def test_a_kernel_of_a_derived_class_reads_all():
    """What is inherited says nothing about it."""

    class Whole(RandomResizedCropRGBImageDecoder):
        kernel = staticmethod(CenterCropRGBImageDecoder.kernel)

        def params(self):
            return CenterCropRGBImageDecoder.params(self)

    decoder = Whole(40)
    decoder.ratio = 1.0
    values = [jpeg(picture(160, 120, seed)) for seed in range(4)]
    expected = decode(RGBImageField("keep"), values, CenterCropRGBImageDecoder(40, 1.0))
    got = decode(RGBImageField("keep"), values, decoder, parts_only=True)
    np.testing.assert_array_equal(got, expected)

"""Side indexes, byte by byte, against bits as text; all memory is fenced."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from jpeg_bits_reference import decode_scan, read_segments
from jpeg_native import decoder_for
from jpeg_streams import (
    CV2_SAMPLINGS,
    by_opencv,
    by_pillow,
    picture,
    split,
    texture,
)

from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.row_index import row_index


def reference_index(stream, interval):
    """The side index, made slowly."""
    columns = read_segments(split(stream)[0]).columns
    interval = min(interval or columns, columns)
    index = struct.pack("<IHH", len(stream), interval, 0)
    for mcu, (place, bit, before, _) in enumerate(decode_scan(stream)):
        if mcu % columns % interval == 0:
            index += struct.pack("<I3h", 8 * place + bit, *before, *[0] * (3 - len(before)))
    return index


@pytest.mark.parametrize("sampling", [*CV2_SAMPLINGS, "grey"])
@pytest.mark.parametrize("interval", [0, 1, 2, 3, 8])
def test_equals_the_reference(sampling, interval):
    rng = np.random.default_rng(interval)
    for size in ((41, 50), (8, 8), (1, 1), (33, 17)):
        pixels = picture(rng, *size, 1 if sampling == "grey" else 3)
        stream = by_opencv(pixels, 92, "444" if sampling == "grey" else sampling)
        expected = reference_index(stream, interval)
        decoder = decoder_for(stream, *size)
        assert decoder.index(stream, interval, len(expected)) == expected
        assert row_index(np.frombuffer(stream, np.uint8), interval) == expected


def test_many_stuffed_bytes():
    rng = np.random.default_rng(0)
    stream = by_opencv(rng.integers(0, 256, (48, 64, 3), np.uint8), 100, "444")
    assert split(stream)[1].count(b"\xff\0") > 50
    assert decoder_for(stream, 48, 64).index(stream) == reference_index(stream, 0)


@pytest.mark.parametrize("interval", [-1, -(2**63), 9, 65536, 2**40, 2**62])
def test_intervals_beyond_a_row_are_a_row(interval):
    stream = by_opencv(np.zeros((40, 64, 3), np.uint8), 90, "444")
    assert decoder_for(stream, 40, 64).index(stream, interval) == reference_index(stream, 0)


@pytest.mark.parametrize("align_end", [True, False])
@pytest.mark.parametrize("missing", [1, 10, 30])
def test_too_little_room(missing, align_end):
    stream = by_opencv(texture(40, 64), 90)
    room = len(reference_index(stream, 0)) - missing
    assert decoder_for(stream, 40, 64, align_end).index(stream, 0, room) == -UNSUPPORTED


def test_streams_that_get_none():
    pixels = texture(40, 64)
    stream = by_opencv(pixels, 90)
    for other, reason in (
        (by_opencv(pixels, 90, interval=2), UNSUPPORTED),
        (by_pillow(pixels, 90, progressive=True), UNSUPPORTED),
        (stream[: len(stream) * 3 // 4], BROKEN),
        (stream[:100], BROKEN),
        (b"", BROKEN),
    ):
        assert decoder_for(other, 40, 64).index(other) == -reason
        assert row_index(np.frombuffer(other, np.uint8)) == b""


def test_every_truncation():
    stream = by_opencv(texture(16, 24), 90)
    decoder, whole = decoder_for(stream, 16, 24), reference_index(stream, 0)
    for size in range(len(stream) - 2):
        assert decoder.index(stream[:size], 0, len(whole)) == -BROKEN
    # Without its end marker, the stream has lost nothing.
    for size in (len(stream) - 2, len(stream) - 1):
        expected = size.to_bytes(4, "little") + whole[4:]
        assert decoder.index(stream[:size], 0, len(whole)) == expected

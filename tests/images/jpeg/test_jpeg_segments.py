"""Entering the scan at restart markers and by a side index; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_native import NativeDecoder, decoder_for
from jpeg_streams import (
    CV2_SAMPLINGS,
    DRI,
    Segment,
    by_opencv,
    cut,
    decoded_by_opencv,
    joined,
    random_region,
    split,
    texture,
)

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.markers import BROKEN
from ffcv_plugins.images.jpeg.segments import ENTRY_BYTES, HEADER_BYTES

HEIGHT, WIDTH = 70, 90
PIXELS = texture(HEIGHT, WIDTH)
WHOLE, RESTARTS, INDEXED = 0, 1, 2
INTERVALS = [1, 2, 3, 5, 6, 7, 12, 13, 1000]
"""With 4:2:0, a row has 6 MCUs; some intervals divide that, others are several rows."""


def stream_of(interval=0, sampling="420"):
    return by_opencv(PIXELS, 90, sampling, interval=interval)


def check_regions(stream, index=b"", access=None, number=30):
    """Random regions are the same parts of OpenCV's image."""
    rng, expected = np.random.default_rng(len(index)), decoded_by_opencv(stream)
    decoder = decoder_for(stream, HEIGHT, WIDTH)
    for region in [
        (0, 0, HEIGHT, WIDTH),
        *(random_region(rng, HEIGHT, WIDTH) for _ in range(number)),
    ]:
        code, pixels = decoder.rgb(stream, region, index)
        assert code == 0
        assert access in (None, decoder.state[s.ACCESS])
        np.testing.assert_array_equal(pixels, cut(expected, region))


@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_restart_markers(interval, sampling):
    check_regions(stream_of(interval, sampling), access=RESTARTS)


@pytest.mark.parametrize("sampling", CV2_SAMPLINGS)
@pytest.mark.parametrize("interval", [0, 1, 3, 8])
def test_side_index(interval, sampling):
    stream = stream_of(sampling=sampling)
    index = decoder_for(stream, HEIGHT, WIDTH).index(stream, interval)
    check_regions(stream, index, INDEXED)


def test_neither():
    check_regions(stream_of(), access=WHOLE)


def test_restart_markers_are_preferred_to_an_index():
    index = decoder_for(stream_of(), HEIGHT, WIDTH).index(stream_of())
    check_regions(stream_of(3), index, RESTARTS)


def test_an_interval_that_nothing_in_the_scan_follows():
    """One segment needs no marker behind it; a DRI segment of 0 means none at all."""
    segments, data = split(stream_of())
    check_regions(joined([Segment(DRI, b"\x40\0"), *segments], data), access=RESTARTS)
    more = [Segment(DRI, b"\0\3"), Segment(DRI, b"\0\0")]
    check_regions(joined([*more, *segments], data), access=WHOLE)


@pytest.mark.parametrize("fill", [1, 2, 40])
def test_fill_bytes_before_restart_markers(fill):
    segments, data = split(stream_of(3))
    for number in range(8):
        marker = bytes([0xFF, 0xD0 + number])
        data = data.replace(marker, b"\xff" * fill + marker)
    check_regions(joined(segments, data), access=RESTARTS)


@pytest.mark.parametrize("change", ["missing", "swapped", "other", "cut off"])
def test_restart_markers_in_disorder(change):
    segments, data = split(stream_of(3))
    one, two = b"\xff\xd1", b"\xff\xd2"
    data = {
        "missing": data.replace(one, b"", 1),
        "swapped": data.replace(one, b"\xff\xd7", 1),
        "other": data.replace(two, b"\xff\xd9", 1),
        "cut off": data[: data.index(two)],
    }[change]
    stream = joined(segments, data)
    decoder = NativeDecoder(len(stream), HEIGHT, WIDTH)
    assert decoder.rgb(stream, (0, 0, HEIGHT, WIDTH))[0] == BROKEN
    assert decoder.rgb(stream, (0, 0, 8, 8))[0] == 0


class TestWrongIndex:
    """An index is not trusted: what does not fit is not used, and what leads astray is an error."""

    stream = stream_of()
    index = decoder_for(stream, HEIGHT, WIDTH).index(stream)
    region = (20, 5, 40, 60)

    def access(self, index, stream=None):
        """How the scan was entered; pixels are right."""
        stream = stream or self.stream
        decoder = decoder_for(stream, HEIGHT, WIDTH)
        code, pixels = decoder.rgb(stream, self.region, index)
        assert code == 0
        np.testing.assert_array_equal(pixels, cut(decoded_by_opencv(stream), self.region))
        return decoder.state[s.ACCESS]

    def test_the_right_one(self):
        assert self.access(self.index) == INDEXED

    @pytest.mark.parametrize("size", [0, 1, 4, 7, 8, 9, 12, 17, 18, 57, 59, 68, 1000])
    def test_another_length(self, size):
        assert self.access((self.index * 20)[:size]) == WHOLE

    @pytest.mark.parametrize("at", [0, 1, 2, 3, 6, 7, 8, 9, 10, 11])
    def test_another_header_or_first_place(self, at):
        changed = bytearray(self.index)
        changed[at] ^= 0x15
        assert self.access(bytes(changed)) == WHOLE

    def test_the_index_of_another_stream(self):
        other = by_opencv(PIXELS[::-1].copy(), 90)
        assert self.access(decoder_for(other, HEIGHT, WIDTH).index(other)) == WHOLE

    def test_another_interval(self):
        """A row has six MCUs; any interval from there on means the same."""
        for interval in [*range(9), *range(9, 65536, 4999)]:
            changed = self.index[:4] + interval.to_bytes(2, "little") + self.index[6:]
            assert self.access(changed) == (INDEXED if interval >= 6 else WHOLE)

    @pytest.mark.parametrize("entry", [1, 2, 3, 4])
    @pytest.mark.parametrize("bit", [0, 1, 2**31, 2**32 - 1, "stream's end", "before the scan"])
    def test_places_outside_of_the_scan(self, entry, bit):
        first = int.from_bytes(self.index[8:12], "little")
        bit = {"stream's end": 8 * len(self.stream), "before the scan": first - 1}.get(bit, bit)
        at = HEADER_BYTES + ENTRY_BYTES * entry
        changed = self.index[:at] + bit.to_bytes(4, "little") + self.index[at + 4 :]
        decoder = decoder_for(self.stream, HEIGHT, WIDTH)
        assert decoder.rgb(self.stream, (16 * entry, 0, 5, 60), changed)[0] == BROKEN

    @given(st.binary(min_size=50, max_size=50))
    def test_random_entries(self, content):
        index = self.index[:12] + content[4:]
        code, _ = decoder_for(self.stream, HEIGHT, WIDTH).rgb(self.stream, self.region, index)
        assert code in (0, BROKEN)

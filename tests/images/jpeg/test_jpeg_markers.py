"""Segments in front of the scan: every order and layout that the standard allows, and no other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_judges import compare_judges, judged
from jpeg_native import NativeDecoder
from jpeg_streams import (
    APP0,
    APP14,
    COM,
    DHT,
    DQT,
    DRI,
    SOF0,
    SOF1,
    SOS,
    Segment,
    by_opencv,
    by_pillow,
    decoded_by_opencv,
    joined,
    segment_bytes,
    split,
    texture,
)

from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED

HEIGHT, WIDTH = 21, 35
PIXELS = texture(HEIGHT, WIDTH)
STREAM = by_opencv(PIXELS, 85)
SEGMENTS, DATA = split(STREAM)
REGION = (0, 0, HEIGHT, WIDTH)
DECODER = NativeDecoder(20_000, 64, 64)


def verdict(stream):
    """The decoder's answer; where it decodes, the pixels must be OpenCV's."""
    code, pixels = DECODER.rgb(stream, REGION)
    if code == 0:
        np.testing.assert_array_equal(pixels, decoded_by_opencv(stream))
    return code


def with_segment(marker, change, number=0):
    """The stream with the content of one segment changed."""
    places = [i for i, segment in enumerate(SEGMENTS) if segment.marker == marker]
    segments = list(SEGMENTS)
    content = bytearray(segments[places[number]].content)
    changed = change(content)
    segments[places[number]] = Segment(marker, bytes(content if changed is None else changed))
    return joined(segments, DATA)


def set_bytes(at, *values):
    def change(content):
        content[at : at + len(values)] = bytes(values)

    return change


def inserted(*segments, before=SOS):
    """The stream with more segments."""
    at = next(i for i, segment in enumerate(SEGMENTS) if segment.marker == before)
    return joined([*SEGMENTS[:at], *segments, *SEGMENTS[at:]], DATA)


def without(*markers):
    return joined([segment for segment in SEGMENTS if segment.marker not in markers], DATA)


def test_the_stream_itself():
    assert [s.marker for s in SEGMENTS if s.marker in (DHT, DQT)] == [DQT, DQT, DHT, DHT, DHT, DHT]
    assert verdict(STREAM) == 0


@given(st.permutations(range(len(SEGMENTS) - 1)))
def test_any_order(order):
    assert verdict(joined([*(SEGMENTS[i] for i in order), SEGMENTS[-1]], DATA)) == 0


@pytest.mark.parametrize("fill", [1, 2, 63, 300])
def test_fill_bytes_before_markers(fill):
    content = b"".join(b"\xff" * fill + segment_bytes(segment) for segment in SEGMENTS)
    assert verdict(b"\xff\xd8" + content + DATA) == 0


def test_standalone_markers_between_segments():
    content = b"".join(b"\xff\x01\xff\xd3" + segment_bytes(segment) for segment in SEGMENTS)
    assert verdict(b"\xff\xd8" + content + DATA) == 0


@pytest.mark.parametrize("marker", [DHT, DQT])
@pytest.mark.parametrize("together", [2, 3, 9])
def test_several_tables_in_a_segment(marker, together):
    tables = [s.content for s in SEGMENTS if s.marker == marker]
    parts = [b"".join(tables[i : i + together]) for i in range(0, len(tables), together)]
    others = [s for s in SEGMENTS if s.marker != marker]
    assert verdict(joined([*(Segment(marker, part) for part in parts), *others], DATA)) == 0


@pytest.mark.parametrize("more", [Segment(DHT, b""), Segment(DQT, b"")])
def test_empty_segments_of_tables(more):
    assert verdict(inserted(more)) == 0


def test_tables_that_are_replaced():
    quantisers = bytearray(SEGMENTS[1].content)
    assert SEGMENTS[1].marker == DQT
    quantisers[1:] = bytes(range(1, 65))
    table = next(s for s in SEGMENTS if s.marker == DHT)
    other = Segment(DHT, table.content[:1] + bytes([1, *[0] * 15, 0]))
    assert verdict(inserted(Segment(DQT, bytes(quantisers)))) == 0
    assert verdict(inserted(other, before=DHT)) == 0
    # Pixels change when the quantisers do, so that the first test says something.
    assert (DECODER.rgb(inserted(Segment(DQT, bytes(quantisers))), REGION)[1] != PIXELS).any()


def test_extended_sequential_with_four_tables_of_each_kind():
    numbers = {0: 3, 1: 2}
    segments = []
    for marker, content in SEGMENTS:
        content = bytearray(content)
        if marker == DHT:
            content[0] = content[0] & 16 | numbers[content[0] & 15]
        if marker == DQT:
            content[0] = numbers[content[0]]
        if marker == SOF0:
            marker = SOF1
            content[8::3] = bytes(numbers[number] for number in content[8::3])
        if marker == SOS:
            content[2:8:2] = bytes(0x11 * numbers[number & 15] for number in content[2:8:2])
        segments.append(Segment(marker, bytes(content)))
    assert verdict(joined(segments, DATA)) == 0


@pytest.mark.parametrize("identifiers", [(1, 2, 3), (0, 1, 2), (7, 200, 9), (1, 34, 35), (5, 5, 5)])
def test_identifiers_of_components(identifiers):
    stream = joined(
        [
            Segment(m, bytes(_renamed(m, bytearray(content), identifiers)))
            for m, content in SEGMENTS
        ],
        DATA,
    )
    assert verdict(stream) == 0


def _renamed(marker, content, identifiers):
    if marker == SOF0:
        content[6::3] = bytes(identifiers)
    if marker == SOS:
        content[1:7:2] = bytes(identifiers)
    return content


@pytest.mark.parametrize(
    "segment",
    [
        Segment(APP0, b"JFXX\0\x10"), Segment(0xE1, b"Exif\0\0MM"), Segment(0xE2, bytes(60_000)),
        Segment(0xEF, b""), Segment(COM, b""), Segment(COM, b"\xff\xd9\xff\xda\xff\xc2"),
        Segment(APP14, b"Adobe\0d\0\0\0\0\1"), Segment(APP14, b"Adobe"), Segment(APP14, b""),
        Segment(DRI, b"\0\0"),
    ],
    ids=lambda segment: f"{segment.marker:x} {segment.content[:8]!r}",
)  # fmt: skip
def test_segments_that_change_nothing(segment):
    decoder = NativeDecoder(100_000, 64, 64)
    for before in (SOF0, SOS):
        stream = inserted(segment, before=before)
        code, pixels = decoder.rgb(stream, REGION)
        assert code == 0
        np.testing.assert_array_equal(pixels, decoded_by_opencv(stream))


JFIF, ADOBE_RGB = b"JFIF\0\1\1\0\0\1\0\1\0\0", b"Adobe\0d\0\0\0\0\0"
ADOBE_YCC, ADOBE_YCCK = ADOBE_RGB[:-1] + b"\1", ADOBE_RGB[:-1] + b"\2"


@pytest.mark.parametrize(
    ("jfif", "adobe", "identifiers", "expected"),
    [
        (JFIF, None, (1, 2, 3), 0),
        (JFIF, None, (82, 71, 66), 0),
        (JFIF, ADOBE_RGB, (1, 2, 3), 0),
        (None, None, (1, 2, 3), 0),
        (None, None, (82, 71, 67), 0),
        (None, ADOBE_YCC, (82, 71, 66), 0),
        (None, None, (82, 71, 66), UNSUPPORTED),
        (None, ADOBE_RGB, (1, 2, 3), UNSUPPORTED),
        (None, ADOBE_YCCK, (1, 2, 3), UNSUPPORTED),
        (b"JFIF\0\1\1", ADOBE_RGB, (1, 2, 3), UNSUPPORTED),
        (b"JFXX" + JFIF[4:], ADOBE_RGB, (1, 2, 3), UNSUPPORTED),
        (None, b"Adobf" + ADOBE_RGB[5:], (1, 2, 3), 0),
        (None, ADOBE_RGB[:-1], (1, 2, 3), 0),
    ],
)
def test_what_says_whether_components_are_luma_and_chroma(jfif, adobe, identifiers, expected):
    segments = [
        Segment(m, bytes(_renamed(m, bytearray(content), identifiers)))
        for m, content in SEGMENTS
        if m != APP0
    ]
    if adobe is not None:
        segments.insert(0, Segment(APP14, adobe))
    if jfif is not None:
        segments.insert(0, Segment(APP0, jfif))
    assert verdict(joined(segments, DATA)) == expected


FRAME = next(s.content for s in SEGMENTS if s.marker == SOF0)
AC = next(s.content for s in SEGMENTS if s.marker == DHT and s.content[0] == 0x10)
DC = next(s.content for s in SEGMENTS if s.marker == DHT and s.content[0] == 0x00)


def table(kind, counts, symbols):
    return Segment(DHT, bytes([kind, *counts, *[0] * (16 - len(counts)), *symbols]))


OTHER_DECODERS = {
    "12 bits": with_segment(SOF0, set_bytes(0, 12)),
    "16-bit quantisers": inserted(Segment(DQT, b"\x10" + bytes(range(1, 129)))),
    "height in a DNL segment": with_segment(SOF0, set_bytes(1, 0, 0)),
    "no width": with_segment(SOF0, set_bytes(3, 0, 0)),
    "two components": with_segment(SOF0, lambda content: content[:5] + b"\2" + content[6:12]),
    "four components": with_segment(SOF0, lambda c: c[:5] + b"\4" + c[6:] + bytes([4, 17, 0])),
    "luma of 3 columns": with_segment(SOF0, set_bytes(7, 0x31)),
    "luma of 4 rows": with_segment(SOF0, set_bytes(7, 0x14)),
    "luma of 4 × 2": with_segment(SOF0, set_bytes(7, 0x42)),
    "chroma like luma": with_segment(SOF0, set_bytes(10, 0x22)),
    "chroma finer than luma": with_segment(SOF0, set_bytes(10, 0x41)),
    "one component in the scan": with_segment(SOS, lambda c: b"\1" + c[1:3] + c[7:]),
    "two components in the scan": with_segment(SOS, lambda c: b"\2" + c[1:5] + c[7:]),
    "another order in the scan": with_segment(SOS, lambda c: c[:3] + c[5:7] + c[3:5] + c[7:]),
    "a part of the coefficients": with_segment(SOS, set_bytes(8, 5)),
    "not from the first one": with_segment(SOS, set_bytes(7, 1)),
    "successive approximation": with_segment(SOS, set_bytes(9, 0x10)),
    "no tables": without(DHT),
    "a table that is not there": with_segment(SOS, set_bytes(2, 0x03)),
    "an AC table that is not there": with_segment(SOS, set_bytes(2, 0x30)),
    "an empty table": inserted(table(0x03, [], [])),
    "codes that overlap": inserted(table(0x03, [3], [0, 1, 2])),
    "a code of ones": inserted(table(0x03, [2], [0, 1])),
    "a code of 16 ones": inserted(table(0x13, [1] * 15 + [2], AC[17:34])),
    "differences of 12 bits": inserted(table(0x03, [1], [12])),
    "coefficients of 11 bits": inserted(table(0x13, [1], [0x0B])),
    "runs of blocks, as in progressive images": inserted(table(0x13, [1], [0x10])),
    "two ends of the block": inserted(table(0x13, [0, 2], [0x00, 0x00])),
    "arithmetic coding": inserted(Segment(0xCC, b"\0\0")),
    "a hierarchical image": inserted(Segment(0xDE, FRAME)),
    "a reserved marker": inserted(Segment(0xF7, b"")),
    "DNL": inserted(Segment(0xDC, b"\0\x15")),
}
TOLERATED = {
    "bytes between segments": STREAM[:20] + b"\0" + STREAM[20:],
    "a zero for a marker": STREAM[:20] + b"\xff\0" + STREAM[20:],
    "many bytes before the scan": joined(SEGMENTS[:-1], bytes(5000) + STREAM[-len(DATA) - 14 :]),
    "a length of 0": STREAM[:2] + b"\xff\xe3\0\0" + STREAM[2:],
    "a length of 1": STREAM[:2] + b"\xff\xfe\0\1" + STREAM[2:],
    "restart markers between segments": STREAM[:20] + b"\xff\xd3\xff\x01" + STREAM[20:],
}
DAMAGED = {
    "nothing": b"",
    "two bytes": STREAM[:2],
    "no JPEG": b"\x89PNG" + STREAM[4:],
    "no second byte": b"\xff\xd9" + STREAM[2:],
    "two beginnings": STREAM[:2] + STREAM,
    "an end before the scan": joined(SEGMENTS[:-1], b"\xff\xd9\0\0"),
    "a length of 1": STREAM[:2] + b"\xff\xdb\0\1" + STREAM[2:],
    "a length beyond the end": STREAM[:4] + b"\xff\xff" + STREAM[6:],
    "nothing but fill bytes": STREAM[:2] + b"\xff" * 100,
    "too many segments": STREAM[:2] + b"\xff\xfe\0\2" * 5000,
    "a scan before the frame": joined([SEGMENTS[-1]], DATA),
    "two frames": inserted(Segment(SOF0, FRAME)),
    "a short frame": with_segment(SOF0, lambda content: content[:-1]),
    "a frame of five bytes": with_segment(SOF0, lambda content: content[:5]),
    "an empty frame": with_segment(SOF0, lambda _: b""),
    "a long frame": with_segment(SOF0, lambda content: content + b"\0"),
    "luma of 0 columns": with_segment(SOF0, set_bytes(7, 0x01)),
    "luma of 0 rows": with_segment(SOF0, set_bytes(7, 0x10)),
    "luma of 5 columns": with_segment(SOF0, set_bytes(7, 0x51)),
    "luma of 5 rows": with_segment(SOF0, set_bytes(7, 0x15)),
    "quantiser 4": with_segment(SOF0, set_bytes(8, 4)),
    "a quantiser that is not there": with_segment(SOF0, set_bytes(8, 3)),
    "no quantisers": without(DQT),
    "a short quantiser": with_segment(DQT, lambda content: content[:-1]),
    "a quantiser of one byte": with_segment(DQT, lambda content: content[:1]),
    "a number of 5 for a quantiser": inserted(Segment(DQT, b"\5" + bytes(64))),
    "a short table": inserted(Segment(DHT, DC[:-1])),
    "a table of counts": inserted(Segment(DHT, DC[:17])),
    "half of the counts": inserted(Segment(DHT, DC[:9])),
    "a table of kind 2": inserted(Segment(DHT, b"\x20" + DC[1:])),
    "table 4": inserted(Segment(DHT, b"\x04" + DC[1:])),
    "too many symbols": inserted(table(0x03, [0] * 7 + [100, 157], [0] * 257)),
    "an empty scan header": with_segment(SOS, lambda _: b""),
    "a short scan header": with_segment(SOS, lambda content: content[:-1]),
    "a long scan header": with_segment(SOS, lambda content: content + b"\0"),
    "table 4 in the scan": with_segment(SOS, set_bytes(2, 0x04)),
    "DC table 4 in the scan": with_segment(SOS, set_bytes(2, 0x40)),
    "a short restart interval": inserted(Segment(DRI, b"\0")),
    "a long restart interval": inserted(Segment(DRI, b"\0\0\0")),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_DECODERS)
def test_what_is_left_to_other_decoders(name):
    assert verdict(OTHER_DECODERS[name]) == UNSUPPORTED


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged(name):
    assert verdict(DAMAGED[name]) == BROKEN


@pytest.mark.parametrize("name", TOLERATED)
def test_what_libjpeg_tolerates(name):
    assert verdict(TOLERATED[name]) == 0
    pixels, words = judged(TOLERATED[name])
    assert words == ""
    np.testing.assert_array_equal(pixels, judged(STREAM)[0])


@pytest.mark.parametrize("name", [*OTHER_DECODERS, *TOLERATED])
def test_what_is_decoded_is_not_called_damaged_in_an_index(name):
    """That goes through the code without a library."""
    stream = (OTHER_DECODERS | TOLERATED)[name]
    if judged(stream)[0] is None:
        return
    record = np.zeros(1, RGBImageField().metadata_type)[0]
    RGBImageField().side_index_entry(record, np.frombuffer(stream, np.uint8))


@pytest.mark.parametrize("name", [*OTHER_DECODERS, *DAMAGED, *TOLERATED])
def test_all_judges_agree(name):
    compare_judges((OTHER_DECODERS | DAMAGED | TOLERATED)[name])


@pytest.mark.parametrize("name", ["progressive", "CMYK", "RGB"])
def test_other_kinds_of_images(name):
    if name == "CMYK":
        stream = by_pillow(np.dstack([PIXELS, PIXELS[..., 0]]), 90, "4:4:4")
    elif name == "RGB":
        stream = by_pillow(PIXELS, 90, "4:4:4", keep_rgb=True)
    else:
        stream = by_pillow(PIXELS, 90, progressive=True)
    assert verdict(stream) == UNSUPPORTED


def test_streams_that_break_off_in_front_of_the_scan():
    for place in range(len(STREAM) - len(DATA)):
        assert verdict(STREAM[:place]) == BROKEN


@pytest.mark.parametrize("factors", [0x11, 0x21, 0x22, 0x31, 0x14, 0x44])
def test_factors_of_a_single_component_mean_nothing(factors):
    stream = by_opencv(PIXELS[..., :1], 90)
    expected = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    segments, data = split(stream)
    changed = []
    for marker, content in segments:
        content = bytearray(content)
        if marker == SOF0:
            content[7] = factors
        changed.append(Segment(marker, bytes(content)))
    code, pixels = DECODER.rgb(joined(changed, data), REGION)
    assert code == 0
    np.testing.assert_array_equal(pixels[..., 1], expected)

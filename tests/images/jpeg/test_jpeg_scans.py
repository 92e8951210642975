"""All scans of a stream: what is there, what is missing, and where code means nothing."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture
from jpeg_judges import compare_judges, judged
from jpeg_native import decoder_for
from jpeg_samples import as_array, jpeg, with_restart_markers
from jpeg_streams import decoded_by_opencv
from jpeg_writer import block_grid, write_jpeg
from PIL import Image

from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.scans import first_damage, lacking_data, missing_part, read_scans
from ffcv_plugins.images.jpeg.stream import read_stream

SIZE = (45, 70)


def made(factors, in_parts, seed=0):
    """A baseline stream of any sampling, whose components may have scans of their own."""
    rng = np.random.default_rng(seed)
    coefficients = [
        rng.integers(-9, 10, (*block_grid(SIZE, factors, number), 64)) * (rng.random(64) < 0.3)
        for number in range(len(factors))
    ]
    return write_jpeg(SIZE, factors, coefficients, [[8] * 64] * len(factors), in_parts)


PIXELS = picture(*SIZE)
STREAMS = {
    "4:2:0": jpeg(PIXELS),
    "restart markers": with_restart_markers(PIXELS, 2),
    "progressive": jpeg(PIXELS, progressive=True),
    "progressive 4:4:4": jpeg(PIXELS, progressive=True, subsampling=0),
    "progressive, restart markers": jpeg(PIXELS, progressive=True, restart_marker_blocks=3),
    "progressive grey": jpeg(PIXELS, "L", progressive=True),
    "RGB": jpeg(PIXELS, keep_rgb=True),
    "CMYK": jpeg(PIXELS, "CMYK"),
    "progressive CMYK": jpeg(PIXELS, "CMYK", progressive=True),
    "odd sampling": made([(4, 1), (2, 1), (2, 2)], False),
    "in parts": made([(2, 2), (1, 1), (1, 1)], True),
    "in parts, odd sampling": made([(4, 1), (2, 1), (2, 2)], True),
}


def read(stream):
    found = read_stream(as_array(stream))
    return found, read_scans(found)


def without_end(stream, share):
    """The stream without the last part of its data, closed as if it were whole."""
    begin = read_stream(as_array(stream)).scan
    return stream[: begin + int((len(stream) - 2 - begin) * share)].rstrip(b"\xff") + b"\xff\xd9"


@pytest.mark.parametrize("kind", STREAMS)
def test_sound_streams_are_gone_through(kind):
    stream, scans = read(STREAMS[kind])
    assert missing_part(stream, scans) == ""
    assert lacking_data(stream, scans) == ""
    assert first_damage(stream, scans) == ""


@pytest.mark.parametrize("kind", STREAMS)
def test_sound_streams_are_decoded_as_opencv_does(kind):
    pixels, words = judged(STREAMS[kind])
    assert words == ""
    np.testing.assert_array_equal(pixels, decoded_by_opencv(STREAMS[kind]))


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_that_were_cut_and_closed_are_refused(kind):
    whole = STREAMS[kind]
    for share in [n / 40 for n in range(40)]:
        pixels, words = judged(without_end(whole, share))
        assert pixels is None, share
        assert "is damaged: " in words or "is incomplete: its" in words, words
        assert "restore it from where it came from" in words
    pixels, words = judged(whole[:-2].rstrip(b"\xff")[:-3])
    assert pixels is None
    assert "bytes breaks off: " in words


@pytest.mark.parametrize("kind", ["progressive", "progressive grey", "CMYK", "in parts"])
def test_a_header_that_claims_more_than_its_scans_can_hold_is_refused_at_once(kind):
    """A library would make room for all of it first."""
    whole = STREAMS[kind]
    frame = next(whole.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC2)
                 if bytes([0xFF, marker]) in whole)  # fmt: skip
    sizes = (900).to_bytes(2, "big") + (1500).to_bytes(2, "big")
    claims = whole[: frame + 5] + sizes + whole[frame + 9 :]
    stream, scans = read(claims + bytes(900 * 1500 // 1024))
    words = lacking_data(stream, scans)
    assert words.startswith(f"scan 1 of {len(scans)} has ")
    assert f"the JPEG stream is damaged: {words}; restore it" in judged(bytes(stream.data))[1]


@pytest.mark.parametrize("kind", STREAMS)
def test_an_index_is_not_made_of_what_was_cut_and_closed(kind):
    record = np.zeros(1, RGBImageField().metadata_type)[0]
    RGBImageField().side_index_entry(record, as_array(STREAMS[kind]))
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(ValueError, match="the JPEG stream is (damaged|incomplete): "):
            RGBImageField().side_index_entry(record, as_array(without_end(STREAMS[kind], share)))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("ending", [b"", b"\xff", b"\xff\xff", b"\xff\xff\xd9", b"\0\0"])
def test_a_missing_end_marker_is_no_damage(kind, ending):
    pixels, words = judged(STREAMS[kind][:-2] + ending)
    assert words == ""
    np.testing.assert_array_equal(pixels, decoded_by_opencv(STREAMS[kind]))


@pytest.mark.parametrize("kind", ["progressive", "progressive grey", "in parts"])
def test_a_stream_that_lacks_whole_scans_is_refused(kind):
    """Every library shows what there is, and none tells."""
    whole = STREAMS[kind]
    scans = read(whole)[1]
    for scan in scans[:-1]:
        cut = whole[: scan.end] + b"\xff\xd9"
        assert decoded_by_opencv(cut) is not None
        pixels, words = judged(cut)
        assert pixels is None
        assert "the JPEG stream is incomplete: its " in words
        words = judged(whole[: scan.end])[1]
        assert f"the JPEG stream of {scan.end} bytes breaks off: its " in words


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize(
    "stray", [b"\0\0\0", b"\x12\x34\x56\x78", b"\xff\0\xff\0\x07", b"\xff\xff"]
)
def test_stray_bytes_between_segments_are_no_damage(kind, stray):
    whole = STREAMS[kind]
    expected = decoded_by_opencv(whole)
    scans = read(whole)[1]
    for place in [2, whole.index(b"\xff\xdb"), *(scan.end for scan in scans)]:
        odd = whole[:place] + stray + whole[place:]
        pixels, words = judged(odd)
        assert words == "", (place, words)
        np.testing.assert_array_equal(pixels, expected)
        if place < scans[-1].begin:
            pixels, words = judged(without_end(odd, 0.97))
            assert pixels is None, place


def test_scans_must_follow_from_each_other():
    whole = STREAMS["progressive"]
    scans = read(whole)[1]
    last = scans[-1]
    twice = whole[:-2] + whole[scans[-2].end : last.end] + b"\xff\xd9"
    assert "is damaged: scan 11 does not follow from the ones" in judged(twice)[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, at: s[: at + 4] + b"\x05" + s[at + 5 :], "a scan header that is none"),
        (lambda s, at: s[: at + 5] + b"\x77" + s[at + 6 :], "a scan of components that its frame"),
        (lambda s, at: s[: at + 7] + b"\x09\x03" + s[at + 9 :], "a scan of coefficients 9 to 3"),
        (lambda s, at: s[: at + 6], "it ends within a segment"),
    ],
)
def test_scan_headers_are_checked(change, words):
    whole = STREAMS["progressive grey"]
    assert words in judged(change(whole, whole.rindex(b"\xff\xda")))[1]


@given(st.sampled_from(["4:2:0", "restart markers"]), st.integers(0, 2**40))
def test_it_finds_what_the_native_decoder_finds(kind, seed):
    """Two programs that know nothing of each other say the same of damaged code."""
    rng, whole = random.Random(seed), STREAMS[kind]
    begin = read_stream(as_array(whole)).scan
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 5])):
        damaged[rng.randrange(begin, len(damaged) - 2)] = rng.randrange(256)
    damaged = bytes(damaged)
    code, _ = decoder_for(damaged, *SIZE).planes(damaged, (0, 0, *SIZE))
    try:
        stream, scans = read(damaged)
        damage = first_damage(stream, scans[:1])
    except ValueError as error:
        damage = str(error)
    assert (damage == "") == (code == 0)


@settings(max_examples=300)
@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 2**40))
def test_all_judges_agree_on_damage(kind, seed):
    """Bytes changed, put in and left out; ``dev.py fuzz`` does it for longer."""
    rng, stream = random.Random(seed), bytearray(STREAMS[kind])
    for _ in range(rng.choice([1, 1, 2])):
        at, action = rng.randrange(2, len(stream)), rng.random()
        if action < 0.5:
            stream[at] = rng.choice([0x00, 0xD0, 0xD9, 0xDA, 0xFF, rng.randrange(256)])
        elif action < 0.7:
            stream[at:at] = rng.randbytes(rng.choice([1, 2, 5]))
        else:
            del stream[at : at + rng.choice([1, 2, 20])]
    compare_judges(bytes(stream))


def test_coefficients_that_lead_beyond_a_block_are_damage():
    """libjpeg drops them without a word."""
    codes = {0x00: "0", 0xF1: "10"}
    table = bytes([0x10, 1, 1, *[0] * 14, 0x00, 0xF1])
    stream = Image.new("L", (8, 8))
    file = io.BytesIO()
    stream.save(file, "JPEG")
    data = file.getvalue()
    at = data.index(b"\xff\xc4\x00\xb5")
    swapped = data[:at] + b"\xff\xc4" + (2 + len(table)).to_bytes(2, "big") + table
    scan = data.index(b"\xff\xda")
    bits = "00" + (codes[0xF1] + "1") * 5
    bits += "1" * (-len(bits) % 8)
    swapped += data[scan : scan + 10] + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"
    assert decoded_by_opencv(swapped) is not None
    assert "only the first 0 of its 8 rows" in judged(swapped)[1]
    assert "rows of blocks" in first_damage(*read(swapped))

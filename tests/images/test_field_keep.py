"""``RGBImageField``: when JPEG input is stored byte for byte, and when it is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import SEQUENTIAL, as_array, jpeg, kinds, with_restart_markers
from PIL import Image, ImageDraw, ImageOps

from ffcv.testing import encode_value
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.density import side_index
from ffcv_plugins.images.jpeg.stream import read_stream
from ffcv_plugins.images.opencv import OpenCVCodec

KINDS = kinds()
SIZE = (90, 130)
KEEP = RGBImageField("keep")


def stored(field, value):
    """Mode, (height, width), bytes."""
    record, regions = encode_value(field, value)
    size = int(record["height"]), int(record["width"])
    return int(record["mode"]), size, regions[int(record["data_ptr"])].tobytes()


def encoded_anew(value, quality=90):
    """What a stream becomes that is decoded by Pillow and encoded again."""
    pixels = np.asarray(Image.open(io.BytesIO(value)).convert("RGB"))
    return OpenCVCodec().encode(pixels, quality)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("give", [bytes, bytearray, memoryview])
def test_keep_stores_bytes_as_they_are(kind, give):
    assert stored(KEEP, give(KINDS[kind])) == (0, SIZE, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_keep_stores_files_as_they_are(kind, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(KINDS[kind])
    with Image.open(path) as image:
        for value in (path, str(path), image, Image.open(io.BytesIO(KINDS[kind]))):
            assert stored(KEEP, value) == (0, SIZE, KINDS[kind])
        # Pillow can still read it after that.
        assert image.convert("RGB").getpixel((3, 3)) == image.convert("RGB").getpixel((3, 3))


def touched(change):
    image = Image.open(io.BytesIO(KINDS["4:2:0"]))
    changed = change(image)
    return changed if isinstance(changed, Image.Image) else image


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.draft("L", None),
        lambda image: image.draft("RGB", (32, 22)),
        lambda image: image.thumbnail((40, 40)),
        lambda image: image.putpixel((5, 5), (255, 0, 0)),
        lambda image: image.paste((0, 255, 0), (10, 10, 40, 40)),
        lambda image: image.putalpha(17),
        lambda image: ImageDraw.Draw(image).line((0, 0, 50, 50), width=5),
        lambda image: image.load(),
        lambda image: image.convert("L"),
        lambda image: image.rotate(90),
        lambda image: image.crop((0, 0, 64, 64)),
        lambda image: image.copy(),
        ImageOps.mirror,
    ],
)
def test_pillow_images_that_were_touched_are_encoded(change):
    expected = np.asarray(touched(change).convert("RGB"))
    mode, size, data = stored(KEEP, touched(change))
    assert (mode, size) == (0, expected.shape[:2])
    assert data == OpenCVCodec().encode(expected, 90)


@pytest.mark.parametrize(
    "value",
    [
        picture(20, 30),
        torch.from_numpy(picture(20, 30)),
        Image.fromarray(picture(20, 30)),
        "PNG",
        "WEBP",
        "BMP",
    ],
)
def test_other_input_is_encoded(value):
    expected = OpenCVCodec().encode(picture(20, 30), 73)
    if isinstance(value, str):
        stream = io.BytesIO()
        Image.fromarray(picture(20, 30)).save(stream, value, lossless=True)
        value = stream.getvalue()
    assert stored(RGBImageField("keep", jpeg_quality=73), value) == (0, (20, 30), expected)


def test_cmyk_is_encoded():
    value = jpeg(picture(20, 30), "CMYK")
    assert stored(KEEP, value) == (0, (20, 30), encoded_anew(value))


@pytest.mark.parametrize(("longest", "is_kept"), [(None, 1), (131, 1), (130, 1), (129, 0)])
def test_keep_shrinks_what_is_too_large(longest, is_kept):
    field = RGBImageField("keep", max_resolution=longest)
    mode, size, data = stored(field, KINDS["4:2:0"])
    assert (mode, data == KINDS["4:2:0"]) == (0, bool(is_kept))
    assert size == (SIZE if is_kept else (89, 129))


@given(st.integers(1, 100), st.integers(1, 100), st.sampled_from(["RGB", "L"]), st.booleans())
def test_jpg_keeps_what_is_quantised_as_much(given_quality, quality, mode, progressive):
    value = jpeg(picture(20, 30), mode, quality=given_quality, progressive=progressive)
    own = Image.open(io.BytesIO(value)).quantization
    reference = Image.open(io.BytesIO(jpeg(picture(20, 30), quality=quality))).quantization
    is_coarse = all((np.array(own[i]) >= reference[i]).all() for i in own)
    data = stored(RGBImageField("jpg", jpeg_quality=quality), value)[2]
    assert data == (value if is_coarse else encoded_anew(value, quality))
    if given_quality <= quality:
        assert is_coarse


def test_jpg_keeps_nothing_where_one_quantiser_is_finer():
    tables = [[50] * 63 + [1], [50] * 64]
    value = jpeg(picture(20, 30), quality=-1, qtables=tables)
    assert stored(RGBImageField("jpg", jpeg_quality=95), value)[2] == encoded_anew(value, 95)
    tables[0][63] = 50
    value = jpeg(picture(20, 30), quality=-1, qtables=tables)
    assert stored(RGBImageField("jpg", jpeg_quality=95), value)[2] == value


def test_rgb_streams_have_finer_colours():
    value = KINDS["RGB"]
    assert stored(RGBImageField("jpg"), value)[2] == encoded_anew(value)


@pytest.mark.parametrize(("threshold", "mode"), [(3 * 90 * 130 - 1, 0), (3 * 90 * 130, 1)])
def test_smart_keeps_what_it_compresses(threshold, mode):
    field = RGBImageField("smart", smart_threshold=threshold)
    assert stored(field, KINDS["4:2:0"])[0] == mode
    assert (stored(field, KINDS["4:2:0"])[2] == KINDS["4:2:0"]) == (mode == 0)


def test_proportion_decides_by_the_stream_and_keeps_what_it_compresses():
    streams = [jpeg(picture(16, 16, seed)) for seed in range(60)]
    field, shrinking = (RGBImageField("proportion", longest, seed=3) for longest in (None, 9))
    modes = []
    for stream in streams:
        mode, _, data = stored(field, stream)
        assert (data == stream) == (mode == 0)
        assert stored(shrinking, stream)[0] == mode
        modes.append(mode)
    assert 15 < sum(modes) < 45


@pytest.mark.parametrize("write_mode", ["keep", "jpg", "raw"])
@pytest.mark.parametrize("kind", ["4:2:0", "grey", "thumbnail", "restart markers", "progressive"])
def test_truncated_streams_are_refused(kind, write_mode):
    data = KINDS[kind]
    field = RGBImageField(write_mode)
    lengths = [len(data) * sixteenth // 16 for sixteenth in range(1, 16)]
    for length in [4, *lengths, len(data) - 3]:
        with pytest.raises(ValueError, match=f"^{length} bytes: the JPEG stream .*(breaks|end)"):
            stored(field, data[:length])


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_marker_is_no_damage(kind):
    data = KINDS["4:2:0" if kind == "more behind it" else kind][:-2]
    assert stored(KEEP, data) == (0, SIZE, data)


@pytest.mark.parametrize("write_mode", ["keep", "jpg", "raw", "smart", "proportion"])
@pytest.mark.parametrize("kind", ["4:2:0", "progressive", "progressive grey", "RGB", "CMYK"])
def test_what_was_cut_and_closed_is_refused(kind, write_mode, tmp_path):
    data = jpeg(picture(*SIZE), "CMYK") if kind == "CMYK" else KINDS[kind]
    path = tmp_path / "closed.jpg"
    for quarter in (2, 3):
        path.write_bytes(data[: len(data) * quarter // 4].rstrip(b"\xff") + b"\xff\xd9")
        for value in (path, path.read_bytes(), Image.open(path)):
            with pytest.raises(
                ValueError, match="the JPEG stream is (damaged|incomplete): .*restore"
            ):
                stored(RGBImageField(write_mode, smart_threshold=1), value)


@pytest.mark.parametrize("write_mode", ["keep", "jpg", "raw"])
@pytest.mark.parametrize("kind", KINDS)
def test_stray_bytes_are_no_damage(kind, write_mode):
    data, field = KINDS[kind], RGBImageField(write_mode)
    at = data.rindex(b"\xff\xdb", 0, read_stream(as_array(data)).scan)
    for stray in (b"\0\0\0", b"\xff\0\x12"):
        odd = data[:at] + stray + data[at:]
        mode, size, content = stored(field, odd)
        if content == odd:
            content = data
        assert (mode, size, content) == stored(field, data)


def test_errors_name_the_file_and_what_is_wrong(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(KINDS["4:2:0"][:3000])
    with pytest.raises(ValueError, match=r"half\.jpg': .* 3000 bytes breaks off: .* 90 rows"):
        stored(KEEP, path)
    with pytest.raises(
        ValueError, match=r"the PIL image .*half\.jpg': .* breaks off: only the first \d+ of"
    ):
        stored(KEEP, Image.open(path))


def with_impossible_codes(data):
    """The stream with a piece of its scan overwritten by a code that no table has: ones."""
    at = read_stream(as_array(data)).scan
    at += (len(data) - at) // 2
    return data[:at] + b"\xff\0" * 12 + data[at + 24 :]


@pytest.mark.parametrize("write_mode", ["keep", "jpg", "raw"])
@pytest.mark.parametrize("kind", ["4:2:0", "grey", "restart markers"])
def test_damage_is_refused_that_libraries_conceal(kind, write_mode):
    damaged = with_impossible_codes(KINDS[kind])
    image = Image.open(io.BytesIO(damaged))
    image.load()
    words = r"the JPEG stream is damaged: only the first (\d+) of its 90 rows can be decoded"
    with pytest.raises(ValueError, match=words) as caught:
        stored(RGBImageField(write_mode), damaged)
    rows = int(str(caught.value).split("first ")[1].split()[0])
    assert 20 < rows < 70
    difference = np.asarray(image) != np.asarray(Image.open(io.BytesIO(KINDS[kind])))
    assert not difference[: rows - 1].any()
    assert difference[rows:].any()
    assert stored(KEEP, image)[0] == 0  # what Pillow makes of it can still be had


@settings(max_examples=200)
@given(st.data())
def test_what_is_kept_can_be_decoded(data):
    stream = bytearray(KINDS[data.draw(st.sampled_from(sorted(KINDS)))])
    for place in data.draw(st.lists(st.integers(0, len(stream) - 1), max_size=5)):
        stream[place] = data.draw(st.integers(0, 255))
    try:
        mode, size, content = stored(KEEP, bytes(stream))
    except ValueError:
        return
    pixels = np.zeros((*size, 3), np.uint8)
    assert mode == 0
    OpenCVCodec().decode(as_array(content), pixels)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "PIL cannot decode 0 bytes"),
        (b"\xff\xd8\xff", "3 bytes: not a JPEG stream|3 bytes: the JPEG stream ends"),
        (b"\xff\xd8\xff" + b"nonsense" * 9, "75 bytes: the JPEG stream"),
        (b"GIF89a" + bytes(40), "PIL cannot decode 46 bytes"),
        (
            KINDS["4:2:0"].replace(b"\0\x5a\0\x82", b"\xff\0\xff\0"),
            r"claims 65280×65280 pixels, more than \d+ bytes can hold",
        ),
        (KINDS["4:2:0"].replace(b"\0\x5a\0\x82", b"\0\x5b\0\xff"), r"breaks off|is damaged"),
        (KINDS["4:2:0"].replace(b"\0\x5a\0\x82", b"\0\0\0\x82"), "claims a size of 130×0"),
    ],
)
def test_garbage_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        stored(KEEP, value)


@pytest.mark.parametrize("kind", KINDS)
def test_side_index_entries(kind):
    record, regions = encode_value(KEEP, KINDS[kind])
    entry = KEEP.side_index_entry(record, regions[int(record["data_ptr"])])
    assert entry == side_index(read_stream(as_array(KINDS[kind])))
    assert bool(entry) == (kind in SEQUENTIAL)


def test_raw_images_have_no_side_index_entries():
    record, regions = encode_value(RGBImageField(), picture(9, 9))
    assert RGBImageField().side_index_entry(record, regions[int(record["data_ptr"])]) == b""


def test_entries_of_other_streams_do_not_linger():
    streams = [KINDS["4:2:0"], KINDS["4:4:4"], with_restart_markers(picture(9, 9), 1)]
    first = [side_index(read_stream(as_array(stream))) for stream in streams]
    again = [side_index(read_stream(as_array(stream))) for stream in reversed(streams)]
    assert first == again[::-1]
    assert len(set(first)) == 3


def test_entries_are_for_streams_only():
    record, _ = encode_value(KEEP, KINDS["4:2:0"])
    with pytest.raises(ValueError, match="not a JPEG stream"):
        KEEP.side_index_entry(record, np.zeros(100, np.uint8))

"""PIL images and files that PIL decodes: broken ones, phones' photographs, turned TIFFs."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import pytest
from image_reference import picture
from jpeg_samples import jpeg
from PIL import Image, features

from ffcv.errors import SampleEncodingError
from ffcv.testing import encode_value
from ffcv.writer import DatasetWriter
from ffcv_plugins.images.field import RGBImageField

PIXELS = picture(40, 50)
KINDS = {
    "PNG": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TGA": {},
    "PPM": {},
    "ICNS": {},
    "JPEG2000": {},
}
KINDS |= {kind: {} for kind in ("WEBP", "AVIF") if features.check(kind.lower())}


def encoded(kind, **more):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, kind.split()[0], **KINDS.get(kind, {}), **more)
    return stream.getvalue()


def pixels_of(value, mode="raw"):
    record, regions = encode_value(RGBImageField(mode), value)
    data = regions[int(record["data_ptr"])]
    return data.reshape(int(record["height"]), int(record["width"]), 3)


def broken(kind):
    """A file that PIL opens, and of whose picture a part is missing or overwritten."""
    data = bytearray(encoded(kind))
    if kind == "TIFF lzw":
        first = Image.open(io.BytesIO(data)).tag_v2[273][0]
        data[first + 40 : first + 90] = b"\xff" * 50
    elif kind == "ICNS":
        data[len(data) // 2 : len(data) // 2 + 30] = bytes(30)
    else:
        del data[len(data) // 2 :]
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_is_one_error_which_names_it(kind, tmp_path):
    good, path = tmp_path / "good.png", tmp_path / "broken.bin"
    good.write_bytes(encoded("PNG"))
    path.write_bytes(broken(kind))
    for value in (path, str(path)):
        writer = DatasetWriter(tmp_path / "x.beton", {"image": RGBImageField()}, num_workers=0)
        with pytest.raises(SampleEncodingError) as caught:
            writer.from_indexed_dataset([(good,), (value,)])
        message = str(caught.value)
        assert re.match(r"field 'image', sample 1: PIL cannot decode '.*broken\.bin'", message)
        assert message.count("broken.bin") == message.count("PIL") == 1
        assert isinstance(caught.value.__cause__, ValueError)
    name = re.escape(f"{len(broken(kind))} bytes")
    with pytest.raises(ValueError, match=f"^PIL cannot decode {name}"):
        pixels_of(broken(kind))


@pytest.mark.parametrize("mode", ["raw", "jpg", "keep"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_failed_fails_again(kind, mode, tmp_path):
    """PIL takes some for decoded after the error, with black where data were missing."""
    path = tmp_path / "broken.bin"
    path.write_bytes(broken(kind))
    tried = 0
    for source in (path, io.BytesIO(path.read_bytes())):
        try:
            image = Image.open(source)
        except OSError:
            continue
        for _ in range(3):
            with pytest.raises(ValueError, match="PIL cannot decode the PIL image") as caught:
                pixels_of(image, mode)
            assert f"({image.format})" in str(caught.value)
            assert source is not path or "broken.bin" in str(caught.value)
            tried += 1
    assert tried or kind in ("WEBP", "AVIF", "ICNS")


def test_an_image_that_was_decoded_in_part_is_refused():
    image = Image.open(io.BytesIO(broken("PNG")))
    with pytest.raises(OSError, match="truncated"):
        image.load()
    with pytest.raises(
        ValueError, match=r"the PIL image \(PNG\): OSError: image file is truncated"
    ):
        pixels_of(image)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no image of a format that it knows"),
        (b"just some text", "no image of a format that it knows"),
        (b"BM" + bytes(60), "PIL cannot decode"),
        (b"II*\0" + bytes(60), "PIL cannot decode"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + bytes(40), "PIL cannot decode"),
        (b"P6 99999 99999 255 ", "raise PIL.Image.MAX_IMAGE_PIXELS"),
    ],
)
def test_what_is_no_image_is_named(content, words, tmp_path):
    path = tmp_path / "what.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        pixels_of(path)
    assert "what.png" in str(caught.value)


def test_a_warning_that_was_made_an_error_is_told_as_such(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=r"raise PIL\.Image\.MAX_IMAGE_PIXELS"):
            pixels_of(encoded("PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "TIFF lzw", "PNG", "WEBP", "AVIF"])
def test_no_file_is_turned(kind, orientation, tmp_path):
    if kind not in KINDS:
        pytest.skip(f"PIL has no {kind}")
    tags = Image.Exif()
    tags[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
    path = tmp_path / "turned.bin"
    path.write_bytes(encoded(kind, exif=tags, **lossless))
    for value in (
        path,
        path.read_bytes(),
        Image.open(path),
        Image.open(io.BytesIO(path.read_bytes())),
    ):
        got = pixels_of(value)
        assert got.shape == PIXELS.shape
        assert np.abs(got.astype(int) - PIXELS).max() <= (60 if kind == "AVIF" else 0)


def test_a_tiff_that_pil_has_decoded_is_taken_as_it_is():
    tags = Image.Exif()
    tags[0x0112] = 6
    image = Image.open(io.BytesIO(encoded("TIFF", exif=tags)))
    image.load()
    np.testing.assert_array_equal(pixels_of(image), np.rot90(PIXELS, -1))


def phone_picture(path, **options):
    """A file of two pictures; the bytes of each, and of the file."""
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1, :30])
    first.save(path, "MPO", save_all=True, append_images=[second], **options)
    data = path.read_bytes()
    begin = data.index(b"\xff\xd8", 2)
    return data[:begin], data[begin:], data


@pytest.mark.parametrize("options", [{"quality": 97}, {"progressive": True}, {"subsampling": 0}])
def test_photographs_of_phones_are_kept(options, tmp_path):
    path = tmp_path / "phone.jpg"
    _, second, data = phone_picture(path, **options)
    with open(path, "rb") as file:
        for value in (path, data, Image.open(path), Image.open(io.BytesIO(data)), Image.open(file)):
            record, regions = encode_value(RGBImageField("keep"), value)
            assert regions[int(record["data_ptr"])].tobytes() == data
            assert (int(record["height"]), int(record["width"])) == PIXELS.shape[:2]
    image = Image.open(path)
    image.seek(1)
    record, regions = encode_value(RGBImageField("keep"), image)
    assert regions[int(record["data_ptr"])].tobytes() == second
    assert (int(record["height"]), int(record["width"])) == (40, 30)
    image.seek(0)
    record, regions = encode_value(RGBImageField("keep"), image)
    assert regions[int(record["data_ptr"])].tobytes() == data


def test_a_photograph_that_was_touched_is_not_kept(tmp_path):
    path = tmp_path / "phone.jpg"
    data = phone_picture(path)[2]
    image = Image.open(path)
    image.load()
    record, regions = encode_value(RGBImageField("keep"), image)
    assert regions[int(record["data_ptr"])].tobytes() != data


def test_a_damaged_photograph_is_refused(tmp_path):
    path = tmp_path / "phone.jpg"
    first, second, _ = phone_picture(path)
    path.write_bytes(first[: len(first) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9" + second)
    with pytest.raises(ValueError, match=r"phone\.jpg': the JPEG stream is damaged"):
        encode_value(RGBImageField("keep"), path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_a_damaged_jpeg_is_refused_that_would_be_made_smaller(options):
    """PIL fills up with grey."""
    data = jpeg(PIXELS, **options)
    damaged = data[: len(data) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9"
    for stream, is_sound in ((data, True), (damaged, False)):
        image = Image.open(io.BytesIO(stream))
        image.draft("RGB", (20, 20))
        if is_sound:
            assert pixels_of(image).shape == (20, 25, 3)
        else:
            with pytest.raises(ValueError, match="the PIL image: the JPEG stream is damaged"):
                pixels_of(image)


def test_a_damaged_jpeg_is_refused_each_time(tmp_path):
    path = tmp_path / "half.jpg"
    data = jpeg(PIXELS, progressive=True)
    path.write_bytes(data[: len(data) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9")
    image = Image.open(path)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"the PIL image '.*half\.jpg': the JPEG stream is"):
            pixels_of(image)


def png(mode="RGB", size=(72, 90), **options):
    stream = io.BytesIO()
    Image.fromarray(picture(*size)).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


def with_other_bits(stream, place):
    return stream[:place] + bytes([stream[place] ^ 16]) + stream[place + 1 :]


@pytest.mark.parametrize("mode", ["RGBA", "P", "L"])
def test_a_png_whose_data_were_changed_is_refused(mode, tmp_path):
    """Pillow shows other pixels for some of them."""
    whole = png(mode)
    start = whole.index(b"IDAT") + 4
    places = [*range(start, len(whole) - 20, 997), *range(len(whole) - 60, len(whole) - 12, 5)]
    for place in places:
        damaged, path = with_other_bits(whole, place), tmp_path / "damaged.png"
        path.write_bytes(damaged)
        for value in (damaged, path, Image.open(path), Image.open(io.BytesIO(damaged))):
            for _ in range(2):
                with pytest.raises(ValueError, match="the PNG is damaged: its data at byte"):
                    pixels_of(value)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_sound_pngs_are_taken_whatever_stands_around_their_data(mode, tmp_path):
    whole = png(mode, (160, 180), compress_level=0)
    expected = pixels_of(np.asarray(Image.open(io.BytesIO(whole)).convert("RGB")))
    assert whole.count(b"IDAT") > 1 or mode != "RGB"
    text = len(b"tEXt").to_bytes(4, "big") + b"tEXt" + b"text" + bytes(4)  # a wrong checksum
    ending = len(whole) - 12
    for stream in (
        whole, whole + b"more", whole[:-5], whole[:ending], whole[:ending] + text + whole[ending:]
    ):  # fmt: skip
        path = tmp_path / "sound.png"
        path.write_bytes(stream)
        for value in (stream, path, Image.open(path)):
            np.testing.assert_array_equal(pixels_of(value), expected)
    opened = Image.open(io.BytesIO(with_other_bits(whole, ending - 9)))
    with pytest.raises(ValueError, match="the PNG is damaged"):
        pixels_of(opened)

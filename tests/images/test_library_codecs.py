"""Library codecs that somebody has installed: when they are asked, and broken ones."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
from image_reference import picture
from jpeg_samples import as_array, jpeg

from ffcv.errors import PluginError, SampleError
from ffcv.plugin import registry
from ffcv.testing import decode, encode_value
from ffcv.testing.memory import Encoded, Regions
from ffcv_plugins.images import codec
from ffcv_plugins.images.coded_field import ImageField
from ffcv_plugins.images.decoders import SimpleRGBImageDecoder
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.functions import decode_image
from ffcv_plugins.images.layout import RECORD

TINY = b"TINY" + bytes([8, 6, 10, 20, 30])
BASELINE, PROGRESSIVE = jpeg(picture(40, 50)), jpeg(picture(40, 50), progressive=True)

PLUGIN = """
import numpy as np

from ffcv.plugin import Contribution, Kind, hookimpl


@hookimpl
def ffcv_image_codecs():
    return [
        Contribution("tiny", Kind.IMAGE_CODEC, "tiny_codec:Tiny", "pictures of one colour"),
        Contribution("tinier", Kind.IMAGE_CODEC, "tiny_codec:Tinier", "the same pictures"),
        Contribution("gray", Kind.IMAGE_CODEC, "tiny_codec:Gray", "JPEG, and all of it gray"),
        Contribution("noisy", Kind.IMAGE_CODEC, "tiny_codec:Noisy", "fails"),
        Contribution("vague", Kind.IMAGE_CODEC, "tiny_codec:Vague", "knows no ImageInfo"),
        Contribution("giver", Kind.IMAGE_CODEC, "tiny_codec:Giver", "returns what it decodes"),
        Contribution("masked", Kind.IMAGE_CODEC, "tiny_codec:Tiny", "has another name"),
        Contribution("nameless", Kind.IMAGE_CODEC, "tiny_codec:Nameless", "has none"),
    ]


def info(width, height, kind):
    from ffcv_plugins.images.codec import ImageInfo

    return ImageInfo(int(width), int(height), 3, kind)


class Tiny:
    name = "tiny"
    start = b"TINY"

    def probe(self, data):
        if bytes(data[:4]) != self.start:
            raise ValueError("no TINY picture")
        return info(data[4], data[5], "tiny")

    def decode(self, data, destination):
        if data.size != 9:
            raise ValueError("the picture has no colour")
        destination[:] = data[6:9]

    def encode(self, pixels, quality):
        raise ValueError("TINY pictures are not made here")


class Tinier(Tiny):
    name = "tinier"


class Gray(Tiny):
    name = "gray"

    def probe(self, data):
        if bytes(data[:2]) != b"\\xff\\xd8":
            raise ValueError("no JPEG")
        return info(50, 40, "jpeg")

    def decode(self, data, destination):
        destination[:] = 128


class Noisy(Tiny):
    name = "noisy"
    start = b"LOUD"

    def probe(self, data):
        if bytes(data[:4]) == b"BANG":
            raise IndexError("no such place")
        return super().probe(data)

    def decode(self, data, destination):
        raise ZeroDivisionError("of something")


class Vague(Tiny):
    name = "vague"

    def probe(self, data):
        if bytes(data[:4]) != b"VAGU":
            raise ValueError("no VAGUE picture")
        return 8, 6


class Giver(Tiny):
    name = "giver"
    encoded = None

    def decode(self, data, destination):
        return destination.copy()

    def encode(self, pixels, quality):
        if isinstance(self.encoded, Exception):
            raise self.encoded
        return self.encoded


class Nameless(Tiny):
    name = None
"""

ALL = {"tiny", "tinier", "gray", "noisy", "vague", "giver", "masked", "nameless"}


def forget():
    """Have plugins and codecs looked for anew."""
    registry.reset()
    codec.named_codec.cache_clear()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A way to install a plugin's codecs, some of them switched off; all is undone afterwards."""

    def install(*names):
        source = textwrap.dedent(PLUGIN)
        for name in ALL - set(names):
            lines = [line for line in source.splitlines() if f'Contribution("{name}"' not in line]
            source = "\n".join(lines)
        (tmp_path / "tiny_codec.py").write_text(source, "utf-8")
        forget()

    info = tmp_path / "tiny_codec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-codec\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\ntiny = tiny_codec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    monkeypatch.undo()
    sys.modules.pop("tiny_codec", None)
    forget()


def stored(stream, height, width):
    """An image of a file, just as it is."""
    regions, records = Regions(), np.zeros(1, RECORD)
    pointer, region = regions.malloc(len(stream))
    region[:] = as_array(stream)
    records[0]["height"], records[0]["width"], records[0]["data_ptr"] = height, width, pointer
    return Encoded(RGBImageField(), records, regions, False)


def test_its_format_is_decoded(installed):
    installed("tiny")
    image = decode_image(TINY)
    assert image.shape == (6, 8, 3)
    assert (image == [10, 20, 30]).all()
    assert decode_image(TINY, region=(1, 1, 2, 3)).shape == (2, 3, 3)
    assert (decode_image(TINY, size=(9, 4), mode="fast") == [10, 20, 30]).all()
    with pytest.raises(ValueError, match=r"image codec 'tiny': the picture has no colour"):
        decode_image(TINY[:8])
    with pytest.raises(
        ValueError, match="no image codec knows these 3 bytes .opencv: .*; tiny: no TINY"
    ):
        decode_image(b"???")


@pytest.mark.parametrize("mode", ["raw", "jpg", "keep"])
def test_fields_take_it(installed, mode, tmp_path):
    installed("tiny")
    path = tmp_path / "a.tiny"
    path.write_bytes(TINY)
    for value in (TINY, path, str(path)):
        record, regions = encode_value(RGBImageField(mode), value)
        assert (record["height"], record["width"]) == (6, 8)
        if mode == "raw":
            data = regions[int(record["data_ptr"])].reshape(6, 8, 3)
            assert (data == [10, 20, 30]).all()
    with pytest.raises(ValueError, match="8 bytes: image codec 'tiny': the picture has no colour"):
        encode_value(RGBImageField(mode), TINY[:8])


def test_one_that_knows_jpeg_is_used_by_name_only(installed):
    expected = decode_image(BASELINE), decode_image(PROGRESSIVE)
    installed("gray")
    for stream, image in zip((BASELINE, PROGRESSIVE), expected, strict=True):
        np.testing.assert_array_equal(decode_image(stream), image)
        assert (decode_image(stream, codec="gray") == 128).all()
        images = stored(stream, 40, 50)
        got = decode(images.field, images, SimpleRGBImageDecoder())
        np.testing.assert_array_equal(got[0], image)
        decoder = SimpleRGBImageDecoder(codec="gray")
        assert (decode(images.field, images, decoder) == 128).all()
    record, regions = encode_value(RGBImageField(), PROGRESSIVE)
    np.testing.assert_array_equal(regions[int(record["data_ptr"])].reshape(40, 50, 3), expected[1])


@pytest.mark.parametrize("jit", [True, False])
def test_damage_that_we_find_is_not_given_to_one_that_conceals_it(installed, jit):
    installed("gray")
    damaged = BASELINE[: len(BASELINE) * 3 // 4].rstrip(b"\xff") + b"\xff\xd9"
    with pytest.raises(ValueError, match="the JPEG stream is damaged: only the first"):
        decode_image(damaged, codec="gray")
    images = stored(damaged, 40, 50)
    with pytest.raises(
        (ValueError, SampleError), match="the JPEG stream is damaged: only the first"
    ):
        decode(images.field, images, SimpleRGBImageDecoder(codec="gray"), jit=jit)


def test_two_that_know_a_format_are_chosen_by_name_only(installed):
    installed("tiny", "tinier")
    assert (decode_image(TINY, codec="tinier") == [10, 20, 30]).all()
    words = "the image codecs 'tiny' and 'tinier' all know these 9 bytes: name one"
    with pytest.raises(ValueError, match=words):
        decode_image(TINY)


def test_one_that_fails_is_named(installed):
    installed("noisy", "tiny")
    who = (
        r"image codec 'noisy' \(tiny_codec.Noisy\): decode failed: ZeroDivisionError: of something"
    )
    with pytest.raises(PluginError, match=who):
        decode_image(b"LOUD" + TINY[4:])
    with pytest.raises(PluginError, match=who):
        encode_value(RGBImageField(), b"LOUD" + TINY[4:])
    for field in (ImageField("noisy"), ImageField("tiny")):
        with pytest.raises(PluginError, match=who):
            encode_value(field, b"LOUD" + TINY[4:])


def test_one_that_fails_to_look_is_warned_of_and_left_out(installed):
    installed("noisy", "tiny")
    who = r"image codec 'noisy' \(tiny_codec.Noisy\): probe failed: IndexError: no such place"
    with (
        pytest.warns(RuntimeWarning, match=f"{who}; the image is decoded without it"),
        pytest.raises(ValueError, match="no image codec knows these 9 bytes"),
    ):
        decode_image(b"BANG" + TINY[4:])


def test_what_it_says_of_an_image_is_checked(installed):
    installed("vague")
    who = r"'vague' .*: probe failed: TypeError: expected an ImageInfo, got tuple \(8, 6\)"
    with pytest.warns(RuntimeWarning, match=who), pytest.raises(ValueError, match="not a JPEG"):
        decode_image(b"VAGU" + TINY[4:])


def test_one_that_returns_what_it_decodes_is_refused(installed):
    """What it should have filled would hold whatever was in memory before."""
    installed("giver")
    who = r"'giver' .*: decode failed: TypeError: expected that it fills `destination`.*got ndarray"
    with pytest.raises(PluginError, match=who):
        decode_image(TINY)


@pytest.mark.parametrize(
    ("encoded", "error", "words"),
    [
        (b"", PluginError, r"\(.*Giver\): encode failed: .*expected an image of 5×4.*no bytes"),
        (None, PluginError, r"\(.*Giver\): encode failed: .*expected bytes, got NoneType"),
        (KeyError("x"), PluginError, r"\(.*Giver\): encode failed: KeyError: 'x'"),
        (ValueError("too small"), ValueError, ": too small"),
    ],
    ids=repr,
)
def test_one_that_cannot_encode_is_named(installed, monkeypatch, encoded, error, words):
    installed("giver")
    monkeypatch.setattr(type(codec.installed_codec("giver")), "encoded", encoded)
    with pytest.raises(error, match=f"image codec 'giver'.*{words}"):
        encode_value(ImageField("giver"), np.zeros((4, 5, 3), np.uint8))


@pytest.mark.parametrize(("name", "own"), [("masked", "'tiny'"), ("nameless", "None")])
def test_its_name_is_the_one_that_is_announced(installed, name, own):
    installed(name)
    with pytest.raises(PluginError, match=f"image codec '{name}'.* calls itself {own}"):
        codec.installed_codec(name)

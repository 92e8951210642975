"""Which codec decodes what, and that the images are the same whoever does it."""

from __future__ import annotations

import functools
import sys
import textwrap

import numpy as np
import pytest
from image_reference import picture
from jpeg_samples import as_array, jpeg, kinds
from remarks import uncopied

from ffcv.errors import MissingPluginError, PluginError, SampleError, UnknownNameError
from ffcv.fields import IntField
from ffcv.loader import Loader
from ffcv.plugin import registry
from ffcv.testing import decode
from ffcv.testing.harness import sample_keys
from ffcv.testing.memory import Encoded, Regions
from ffcv.writer import DatasetWriter
from ffcv_plugins.images import codec
from ffcv_plugins.images.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.functions import decode_image
from ffcv_plugins.images.jpeg.decoder import RGB_ENTRY
from ffcv_plugins.images.jpeg.memory import local_memory
from ffcv_plugins.images.layout import RECORD
from ffcv_plugins.images.opencv import OpenCVCodec
from ffcv_plugins.raster.crops import center_crop, random_resized_crop
from ffcv_plugins.raster.resizing.arrays import resize_array

SIZE = (90, 130)


def is_native(stream, size=SIZE):
    """Whether the native decoder knows the whole image."""
    data, out = as_array(stream), np.empty((*size, 3), np.uint8)
    state, target = local_memory(data.size, *size).state, out.ctypes.data
    box = (0, 0, *size, target, 3 * size[1])
    return RGB_ENTRY(state.ctypes.data, data.ctypes.data, data.size, *box, 0, 0) == 0


def damaged(stream):
    """The stream with one byte changed such that a library conceals it, and we notice."""
    scan = stream.index(b"\xff\xda")
    for place in range((scan + len(stream)) // 2, len(stream) - 2):
        for value in (0x00, 0x7F):
            broken = stream[:place] + bytes([value]) + stream[place + 1 :]
            if not is_native(broken) and b"\xff" not in stream[place - 1 : place + 1]:
                return broken
    raise AssertionError("no damage is noticed")


def closed(stream):
    """The stream without the last part of its data, with an end marker all the same."""
    return stream[: len(stream) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9"


KINDS = kinds(*SIZE)
KINDS |= {"CMYK": jpeg(picture(*SIZE), "CMYK")}
DAMAGED = {
    "a byte": damaged(KINDS["optimised"]),
    "cut": closed(KINDS["4:2:0"]),
    "cut, grey": closed(KINDS["grey"]),
    "cut, restart markers": closed(KINDS["restart markers"]),
    "cut, progressive": closed(KINDS["progressive"]),
    "cut, RGB": closed(KINDS["RGB"]),
    "cut, CMYK": closed(KINDS["CMYK"]),
    "broken off": KINDS["4:2:0"][: -len(KINDS["4:2:0"]) // 8],
    "broken off, progressive": KINDS["progressive"][:-50],
}
STREAMS = list(KINDS.values())
FOREIGN = [kind for kind, stream in KINDS.items() if not is_native(stream)]
FALLBACKS = f"; opencv for what that cannot decode: {len(FOREIGN)} so far"
DECODERS = {
    "random": lambda **options: RandomResizedCropRGBImageDecoder((24, 31), **options),
    "center": lambda **options: CenterCropRGBImageDecoder((33, 33), 0.9, **options),
    "whole": lambda **options: SimpleRGBImageDecoder(**options),
}


def stored(streams, size=SIZE, indexed=True):
    """Streams in the memory of a file, just as they are."""
    regions, records = Regions(), np.zeros(len(streams), RECORD)
    for record, stream in zip(records, streams, strict=True):
        pointer, region = regions.malloc(len(stream))
        region[:] = as_array(stream)
        record["height"], record["width"] = size
        record["data_ptr"] = pointer
    return Encoded(RGBImageField(), records, regions, indexed)


def by_library(stream, size=SIZE):
    image = np.empty((*size, 3), np.uint8)
    OpenCVCodec().decode(as_array(stream), image)
    return image


def region_of(decoder, number, size=SIZE):
    if isinstance(decoder, SimpleRGBImageDecoder):
        return 0, 0, *size
    if isinstance(decoder, CenterCropRGBImageDecoder):
        return center_crop(*size, decoder.ratio)
    key = int(sample_keys(np.array([number]))[0])
    return random_resized_crop(*size, *decoder.scale, *decoder.ratio, key)


def expected(decoder, streams, size=SIZE):
    """What a library and NumPy make of the streams."""
    return [
        resize_array(
            by_library(stream, size),
            region_of(decoder, number, size),
            getattr(decoder, "output_size", size),
            decoder.interpolation,
        )
        for number, stream in enumerate(streams)
    ]


def test_there_are_images_of_both_sorts():
    assert {"4:2:0", "grey", "restart markers"}.isdisjoint(FOREIGN)
    assert {"progressive", "progressive grey", "RGB", "CMYK"} <= set(FOREIGN)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("name", DECODERS)
def test_all_images_are_those_of_a_library(name, indexed, jit):
    images, decoder = stored(STREAMS, indexed=indexed), DECODERS[name]()
    got = decode(images.field, images, decoder, jit=jit)
    for kind, result, reference in zip(KINDS, got, expected(decoder, STREAMS), strict=True):
        np.testing.assert_array_equal(result, reference, err_msg=kind)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", ["whole", "exact", "fast"])
def test_damage_is_an_error_whoever_decodes(name, jit):
    """Libraries would fill it up with grey."""
    for stream in DAMAGED.values():
        images = stored([stream])
        decoder = CenterCropRGBImageDecoder((33, 33), 1.0, mode=name) if name != "whole" else None
        with pytest.raises((ValueError, SampleError), match="JPEG stream .*restore it"):
            decode(images.field, images, decoder or SimpleRGBImageDecoder(), jit=jit)


@pytest.mark.parametrize("jit", [True, False])
def test_a_missing_end_marker_is_no_damage(jit):
    streams = [stream[:-2] for stream in STREAMS]
    images, decoder = stored(streams), DECODERS["whole"]()
    got = decode(images.field, images, decoder, jit=jit)
    np.testing.assert_array_equal(got, expected(decoder, STREAMS))
    for stream, image in zip(streams, got, strict=True):
        np.testing.assert_array_equal(decode_image(stream), image)


@pytest.mark.parametrize("kind", DAMAGED)
def test_decode_image_refuses_damage(kind):
    for options in ({}, {"size": (20, 30)}, {"size": (20, 30), "mode": "fast"}):
        with pytest.raises(ValueError, match="JPEG stream .*restore it"):
            decode_image(DAMAGED[kind], **options)


@pytest.mark.parametrize("interpolation", ["area", "nearest", "bicubic", "lanczos"])
def test_all_filters(interpolation):
    images, decoder = stored(STREAMS), DECODERS["random"](interpolation=interpolation)
    got, eager = (decode(images.field, images, decoder, jit=jit) for jit in (True, False))
    np.testing.assert_array_equal(got, expected(decoder, STREAMS))
    np.testing.assert_array_equal(got, eager)


@pytest.mark.parametrize("name", ["random", "center"])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_decoders_do_what_the_function_does(name, mode):
    images, decoder = stored(STREAMS), DECODERS[name](mode=mode)
    got = decode(images.field, images, decoder)
    for number, (kind, stream) in enumerate(KINDS.items()):
        region = region_of(decoder, number)
        alone = decode_image(stream, region, decoder.output_size, mode=mode)
        np.testing.assert_array_equal(got[number], alone, err_msg=kind)
        reference = expected(decoder, STREAMS)[number]
        if mode == "exact" or kind in FOREIGN:
            np.testing.assert_array_equal(alone, reference, err_msg=kind)
        else:
            assert np.abs(alone.astype(int) - reference).mean() < 6, kind


def test_fallbacks_are_counted():
    images, decoder = stored(STREAMS), uncopied(DECODERS["whole"]())
    decoder.declare(images.stored())
    assert decoder.remarks() == [
        "JPEG: native, with side index; opencv for what that cannot decode"
    ]
    decode(images.field, images, decoder)
    assert decoder.remarks() == ["JPEG: native, with side index" + FALLBACKS]
    images.indexed = False
    decode(images.field, images, decoder)
    assert decoder.remarks() == ["JPEG: native, without side index" + FALLBACKS]


def test_the_loader_s_plan_tells_them(tmp_path):
    fields = {"image": RGBImageField("keep"), "label": IntField()}
    writer = DatasetWriter(tmp_path / "x.beton", fields, num_workers=0)
    writer.from_indexed_dataset(list(zip(STREAMS, range(len(STREAMS)), strict=True)))
    decoder = DECODERS["random"]()
    pipelines = {"image": [decoder], "label": None}
    with Loader(tmp_path / "x.beton", 4, 2, pipelines=pipelines, drop_last=False) as loader:
        assert "opencv for what that cannot decode)" in loader.explain()
        for epoch in (1, 2):
            assert sum(len(images) for (images,) in loader) == len(STREAMS)
            # A CMYK image is written anew, since other readers of the format would not know it.
            assert f"cannot decode: {epoch * (len(FOREIGN) - 1)} so far)" in loader.explain()


PAINTER = """
from typing import NamedTuple

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.plugin import Contribution, Kind, hookimpl
from ffcv.kernels.vectors import store_i64, store_u8


@hookimpl
def ffcv_image_codecs():
    return [
        Contribution("painter", Kind.IMAGE_CODEC, "ffcv_painter:Painter", "paints"),
        Contribution("broken", Kind.IMAGE_CODEC, "ffcv_painter:Broken", "cannot be made"),
        Contribution("half", Kind.IMAGE_CODEC, "ffcv_painter:Half", "is of neither kind"),
        Contribution("absent", Kind.IMAGE_CODEC, "ffcv_painter:Gone", "is not there"),
        Contribution("later", Kind.IMAGE_CODEC, "x:Y", "needs a package", requires="not_there"),
    ]


@kernel
def paint(state, data, length, y, x, height, width, target, pitch, index, index_size):
    if length % 2:
        return 1
    store_i64(state, 130)
    store_i64(state + 8, 90)
    for row in range(height):
        for column in range(3 * width):
            store_u8(target + row * pitch + column, 7)
    return 0


class Memory(NamedTuple):
    state: np.ndarray


class Painter:
    name = "painter"
    rgb = Entry(paint)
    planes = None

    def memory(self, stream_bytes, height, width, planes=None):
        return Memory(np.zeros(2, np.int64))


class Broken(Painter):
    def __init__(self):
        raise OSError("no licence")


class Half:
    name = "half"
    rgb = Painter.rgb
"""


def forget():
    """Have plugins and codecs looked for anew."""
    registry.reset()
    codec.named_codec.cache_clear()


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """A plugin with codecs, installed; afterwards everything is as before."""

    (tmp_path / "ffcv_painter.py").write_text(textwrap.dedent(PAINTER), "utf-8")
    info = tmp_path / "painter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: painter\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text("[ffcv]\npainter = ffcv_painter\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield
    monkeypatch.undo()
    sys.modules.pop("ffcv_painter", None)
    forget()


@pytest.mark.usefixtures("strangers")
class TestStrangers:
    """What somebody has installed changes nothing, and does its work where it is named."""

    def test_ours_decode_unless_another_one_is_named(self):
        images, decoder = stored(STREAMS), uncopied(DECODERS["random"]())
        got = decode(images.field, images, decoder)
        np.testing.assert_array_equal(got, expected(decoder, STREAMS))
        assert decoder.remarks() == ["JPEG: native, with side index" + FALLBACKS]
        np.testing.assert_array_equal(decode_image(STREAMS[0]), by_library(STREAMS[0]))

    @pytest.mark.parametrize("mode", ["exact", "fast"])
    def test_it_decodes_where_it_is_named(self, mode):
        images, decoder = stored(STREAMS), DECODERS["random"](mode=mode, codec="painter")
        got = decode(images.field, images, uncopied(decoder))
        for stream, result, image in zip(STREAMS, got, expected(decoder, STREAMS), strict=True):
            np.testing.assert_array_equal(result, image if len(stream) % 2 else image * 0 + 7)
        odd = sum(len(stream) % 2 for stream in STREAMS)
        assert 0 < odd < len(STREAMS)
        words = f"JPEG: painter, with side index; opencv for what that cannot decode: {odd} so far"
        assert decoder.remarks() == [words]

    def test_functions_use_it_where_it_is_named(self):
        for stream in STREAMS:
            image = decode_image(stream, codec="painter")
            want = by_library(stream) if len(stream) % 2 else np.full((*SIZE, 3), 7, np.uint8)
            np.testing.assert_array_equal(image, want)

    @pytest.mark.parametrize("jit", [True, False])
    def test_a_library_by_name_decodes_whole_images(self, jit):
        images, decoder = stored(STREAMS), DECODERS["random"](mode="fast", codec="opencv")
        got = decode(images.field, images, uncopied(decoder), jit=jit)
        np.testing.assert_array_equal(got, expected(decoder, STREAMS))
        assert decoder.remarks() == ["JPEG: opencv"]

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("broken", r"'broken' .*of painter.: Broken\(\) failed: OSError: no licence"),
            ("half", "'half' .*of painter.: Half has neither name, probe, .*, nor name, rgb"),
            ("absent", "absent .*of painter.* cannot be imported from ffcv_painter:Gone"),
        ],
    )
    def test_a_broken_one_is_told_where_it_is_named(self, name, words):
        images = stored(STREAMS[:1])
        with pytest.raises(PluginError, match=words):
            decode(images.field, images, DECODERS["random"](codec=name))
        with pytest.raises(PluginError, match=words):
            decode_image(STREAMS[0], codec=name)

    @pytest.mark.parametrize("kind", DECODERS)
    def test_one_that_is_not_there_is_told_at_once(self, kind):
        make = functools.partial(DECODERS[kind], codec="paintre")
        with pytest.raises(UnknownNameError, match=r"no image codec .*'paintre'; did you mean pai"):
            make()
        with pytest.raises(MissingPluginError, match="later .* needs the package 'not_there'"):
            make.func(codec="later")

    def test_a_region_codec_is_no_library(self):
        with pytest.raises(PluginError, match="'painter': Painter lacks some of the methods probe"):
            codec.installed_codec("painter")

    def test_files_without_jpeg_need_none(self):
        image = picture(20, 30)
        decoder = uncopied(SimpleRGBImageDecoder(codec="broken"))
        got = decode(RGBImageField("raw"), [image, image], decoder)
        np.testing.assert_array_equal(got, np.stack([image, image]))
        assert decoder.remarks() == ["raw pixels"]

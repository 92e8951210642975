"""Images that any codec stores: how a file names it, who reads it, and who refuses it."""

from __future__ import annotations

import json
import sys
import textwrap

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from image_reference import picture
from jpeg_samples import jpeg

from ffcv.beton.field import Location
from ffcv.cli import main
from ffcv.cli.summary import summary
from ffcv.errors import (
    PipelineError,
    PluginError,
    SampleEncodingError,
    SampleError,
    UnknownNameError,
)
from ffcv.fields import ImageField, IntField, RGBImageField
from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader
from ffcv.plugin import registry
from ffcv.reader import Reader
from ffcv.testing import decode, encode_value
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from ffcv_plugins.images import codec
from ffcv_plugins.images.functions import decode_image
from ffcv_plugins.images.layout import FIRST_CODEC
from ffcv_plugins.images.opencv import OpenCVCodec

PLAIN = """
from typing import NamedTuple

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import load_u8, store_i64, store_u8
from ffcv.plugin import Contribution, hookimpl
from ffcv_plugins.images.codec import ImageInfo
from ffcv_plugins.images.hookspecs import ImageKind


@hookimpl
def ffcv_image_codecs():
    return [
        Contribution("plain", ImageKind.CODEC, "plain_codec:Plain", "pixels behind 12 bytes"),
        Contribution("planar", ImageKind.CODEC, "plain_codec:Planar", "the same, in parts"),
    ]


class Plain:
    name = "plain"
    mark = b"PLA0"
    version = "plain 7"
    calls = 0

    def probe(self, data):
        if bytes(data[:4]) != self.mark:
            raise ValueError(f"no {self.mark.decode()} image")
        height, width = np.frombuffer(data[4:12].tobytes(), "<u4").tolist()
        return ImageInfo(width, height, 3, self.name)

    def decode(self, data, destination):
        type(self).calls += 1
        if data.size != 12 + destination.size:
            raise ValueError("the image breaks off")
        destination[...] = 255 - data[12:].reshape(destination.shape)

    def encode(self, pixels, quality):
        size = np.array(pixels.shape[:2], "<u4").tobytes()
        return self.mark + size + (255 - pixels).tobytes()


class Memory(NamedTuple):
    state: np.ndarray


@kernel
def side(data, at):
    return load_u8(data + at) + 256 * load_u8(data + at + 1)


@kernel
def cut(state, data, length, y, x, height, width, target, pitch, index, index_size):
    if length < 12:
        return 1
    tallest, widest = side(data, 4), side(data, 8)
    if length != 12 + 3 * tallest * widest or y + height > tallest or x + width > widest:
        return 1
    store_i64(state, widest)
    store_i64(state + 8, tallest)
    for row in range(height):
        source = data + 12 + 3 * ((y + row) * widest + x)
        for column in range(3 * width):
            store_u8(target + row * pitch + column, 255 - load_u8(source + column))
    return 0


class Planar(Plain):
    name = "planar"
    mark = b"PLA1"
    calls = 0
    rgb = Entry(cut)
    planes = None

    def memory(self, stream_bytes, height, width, planes=None):
        from ffcv_plugins.images.decoded import DECODED

        return Memory(np.zeros(DECODED.itemsize // 8, np.int64))
"""

SIZES = [(20, 30), (31, 17), (64, 50)]
IMAGES = [picture(*size) for size in SIZES]
DECODERS = [
    RandomResizedCropRGBImageDecoder((24, 31)),
    RandomResizedCropRGBImageDecoder((24, 31), mode="fast", interpolation="area"),
    CenterCropRGBImageDecoder((33, 33), 0.9),
]


def forget():
    registry.reset()
    codec.named_codec.cache_clear()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A plugin with a codec that decodes parts, and one that does not."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "plain_codec.py").write_text(textwrap.dedent(PLAIN), "utf-8")
    info = folder / "plain_codec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-codec\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\nplain = plain_codec\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        forget()
        yield sys.modules
    sys.modules.pop("plain_codec", None)
    forget()


def written(path, name="plain", images=IMAGES):
    fields = {"image": ImageField(name), "label": IntField()}
    samples = [(image, number) for number, image in enumerate(images)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", ["plain", "planar"])
@pytest.mark.parametrize("decoder", DECODERS, ids=["random", "fast", "center"])
def test_pixels_are_those_of_raw_images(installed, decoder, name, jit):
    images = encode_values(ImageField(name), IMAGES)
    raw = encode_values(RGBImageField(), IMAGES)
    kind = type(codec.installed_codec(name))
    kind.calls = 0
    got = decode(images.field, images, decoder, jit=jit)
    np.testing.assert_array_equal(got, decode(raw.field, raw, decoder, jit=jit))
    assert kind.calls == (0 if jit and name == "planar" else len(IMAGES))


@pytest.mark.parametrize("name", ["plain", "planar"])
def test_loaders_read_it_and_say_who_decodes(installed, name, tmp_path):
    path = written(tmp_path / "a.beton", name, [IMAGES[0]] * 5)
    with Loader(path, 2, 1, drop_last=False) as loader:
        plan = loader.explain()
        got = np.concatenate([np.asarray(images) for images, _ in loader])
    np.testing.assert_array_equal(got, np.stack([IMAGES[0]] * 5))
    words = (
        "planar: planar, compiled; whole images where that fails" if name == "planar" else "plain"
    )
    assert words in plan


@pytest.mark.parametrize("name", ["plain", "planar"])
def test_decode_image_takes_it(installed, name):
    stream = codec.installed_codec(name).encode(IMAGES[2], 90)
    np.testing.assert_array_equal(decode_image(stream), IMAGES[2])
    part = decode_image(stream, region=(3, 4, 20, 30))
    np.testing.assert_array_equal(part, IMAGES[2][3:23, 4:34])
    assert decode_image(stream, size=(9, 9), mode="fast").shape == (9, 9, 3)
    with pytest.raises(ValueError, match=f"image codec '{name}': the image breaks off"):
        decode_image(stream[:-1])


def test_input_in_its_own_format_is_kept(installed, tmp_path):
    stream = codec.installed_codec("plain").encode(IMAGES[0], 1)
    path = tmp_path / "a.plain"
    path.write_bytes(stream)
    for value in (stream, path):
        record, regions = encode_value(ImageField("plain"), value)
        assert regions[int(record["data_ptr"])].tobytes() == stream
        assert (record["mode"], record["height"], record["width"]) == (FIRST_CODEC, 20, 30)
    record, regions = encode_value(ImageField("plain", max_resolution=15), stream)
    assert (record["height"], record["width"]) == (10, 15)
    with pytest.raises(ValueError, match="image codec 'plain': the image breaks off"):
        encode_value(ImageField("plain"), stream[:-5])


def test_input_in_other_formats_is_decoded(installed):
    stream = jpeg(IMAGES[0])
    other = codec.installed_codec("planar").encode(IMAGES[0], 1)
    for value, image in ((stream, decode_image(stream)), (other, IMAGES[0])):
        got = decode(ImageField("plain"), [value])
        np.testing.assert_array_equal(got[0], image)


def test_its_type_id_and_identity_are_in_the_file(installed, tmp_path):
    path = written(tmp_path / "a.beton")
    with Reader(path) as reader:
        descriptor, label = reader.file.descriptors
        assert (descriptor.type_id, label.type_id) == (255, 1)
        arguments = json.loads(descriptor.arguments.tobytes().rstrip(b"\0"))
        assert arguments == {"codecs": [{"name": "plain", "distribution": "plain-codec"}]}
        identity = reader.file.extension.fields[0]
        assert (identity.distribution, identity.name, identity.version) == ("ffcv", "ImageField", 1)
        field = reader.handlers["image"]
        assert field.describe() == "8-bit RGB images, by the codec plain (of plain-codec)"
        figures = field.summarise(reader.metadata["f0"])
    assert figures == {
        "plain": 3,
        "width": {"min": 17, "median": 30, "max": 50},
        "height": {"min": 20, "median": 31, "max": 64},
    }


@pytest.mark.parametrize(
    ("field", "software"),
    [
        (lambda: ImageField("plain"), {"plain": "plain 7"}),
        (lambda: RGBImageField("raw"), {}),
        (lambda: RGBImageField("keep"), {}),
        (lambda: RGBImageField("jpg"), {"opencv": OpenCVCodec.version}),
    ],
)
def test_the_file_says_which_software_encoded(installed, field, software, tmp_path):
    path = tmp_path / "a.beton"
    DatasetWriter(path, {"image": field()}, num_workers=0).from_indexed_dataset([(IMAGES[0],)])
    assert dict(Reader(path).file.extension.fields[0].software) == software
    assert add_side_indexes(path, num_workers=1).path == str(path)
    shown = summary(path)["fields"][0]["software"]
    assert shown == software
    assert "libjpeg-turbo" in OpenCVCodec.version
    listing = CliRunner().invoke(main, ["info", str(path)]).output
    assert ("written with" in listing) == bool(software)
    assert all(version in listing for version in software.values())


@pytest.mark.parametrize("wrong", ["two\nlines", "x" * 1025, 3])
def test_software_that_the_file_cannot_hold_is_refused(wrong, tmp_path):
    class Boastful(RGBImageField):
        def software(self):
            return {"codec": wrong}

    writer = DatasetWriter(tmp_path / "a.beton", {"image": Boastful()}, num_workers=0)
    with pytest.raises(PluginError, match="software must give names and versions of at most 1024"):
        writer.from_indexed_dataset([(IMAGES[0],)])
    assert not list(tmp_path.iterdir())


def test_without_the_codec_the_rest_of_the_file_is_read(installed, tmp_path, monkeypatch):
    path = written(tmp_path / "a.beton", images=IMAGES[:1])
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "plain")
    forget()
    try:
        with Loader(path, 1, 1, pipelines={"image": None}) as loader:
            assert [int(label[0]) for (label,) in loader] == [0]
        words = "codec 'plain', by which .* the package 'plain-codec', whose plugin .* switched off"
        with pytest.raises(PipelineError, match=f"output 'image', step 1 .*{words}"):
            Loader(path, 1, 1)
        with pytest.raises(UnknownNameError, match="no image codec called 'plain'"):
            ImageField("plain")
    finally:
        monkeypatch.undo()
        forget()


def test_records_move_to_files_that_name_the_codec_elsewhere(installed):
    (record,) = encode_values(ImageField("planar"), IMAGES[:1]).records.reshape(1, 1)
    pointers = np.array([record["data_ptr"][0]], np.uint64)
    both = ImageField("plain")
    both.codecs += ImageField("planar").codecs
    source = Location(ImageField("planar"), pointers)
    both.relocate(record, source, Location(both, pointers + 77))
    assert (record["mode"][0], record["data_ptr"][0]) == (FIRST_CODEC + 1, pointers[0] + 77)
    plain = ImageField("plain")
    with pytest.raises(ValueError, match="by the codec 'planar', and this file names 'plain'"):
        plain.relocate(record, Location(both, pointers), Location(plain, pointers))
    with pytest.raises(ValueError, match="its mode 3 stands for no codec of its file"):
        plain.relocate(record, Location(plain, pointers), Location(plain, pointers))
    record["mode"] = 1
    plain.relocate(record, Location(RGBImageField(), pointers), Location(plain, pointers))
    assert record["mode"][0] == 1


@pytest.mark.parametrize("mode", [0, 1, 3, 255])
def test_wrong_modes_are_refused(installed, mode):
    images = encode_values(ImageField("plain"), IMAGES[:1])
    images.records["mode"] = mode
    with pytest.raises((SampleError, ValueError)):
        decode(images.field, images, SimpleRGBImageDecoder())


def test_claims_that_its_bytes_cannot_hold_are_refused(installed):
    images = encode_values(ImageField("plain"), IMAGES)
    images.records["width"][1] = images.records["height"][1] = 60000
    with pytest.raises(SampleError, match="claims more pixels than its codec can put into so few"):
        decode(images.field, images, CenterCropRGBImageDecoder(9, 1.0))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ImageField("plian"), UnknownNameError, "'plian'; did you mean plain"),
        (lambda: ImageField(3), TypeError, "codec: expected a name, got int 3"),
        (lambda: ImageField("plain", quality=0), ValueError, "quality: expected 1 to 100"),
        (lambda: ImageField("plain", max_resolution=0), ValueError, "max_resolution: expected 1"),
    ],
)
def test_wrong_arguments_are_refused(installed, make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_damaged_image_names_its_sample(installed, tmp_path):
    broken = codec.installed_codec("plain").encode(IMAGES[0], 1)[:-1]
    with pytest.raises(SampleEncodingError, match="the image breaks off") as caught:
        written(tmp_path / "a.beton", images=[IMAGES[0], broken])
    assert caught.value.sample == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"codecs":[]}',
        b'{"codecs":[{"name":"a"}]}',
        b'{"codecs":[{"name":"a b","distribution":"c"}]}',
        b'{"codecs":[{"name":"a","distribution":"\\u0007"}]}',
        b'{"codecs":[{"name":"a","distribution":"c"},{"name":"a","distribution":"d"}]}',
        b'{"codecs":[{"name":1,"distribution":"c"}]}',
        b"[" * 1024,
        b"\xff" * 1024,
    ],
)
def test_hostile_arguments_are_refused(text):
    arguments = np.frombuffer(text.ljust(1024, b"\0"), np.uint8)
    with pytest.raises(ValueError, match="codec"):
        ImageField.from_binary(arguments)


@pytest.mark.usefixtures("installed")
class TestImageField(FieldConformance):
    max_examples = 6

    def fields(self):
        return [ImageField("plain"), ImageField("planar")]

    def values(self, field):
        return arrays.arrays(np.uint8, st.just((5, 7, 3)))

    def wrong_values(self, field):
        return [
            (np.zeros((2, 2, 4), np.uint8), "got uint8 (2, 2, 4)"),
            (np.zeros((0, 3, 3), np.uint8), "expected an image with pixels"),
            (b"nonsense", "8 bytes"),
        ]

"""Image decoders in a loader: attributes that change, odd sizes, hostile records, real files."""

from __future__ import annotations

import numpy as np
import pytest
from image_reference import picture
from jpeg_samples import jpeg
from numba.core import event

from ffcv.errors import EmptyPassError, SampleError
from ffcv.fields import IntField, RGBImageField
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv.testing.harness import sample_keys
from ffcv.transforms import RandomHorizontalFlip
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from ffcv_plugins.images.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv_plugins.images.layout import JPEG, RAW
from ffcv_plugins.images.opencv import OpenCVCodec
from ffcv_plugins.raster.crops import center_crop, random_resized_crop
from ffcv_plugins.raster.resizing.arrays import resize_array
from tests.beton.building import patched, without_block
from tests.support import unpack_fixture

SHAPES = [(1, 1), (1, 5000), (5000, 1), (3, 2), (17, 16), (90, 130), (400, 300), (8, 700), (2, 2)]
FIXTURES = ["images_32", "images_jpg", "images_proportion", "images_raw"]


def write(path, images, mode, **options):
    fields = {"image": RGBImageField(mode), "label": IntField()}
    writer = DatasetWriter(path, fields, num_workers=0, **options)
    writer.from_indexed_dataset([(image, number) for number, image in enumerate(images)])
    return path


def loaded(path, decoder, batch_size=4, **options):
    """All images of an epoch."""
    options = {"num_workers": 2, "seed": 3, "drop_last": False} | options
    with Loader(path, batch_size, pipelines={"image": [decoder], "label": None}, **options) as it:
        return np.concatenate([np.array(images) for (images,) in it])


def stored_images(path):
    """What a file holds, decoded by a library."""
    with Reader(path) as reader:
        number = list(reader.handlers).index("image")
        memory = np.fromfile(path, np.uint8)
        for record in reader.metadata[f"f{number}"]:
            pixels = np.empty((int(record["height"]), int(record["width"]), 3), np.uint8)
            begin = int(record["data_ptr"])
            (size,) = reader.file.region_sizes(np.array([begin], np.uint64))
            data = memory[begin : begin + int(size)]
            if record["mode"] == RAW:
                pixels[...] = data.reshape(pixels.shape)
            else:
                OpenCVCodec().decode(data, pixels)
            yield pixels


def expected(path, decoder, seed=3, epoch=0):
    """The same by NumPy."""
    images = list(stored_images(path))
    keys = sample_keys(np.arange(len(images)), seed=seed, epoch=epoch)
    for image, key in zip(images, keys, strict=True):
        if isinstance(decoder, CenterCropRGBImageDecoder):
            region = center_crop(*image.shape[:2], decoder.ratio)
        else:
            part = *decoder.scale, *decoder.ratio
            region = random_resized_crop(*image.shape[:2], *part, int(key))
        size = decoder.output_size
        size = (size, size) if isinstance(size, int) else size
        yield resize_array(image, region, size, decoder.interpolation)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """All shapes in one file: raw, JPEG as we write it, and some progressive."""
    images = [picture(*shape, seed) for shape in SHAPES for seed in range(4)]
    images += [jpeg(picture(90, 130, seed), progressive=True) for seed in range(6)]
    path = tmp_path_factory.mktemp("mixed") / "x.beton"
    return write(path, images, "proportion")


def test_the_file_has_all_sorts(mixed):
    with Reader(mixed) as reader:
        records = reader.metadata["f0"]
        for shape in SHAPES:
            of_shape = (records["height"] == shape[0]) & (records["width"] == shape[1])
            assert set(records["mode"][of_shape]) == {JPEG, RAW}
        assert JPEG in records["mode"][-6:]


class TestChanges:
    def test_attributes_change_between_epochs_and_nothing_is_compiled(self, mixed):
        decoder = RandomResizedCropRGBImageDecoder(16)
        pipelines = {"image": [decoder], "label": None}
        changes = [
            {},
            {"interpolation": "lanczos"},
            {"interpolation": "nearest", "output_size": (40, 9)},
            {"interpolation": "area", "scale": (0.5, 0.6)},
            {"interpolation": "bilinear", "ratio": (0.2, 5), "output_size": 1},
        ]
        with (
            Loader(mixed, 4, 2, seed=3, pipelines=pipelines, drop_last=False) as loader,
            event.install_recorder("numba:compile") as compiled,
        ):
            for epoch, change in enumerate(changes):
                for name, value in change.items():
                    setattr(decoder, name, value)
                got = np.concatenate([np.array(images) for (images,) in loader])
                reference = np.stack(list(expected(mixed, decoder, epoch=epoch)))
                np.testing.assert_array_equal(got, reference)
                if epoch == 0:
                    compiled.buffer.clear()
            assert not compiled.buffer

    def test_the_mode_changes_between_epochs(self, mixed):
        decoder = CenterCropRGBImageDecoder(20, 1.0)
        pipelines = {"image": [decoder], "label": None}
        results = {}
        with (
            Loader(mixed, 4, 2, pipelines=pipelines, drop_last=False) as loader,
            event.install_recorder("numba:compile") as compiled,
        ):
            for number, mode in enumerate(["exact", "fast", "exact", "fast"]):
                decoder.mode = mode
                got = np.concatenate([np.array(images) for (images,) in loader])
                np.testing.assert_array_equal(got, results.setdefault(mode, got))
                if number == 1:  # the fast mode has entry points of its own
                    compiled.buffer.clear()
            assert not compiled.buffer
        np.testing.assert_array_equal(results["exact"], list(expected(mixed, decoder)))
        difference = np.abs(results["exact"].astype(int) - results["fast"]).mean(axis=(1, 2, 3))
        with Reader(mixed) as reader:
            is_raw = reader.metadata["f0"]["mode"] == RAW
        assert not difference[is_raw].any()
        assert not difference[-6:].any(), "progressive"
        assert difference.any()

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("interpolation", "linear", "interpolation: expected .* 'linear'"),
            ("mode", "slow", "mode: expected 'exact' or 'fast', got 'slow'"),
            ("output_size", 0, "output_size: expected 1 to 65535"),
        ],
    )
    def test_wrong_ones_are_told_at_the_next_epoch(self, mixed, name, value, words):
        decoder = RandomResizedCropRGBImageDecoder(16)
        pipelines = {"image": [decoder], "label": None}
        with Loader(mixed, 4, 1, pipelines=pipelines) as loader:
            right = getattr(decoder, name)
            setattr(decoder, name, value)
            with pytest.raises(Exception, match=words):
                next(iter(loader))
            setattr(decoder, name, right)
            assert len(next(iter(loader))[0]) == 4


@pytest.mark.parametrize("jit", [True, False])
def test_files_without_images(tmp_path, jit):
    path = write(tmp_path / "x.beton", [], "jpg")
    for decoder in (SimpleRGBImageDecoder(), RandomResizedCropRGBImageDecoder(8)):
        steps = [decoder, RandomHorizontalFlip()]
        with pytest.raises(EmptyPassError, match="has 0 samples"):
            Loader(path, 2, pipelines={"image": steps, "label": None}, jit=jit)


@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (5, 64), (64, 3)])
def test_all_shapes_in_one_file(mixed, size, os_cache):
    wide = {"scale": (0.01, 1.0), "ratio": (0.001, 1000)}
    for decoder in (
        RandomResizedCropRGBImageDecoder(size),
        RandomResizedCropRGBImageDecoder(size, **wide),
        CenterCropRGBImageDecoder(size, 1.0),
    ):
        got = loaded(mixed, decoder, os_cache=os_cache)
        for number, reference in enumerate(expected(mixed, decoder)):
            np.testing.assert_array_equal(got[number], reference, err_msg=str(number))


def test_output_that_is_thirty_times_as_large(tmp_path):
    images = [picture(9, 12), jpeg(picture(12, 9))]
    path = write(tmp_path / "x.beton", images, "keep")
    for decoder in (
        RandomResizedCropRGBImageDecoder((270, 360)),
        CenterCropRGBImageDecoder(300, 1.0),
    ):
        np.testing.assert_array_equal(loaded(path, decoder), list(expected(path, decoder)))


@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_claims_of_large_sizes_harm_no_other_sample(tmp_path, mode):
    whole = write(tmp_path / "x.beton", [picture(20, 30, seed) for seed in range(6)], mode)
    path = without_block(tmp_path / "y.beton", whole)  # its checksums would tell of the damage
    decoder = RandomResizedCropRGBImageDecoder(8)
    right = loaded(path, decoder)
    with Reader(path) as reader:
        record = reader.metadata["f0"][2:3].copy()
    content = record.tobytes()
    place = path.read_bytes().index(content)
    record["height"] = record["width"] = 65535
    with patched(path, [(place, record.tobytes())]):
        others = [0, 1, 3, 4, 5]
        np.testing.assert_array_equal(loaded(path, decoder, indices=others), right[others])
        with pytest.raises(
            SampleError, match="more pixels than its codec|another size than"
        ) as caught:
            loaded(path, decoder)
        assert caught.value.sample == 2


@pytest.mark.parametrize("os_cache", [True, False])
def test_the_side_index_changes_nothing(tmp_path, os_cache):
    images = [picture(height, 300, height) for height in (200, 201, 215, 333)]
    paths = [
        write(tmp_path / f"{indexed}.beton", images, "jpg", side_indexes=indexed)
        for indexed in (True, False)
    ]
    for mode in ("exact", "fast"):
        decoder = RandomResizedCropRGBImageDecoder((48, 64), mode=mode)
        with_it, without = (loaded(path, decoder, os_cache=os_cache) for path in paths)
        np.testing.assert_array_equal(with_it, without)
        if mode == "exact":
            np.testing.assert_array_equal(with_it, list(expected(paths[0], decoder)))


@pytest.mark.parametrize("name", FIXTURES)
def test_files_of_ffcv_1_before_and_after_indexing(tmp_path, name):
    path = unpack_fixture(name, tmp_path)
    decoder = RandomResizedCropRGBImageDecoder((40, 36))
    before = loaded(path, decoder)
    np.testing.assert_array_equal(before, list(expected(path, decoder)))
    report = add_side_indexes(path, num_workers=1)
    has_jpeg = name in ("images_jpg", "images_proportion")
    assert any(field.num_entries for field in report.fields) == has_jpeg
    for os_cache in (True, False):
        np.testing.assert_array_equal(loaded(path, decoder, os_cache=os_cache), before)

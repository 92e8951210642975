"""When samples are written past the cache, and that it changes none of their bytes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ffcv import Loader
from ffcv.fields import RGBImageField
from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import graph
from ffcv.loader.memory import BufferPool, last_level_cache
from ffcv.pipeline import PipelineSpec
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomHorizontalFlip,
    RandomTranslate,
    ToTensor,
)
from ffcv.writer import DatasetWriter

REMARK = "written past the cache"
CROP = CenterCropRGBImageDecoder((64, 64), 1.0)
"""Its rows fill whole vectors."""

NORMALIZE = NormalizeImage(np.full(3, 120.0), np.full(3, 60.0), np.float32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Raw images and JPEGs of one size."""
    images = np.random.default_rng(0).integers(0, 256, (40, 70, 64, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("past_cache") / "x.beton"
    fields = {"image": RGBImageField("proportion")}
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset([(image,) for image in images])
    return path


def load(path, pipelines, **options):
    """Whether the plan says that samples are written past the cache, and all samples."""
    options = {"num_workers": 2, "seed": 1, "batches_ahead": 1, "drop_last": False} | options
    with Loader(path, 16, pipelines=pipelines, **options) as loader:
        batches = [[np.asarray(value).copy() for value in batch] for batch in loader]
        return loader.explain().count(REMARK), [
            np.concatenate(part) for part in zip(*batches, strict=True)
        ]


@pytest.fixture
def compare(monkeypatch, pictures):
    """Load with a cache that is too small for the batches, and with one that never is."""

    def run(pipelines, **options):
        monkeypatch.setattr(graph, "last_level_cache", lambda: None)
        never, expected = load(pictures, pipelines, **options)
        monkeypatch.setattr(graph, "last_level_cache", lambda: 1)
        times, found = load(pictures, pipelines, **options)
        assert never == 0
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        return times

    return run


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "steps",
    [
        [CROP],
        [CROP, RandomHorizontalFlip(), RandomBrightness(0.5), Cutout(8)],
        [CenterCropRGBImageDecoder((61, 61), 1.0), ToTensor()],
        [RandomResizedCropRGBImageDecoder((64, 96)), RandomHorizontalFlip(), ToTensor()],
        [SimpleRGBImageDecoder()],
        [SimpleRGBImageDecoder(), RandomHorizontalFlip()],
    ],
    ids=["crop", "all fused", "uneven rows", "resized", "whole", "whole, flipped"],
)
def test_the_bytes_are_the_same(compare, steps, workers):
    assert compare({"image": steps}, num_workers=workers) == 1


@pytest.mark.parametrize(
    ("pipelines", "options"),
    [
        ({"image": [CROP, RandomTranslate(3)]}, {}),
        ({"image": [CROP, NORMALIZE]}, {}),
        ({"image": [CROP], "view": PipelineSpec("image", CROP, [RandomTranslate(3)])}, {}),
        ({"image": [CROP]}, {"jit": False}),
    ],
    ids=["an operation follows", "numbers", "several outputs follow", "nothing is compiled"],
)
def test_what_is_read_at_once_or_is_not_bytes_stays_in_the_cache(compare, pipelines, options):
    assert compare(pipelines, **options) == 0


def test_what_counts_is_the_size_of_all_batches_on_their_way(monkeypatch, pictures):
    nbytes = 3 * 16 * 64 * 64 * 3  # one batch ahead, one at work, and one with the user
    for cache, times in [(nbytes, 0), (nbytes - 1, 1)]:
        monkeypatch.setattr(graph, "last_level_cache", lambda cache=cache: cache)
        assert load(pictures, {"image": [CROP]})[0] == times


def test_batches_begin_with_a_line_of_the_cache():
    pool = BufferPool((5, 7), np.dtype("uint8"), keep=3)
    held = [pool.take(size) for size in (5, 3, 5, 1, 5)]
    assert [batch.ctypes.data % 64 for batch in held] == [0] * 5
    places = {batch.ctypes.data for batch in held}
    del held
    assert pool.take(5).ctypes.data in places


def describe(system, processor, *levels):
    """The files in which Linux tells about a processor's caches."""
    for number, (level, size, shared) in enumerate(levels):
        folder = system / f"cpu{processor}" / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
            (folder / name).write_text(f"{text}\n")


class TestLastLevelCache:
    @pytest.fixture(autouse=True)
    def processors(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 6}, raising=False)

    def test_counts_shared_ones_once(self, tmp_path):
        private = (1, "32K", "0"), (2, "1024K", "0")
        describe(tmp_path, 0, *private, (3, "32768K", "0-3"))
        describe(tmp_path, 1, *private, (3, "32768K", "0-3"))
        describe(tmp_path, 6, *private, (3, "16384K", "4-7"))
        describe(tmp_path, 9, *private, (3, "99999K", "8-11"))  # not for this process
        assert last_level_cache(str(tmp_path)) == (32768 + 16384) << 10

    def test_of_processors_with_two_levels(self, tmp_path):
        for number in (0, 1, 6):
            describe(tmp_path, number, (2, "2048K", number), (1, "64K", number))
        assert last_level_cache(str(tmp_path)) == 3 * 2048 << 10

    def test_is_unknown_where_nothing_is_told(self, tmp_path):
        assert last_level_cache(str(tmp_path)) is None
        describe(tmp_path, 0, (3, "odd", "0"))
        assert last_level_cache(str(tmp_path)) is None

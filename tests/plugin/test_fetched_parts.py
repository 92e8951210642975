"""Of storage that takes parts, what decoders leave out is not fetched."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import pytest
from image_reference import picture
from jpeg_samples import jpeg

from ffcv.errors import CompilationError
from ffcv.fields import BytesField, IntField, RGBImageField
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline import ASSIST, WHOLE, PipelineSpec, SampleDecoder, State, kernel
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip
from ffcv.writer import DatasetWriter
from ffcv_plugins.images.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
)

STORAGE = """
import threading

import numpy as np
from ffcv.storage import Source

class Far(Source):
    takes_parts = True
    fetched = []

    def __init__(self, path):
        super().__init__(path)
        self._bytes = np.fromfile(path, np.uint8)
        self.num_bytes = len(self._bytes)

    def read_into(self, offset, buffer):
        if offset + len(buffer) > self.num_bytes:
            raise self.truncated(offset + len(buffer))
        buffer[:] = self._bytes[offset : offset + len(buffer)]

    def fetch(self, ranges, memory):
        ranges = list(ranges)
        self.fetched.extend(ranges)
        super().fetch(ranges, memory)

@hookimpl
def ffcv_storages():
    return [Contribution("Far", Kind.STORAGE, "far_plugin:Far", "far away", opens=(".far",))]
"""


@pytest.fixture
def write(site, tmp_path):
    """``write(fields, samples)``: the path of a file, and that of the same far away."""

    def make(fields, samples):
        site.plugin("far", STORAGE)
        site.use()
        sys.modules.pop("far_plugin", None)
        near, far = tmp_path / "x.beton", tmp_path / "x.far"
        DatasetWriter(near, fields, num_workers=0).from_indexed_dataset(samples)
        far.write_bytes(near.read_bytes())
        return near, far

    return make


def fetched_nbytes(loader):
    """How many bytes of regions were fetched of what is far away; blocks of tables are as well."""
    regions = np.sort(
        loader._graph.byte_ranges(np.arange(loader.reader.num_samples)), order="offset"
    )
    begins, ends = regions["offset"], regions["offset"] + regions["nbytes"]
    fetched = getattr(getattr(loader.reader.file.opened, "source", None), "fetched", [])
    return sum(
        size
        for offset, size in fetched
        if begins[0] <= offset < ends[np.searchsorted(begins, offset, side="right") - 1]
    )


def batches(path, pipelines, epochs=2, **options):
    """All bytes of some epochs, and how many were fetched of what is far away."""
    options = {
        "num_workers": 2,
        "order": OrderOption.RANDOM,
        "seed": 5,
        "drop_last": False,
    } | options
    with Loader(path, 7, pipelines=pipelines, **options) as loader:
        made = [
            [np.asarray(output).tobytes() for output in batch]
            for _ in range(epochs)
            for batch in loader
        ]
        return made, fetched_nbytes(loader), loader.explain()


def photographs():
    """JPEGs of all kinds, those among them that only a library decodes."""
    kinds = [{"subsampling": "4:2:0"}, {"subsampling": "4:4:4"}, {"progressive": True}]
    return [
        (jpeg(picture(200 + 10 * n, 330 - 5 * n, n), **kinds[0 if n % 5 else n // 5 % 3]), n)
        for n in range(30)
    ]


IMAGES = {"image": RGBImageField("keep"), "label": IntField()}


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_crops_are_those_of_a_local_file(write, mode):
    near, far = write(IMAGES, photographs())
    crop = RandomResizedCropRGBImageDecoder(64, (0.08, 0.3), mode=mode)
    fused = [crop, RandomHorizontalFlip(), NormalizeImage([1, 2, 3], [4, 5, 6], np.float32)]
    pipelines = {"image": fused, "label": None}
    expected, _, plan = batches(near, pipelines)
    assert "parts" not in plan
    got, fetched, plan = batches(far, pipelines)
    assert got == expected
    assert "only the parts that are needed, which no checksum covers" in plan
    whole = 2 * sum(len(image) for image, _ in photographs())
    assert 0.2 * whole < fetched < 0.8 * whole


def test_two_outputs_of_one_image_have_what_both_need(write):
    near, far = write(IMAGES, photographs())
    crop = RandomResizedCropRGBImageDecoder(64, (0.08, 0.3))
    views = [
        PipelineSpec(crop, transforms=[RandomHorizontalFlip()]),
        PipelineSpec("image", CenterCropRGBImageDecoder(32, 0.3)),
    ]
    for view in views:
        pipelines = {"image": [crop], "label": None, "view": view}
        assert batches(far, pipelines)[0] == batches(near, pipelines)[0]


def test_shards_take_parts_if_their_storage_does(write):
    near, far = write(IMAGES, photographs())
    near_too, far_too = (path.with_stem("y") for path in (near, far))
    near_too.write_bytes(near.read_bytes())
    far_too.write_bytes(near.read_bytes())
    crop = RandomResizedCropRGBImageDecoder(64, (0.08, 0.3))
    pipelines = {"image": [crop], "label": None}
    expected, _, _ = batches([near, near_too], pipelines)
    whole = 6 * sum(len(image) for image, _ in photographs())  # two epochs of three far shards
    for mixture in ([far, far_too], [near, far_too]):
        got, _, plan = batches(mixture, pipelines)
        assert got == expected
        assert "only the parts that are needed" in plan
    fetched = sum(size for _, size in sys.modules["far_plugin"].Far.fetched)
    assert 0.2 * whole < fetched < 0.8 * whole


def test_without_compiling_all_is_read(write):
    near, far = write(IMAGES, photographs()[:12])
    pipelines = {"image": [CenterCropRGBImageDecoder(32, 0.3)], "label": None}
    expected, _, _ = batches(near, pipelines, 1, jit=False)
    got, fetched, plan = batches(far, pipelines, 1, jit=False)
    assert got == expected
    assert fetched == sum(len(image) for image, _ in photographs()[:12])
    assert "parts" not in plan


class NumberParams(NamedTuple):
    first: int
    claims: int


@kernel
def first_bytes(record, data, destination, params, key, index, workspace):
    """The first bytes, or, in every third sample, what ``assist`` has made of all of them."""
    if index % 3 == 0:
        if workspace.total[0] < 0:
            return ASSIST
        destination[0], workspace.total[0] = workspace.total[0], -1
        return 0
    destination[0] = 0
    for i in range(params.first):
        destination[0] += data[i]
    return 0


@kernel
def first_parts(record, nbytes, ranges, params, key, index):
    if params.claims == 0:
        ranges[0, 0], ranges[0, 1] = 0, params.first
        return 1
    if params.claims == 1:
        return WHOLE
    if params.claims == 2:
        ranges[0, 0], ranges[0, 1] = 0, nbytes + 1
        return 1
    if params.claims == 3:
        ranges[0, 0], ranges[0, 1] = -1, 2
        return 1
    return 9


class Workspace(NamedTuple):
    total: np.ndarray


class FirstBytes(SampleDecoder):
    fields = ("BytesField",)
    kernel = staticmethod(first_bytes)
    parts = staticmethod(first_parts)
    with_index = True

    def __init__(self, claims=0):
        self.claims = claims

    def declare(self, stored):
        return State(True, "cpu", (1,), np.dtype(np.int64))

    def params(self):
        return NumberParams(4, self.claims)

    def workspace(self):
        return Workspace(np.full(1, -1))

    def assist(self, record, data, workspace):
        workspace.total[0] = data.astype(int).sum()


BLOBS = [(np.full(100 + 50 * n, n + 1, np.uint8),) for n in range(30)]


def test_assistance_gets_all_of_a_region(write):
    _, far = write({"blob": BytesField()}, BLOBS)
    with Loader(far, 30, pipelines={"blob": [FirstBytes()]}, num_workers=1) as loader:
        ((totals,),) = [[np.array(output) for output in batch] for batch in loader]
        fetched = fetched_nbytes(loader)
    values = [int(b.sum()) if n % 3 == 0 else int(b[:4].sum()) for n, (b,) in enumerate(BLOBS)]
    assert totals[:, 0].tolist() == values
    assisted = sum(b.size for n, (b,) in enumerate(BLOBS) if n % 3 == 0)
    assert fetched == 4 * len(BLOBS) + assisted


@pytest.mark.parametrize("claims", [1, 2, 3, 4])
def test_what_is_no_part_counts_as_the_whole(write, claims):
    _, far = write({"blob": BytesField()}, BLOBS)
    with Loader(far, 6, pipelines={"blob": [FirstBytes(claims)]}, num_workers=1) as loader:
        (program,) = [node.program for node in loader._graph.nodes]
        ranges = program.begin_epoch(0, 0).byte_ranges(np.array([3, 7]))
        assert ranges.dtype == BYTE_RANGE
        assert ranges["nbytes"].tolist() == [BLOBS[3][0].size, BLOBS[7][0].size]
        assert ranges.tolist() == program.byte_ranges(np.array([3, 7])).tolist()


@kernel
def takes_too_few(record, nbytes, ranges):
    return WHOLE


@kernel
def returns_nothing(record, nbytes, ranges, params, key, index):
    ranges[0, 0] = 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (takes_too_few, "parts: its kernel takes 3 arguments .* but is called with 6"),
        (returns_nothing, "parts: it must return how many parts it has written, or WHOLE"),
    ],
)
def test_slips_are_told(write, function, words):
    class Slip(FirstBytes):
        parts = staticmethod(function)

    _, far = write({"blob": BytesField()}, BLOBS)
    with (
        Loader(far, 6, pipelines={"blob": [Slip()]}, num_workers=1) as loader,
        pytest.raises(CompilationError, match=rf"step 1 \(Slip\), {words}"),
    ):
        next(iter(loader))

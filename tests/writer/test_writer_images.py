"""Images in files, as readers of version 2 see them."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.fields import IntField, RGBImageField
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def write(path, fields, dataset, workers=0):
    DatasetWriter(path, fields, num_workers=workers).from_indexed_dataset(dataset)
    return PlainFile(path, [field.metadata_type for field in fields.values()])


def images():
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, (24, 2))
    return [(rng.integers(0, 256, (h, w, 3), np.uint8), i) for i, (h, w) in enumerate(sizes)]


def test_raw_images(path):
    parsed = write(path, {"image": RGBImageField(write_mode="raw"), "label": IntField()}, images())
    assert [kind for kind, _, _ in parsed.fields] == [2, 1]
    for record, (image, label) in zip(parsed.records, images(), strict=True):
        kind, width, height, pointer = record["f0"].tolist()
        assert (kind, height, width) == (1, *image.shape[:2])
        assert parsed.region(pointer) == image.tobytes()
        assert record["f1"] == label


@pytest.mark.parametrize("mode", ["jpg", "proportion"])
def test_images_do_not_depend_on_workers(path, mode):
    written = set()
    for workers in (0, 0, 1, 3):
        write(path, {"image": RGBImageField(write_mode=mode), "n": IntField()}, images(), workers)
        written.add(path.read_bytes())
    assert len(written) == 1

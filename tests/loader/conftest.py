"""Files that the loader's tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from loader_support import NUM_SAMPLES, sample_of

from ffcv.fields import IntField, NDArrayField, RGBImageField
from ffcv.writer import DatasetWriter


@pytest.fixture(scope="session")
def numbers(tmp_path_factory) -> Path:
    """100 samples of one int field ``n``, each its position."""
    path = tmp_path_factory.mktemp("loader") / "numbers.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset(range(NUM_SAMPLES))
    return path


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> Path:
    """100 samples of an image (about half JPEG), an array and a label."""
    path = tmp_path_factory.mktemp("loader") / "mixed.beton"
    fields = {
        "image": RGBImageField("proportion", jpeg_quality=90),
        "array": NDArrayField(np.dtype("float32"), (2, 3)),
        "label": IntField(),
    }
    samples = [sample_of(i) for i in range(NUM_SAMPLES)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path

"""The memory that a loader predicts is the memory that it takes."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ffcv.fields import RGBImageField
from ffcv.writer import DatasetWriter

PROBE = """
import resource, sys
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader

def run(batch_size, epochs):
    pipelines = {"image": [RandomResizedCropRGBImageDecoder((224, 224))]}
    with Loader(sys.argv[1], batch_size, num_workers=2, pipelines=pipelines, drop_last=False) as l:
        for _ in range(epochs):
            for _ in l:
                pass
        return l.memory.total

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

run(1, 1)                       # compiles, and touches the file and the decoder's memory
before = peak()
predicted = run(int(sys.argv[2]), 3)
print(predicted, peak() - before)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """256 JPEG images of 400 × 300."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, (256, 30, 40, 3), np.uint8)
    images = [np.repeat(np.repeat(image, 10, 0), 10, 1) for image in low]
    path = tmp_path_factory.mktemp("budget") / "photographs.beton"
    writer = DatasetWriter(path, {"image": RGBImageField("jpg")}, num_workers=0)
    writer.from_indexed_dataset([(image,) for image in images])
    return path


@pytest.mark.parametrize("batch_size", [32, 128])
def test_peak_memory_stays_within_the_prediction(photographs, batch_size):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROBE), str(photographs), str(batch_size)],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    predicted, taken = map(int, done.stdout.split())
    slack = 24_000_000  # the allocator's and the codec's own
    assert taken < predicted + slack
    # One batch of scratch more, as scratch per sample would need, would not fit.
    assert predicted < (5 * batch_size + 16) * 224 * 224 * 3 + 2 * 3_000_000

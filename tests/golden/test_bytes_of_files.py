"""Files that releases of ffcv wrote: written again they are the same, and they can be read."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from ffcv.beton.verify import verify
from ffcv.fields.decoders import CenterCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv_plugins.images.functions import decode_image
from tests.golden import make_file

FILES = sorted(make_file.FOLDER.glob("*.beton.xz"))


def test_this_version_has_written_one() -> None:
    assert make_file.NAME in [path.name for path in FILES]


def test_it_is_written_as_it_was() -> None:
    made, kept = make_file.made(), lzma.decompress((make_file.FOLDER / make_file.NAME).read_bytes())
    differing = np.flatnonzero(
        np.frombuffer(made, np.uint8)[: len(kept)] != np.frombuffer(kept, np.uint8)[: len(made)]
    )
    assert (len(made), differing[:8].tolist()) == (len(kept), [])


@pytest.fixture(params=FILES, ids=lambda path: path.name.removesuffix(".beton.xz"))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    unpacked = tmp_path / "golden.beton"
    unpacked.write_bytes(lzma.decompress(request.param.read_bytes()))
    return unpacked


def test_nothing_is_wrong_with_it(path: Path) -> None:
    report = verify(path)
    assert report.has_checksums
    assert not report.damages


def test_what_it_says_is_read(path: Path) -> None:
    with Reader(path) as reader:
        said = reader.file.extension
    assert said.metadata == make_file.METADATA
    assert said.fields[0].class_names == tuple(make_file.CLASS_NAMES)
    assert "jpeg_rows.photograph" in said.sections


def test_its_samples_are_read(path: Path) -> None:
    crop = CenterCropRGBImageDecoder((16, 16), ratio=1.0)
    pipelines = {"photograph": [crop]}
    with Loader(path, 1, num_workers=1, jit=False, pipelines=pipelines) as loader:
        seen = [[np.asarray(values)[0] for values in batch] for batch in loader]
    assert len(seen) == make_file.NUM_SAMPLES
    for sample, read in zip(make_file.samples(), seen, strict=True):
        label, number, blob, array, about, stream, pixels = sample
        assert (read[0].item(), read[1].item()) == (label, number)
        assert read[2].tobytes().rstrip(b"\0") == blob.rstrip(b"\0")
        np.testing.assert_array_equal(read[3], array)
        assert json.loads(read[4].tobytes().rstrip(b"\0")) == about
        image = decode_image(stream)
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        square = decode_image(stream, (top, left, side, side), (16, 16))
        np.testing.assert_array_equal(read[5], square)
        np.testing.assert_array_equal(read[6], pixels)

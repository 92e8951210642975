"""The codec keeps to what decoders expect, and files made with it are read like others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qoi
from ffcv_qoi.codec import QoiCodec
from numpy.typing import NDArray

from ffcv.beton.verify import verify
from ffcv.fields import ImageField, RGBImageField
from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader
from ffcv.testing import decode
from ffcv.testing.conformance import PluginConformance
from ffcv.writer import DatasetWriter
from ffcv_plugins.images import decode_image
from ffcv_plugins.images.conformance import CodecConformance


class TestQoi(CodecConformance):
    """As a codec."""

    codec = QoiCodec


class TestPlugin(PluginConformance):
    """As a plugin."""

    plugin = "ffcv-qoi"


def _image(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 3, columns * 2, rows + columns], -1).astype(np.uint8)


IMAGES = [_image(*size) for size in ((60, 70), (70, 60), (64, 64))]


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    "decoder",
    [
        RandomResizedCropRGBImageDecoder((24, 31)),
        RandomResizedCropRGBImageDecoder((24, 31), mode="fast"),
        CenterCropRGBImageDecoder((33, 33), 0.9),
    ],
)
def test_decoders_give_what_raw_images_give(decoder: Any, jit: bool) -> None:
    got = decode(ImageField("qoi"), IMAGES, decoder, jit=jit)
    np.testing.assert_array_equal(got, decode(RGBImageField(), IMAGES, decoder, jit=jit))


@pytest.mark.parametrize("jit", [True, False])
def test_a_file_is_written_and_loaded(jit: bool, tmp_path: Path) -> None:
    path = tmp_path / "images.beton"
    samples = [(IMAGES[0],), (qoi.encode(IMAGES[0]),)] * 3
    writer = DatasetWriter(path, {"image": ImageField("qoi")}, num_workers=0)
    writer.from_indexed_dataset(samples)
    pipelines = {"image": [SimpleRGBImageDecoder()]}
    with Loader(path, 4, 1, pipelines=pipelines, drop_last=False, jit=jit) as loader:
        assert ("qoi: qoi, compiled; whole images" in loader.explain()) == jit
        for (batch,) in loader:
            np.testing.assert_array_equal(batch, np.stack([IMAGES[0]] * len(batch)))
    assert verify(path).ok


def test_alpha_is_dropped() -> None:
    image = np.dstack([IMAGES[0], np.arange(70, dtype=np.uint8)[None].repeat(60, 0)])
    stream = qoi.encode(image)
    np.testing.assert_array_equal(decode_image(stream), IMAGES[0])
    part = decode_image(stream, region=(40, 11, 7, 9))
    np.testing.assert_array_equal(part, IMAGES[0][40:47, 11:20])
    np.testing.assert_array_equal(decode(ImageField("qoi"), [stream])[0], IMAGES[0])

"""What a decoder does in the place of other operations has the very same result."""

from __future__ import annotations

import numpy as np
import pytest
from image_reference import picture

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader
from ffcv.pipeline import program
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomHorizontalFlip,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter

MEAN, STD = [120.0, 110.5, 99.0], [60.0, 55.5, 51.0]


def crop(**arguments):
    return RandomResizedCropRGBImageDecoder((21, 35), **arguments)


def area():
    return RandomResizedCropRGBImageDecoder((48, 16), interpolation="area")


def normalize(dtype, mean=MEAN, std=STD):
    return NormalizeImage(mean, std, dtype)


def planar():
    return ToTorchImage(channels_last=False)


COMBINATIONS = {
    "flip, bytes": lambda: [crop(), RandomHorizontalFlip(), planar()],
    "all turns": lambda: [
        area(),
        RandomHorizontalFlip(),
        Cutout(9, (3, 200, 17)),
        normalize(np.float16),
        planar(),
    ],
    "pixel by pixel": lambda: [area(), Cutout(5, 77), normalize(np.float16)],
    "float32": lambda: [crop(), RandomHorizontalFlip(1.0), normalize(np.float32, 127.5, 127.5)],
    "some apart": lambda: [
        CenterCropRGBImageDecoder((32, 32), 0.8),
        RandomHorizontalFlip(),
        RandomBrightness(0.5, 0.5),
        Cutout(5, 77),
        normalize(np.float16),
        planar(),
    ],
    "dtype that no decoder writes": lambda: [crop(), Cutout(9), normalize(np.float64), planar()],
    "whole images": lambda: [
        SimpleRGBImageDecoder(),
        RandomHorizontalFlip(),
        normalize(np.float32),
    ],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Ten images of one size, half of them JPEG."""
    path = tmp_path_factory.mktemp("folding") / "images.beton"
    fields = {"image": RGBImageField("proportion", jpeg_quality=95), "label": IntField()}
    samples = [(picture(60, 50, seed), seed) for seed in range(10)]
    DatasetWriter(str(path), fields, num_workers=0).from_indexed_dataset(samples)
    return str(path)


def batches(path, steps, jit=True):
    """All images, and the plan."""
    options = {"num_workers": 1, "seed": 1, "drop_last": False, "jit": jit}
    with Loader(path, 4, pipelines={"image": steps, "label": None}, **options) as loader:
        found = [np.array(images) for (images,) in loader]
        return np.concatenate(found), loader.explain()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_folded_and_separate_operations_agree(path, name):
    folded, plan = batches(path, COMBINATIONS[name]())
    apart, plan_apart = batches(path, COMBINATIONS[name](), jit=False)
    assert "by the decoder" in plan
    assert "by the decoder" not in plan_apart
    assert folded.dtype == apart.dtype
    np.testing.assert_array_equal(folded.view(np.uint8), apart.view(np.uint8))


def test_in_fast_mode_they_agree_as_well(path, monkeypatch):
    """That mode exists in compiled code only."""
    steps = [crop(mode="fast"), RandomHorizontalFlip(), Cutout(9), planar()]
    folded, _ = batches(path, steps)
    monkeypatch.setattr(program, "fold", lambda stage: stage)
    apart, plan = batches(path, steps)
    assert "by the decoder" not in plan
    np.testing.assert_array_equal(folded, apart)


def test_the_plan_says_what_the_decoder_does(path):
    steps = [
        RandomResizedCropRGBImageDecoder((21, 35)),
        RandomHorizontalFlip(),
        Cutout(4),
        NormalizeImage(MEAN, STD, np.float16),
        ToTorchImage(channels_last=False),
    ]
    _, plan = batches(path, steps)
    assert plan.count("by the decoder") == 4


def test_what_comes_too_late_is_done_apart(path):
    steps = [SimpleRGBImageDecoder(), Cutout(4), RandomHorizontalFlip(), Cutout(6)]
    images, plan = batches(path, steps)
    assert plan.count("by the decoder") == 1
    assert images.shape == (10, 60, 50, 3)

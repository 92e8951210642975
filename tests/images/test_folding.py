"""What a decoder does in the place of other operations has the very same result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
DECODERS = {
    "random": lambda: RandomResizedCropRGBImageDecoder((21, 35)),
    "fast": lambda: RandomResizedCropRGBImageDecoder((21, 35), mode="fast"),
    "area": lambda: RandomResizedCropRGBImageDecoder((48, 16), interpolation="area"),
    "center": lambda: CenterCropRGBImageDecoder((32, 32), 0.8),
    "whole": SimpleRGBImageDecoder,
}
STEPS = {
    "flip": RandomHorizontalFlip,
    "always": lambda: RandomHorizontalFlip(1.0),
    "cutout": lambda: Cutout(9, (3, 200, 17)),
    "grey cutout": lambda: Cutout(5, 77),
    "brightness": lambda: RandomBrightness(0.5, 0.5),
}
ENDS = {
    "bytes": list,
    "float16": lambda: [NormalizeImage(MEAN, STD, np.float16)],
    "float32": lambda: [NormalizeImage(MEAN, STD, np.float32)],
    "float64": lambda: [NormalizeImage(MEAN, STD, np.float64)],
    "one mean": lambda: [NormalizeImage(127.5, 127.5, np.float32)],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Ten images of one size, half of them JPEG."""
    path = tmp_path_factory.mktemp("folding") / "images.beton"
    fields = {"image": RGBImageField("proportion", jpeg_quality=95), "label": IntField()}
    samples = [(picture(60, 50, seed), seed) for seed in range(10)]
    DatasetWriter(str(path), fields, num_workers=0).from_indexed_dataset(samples)
    return str(path)


def batches(path, steps, folded):
    """All images, as bytes."""
    original = program.fold
    if not folded:
        program.fold = lambda stage: stage
    try:
        pipelines = {"image": steps, "label": None}
        with Loader(path, 4, num_workers=1, seed=1, pipelines=pipelines, drop_last=False) as loader:
            found = [np.array(images) for (images,) in loader]
            return np.concatenate(found), loader.explain()
    finally:
        program.fold = original


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    decoder=st.sampled_from(sorted(DECODERS)),
    middle=st.lists(st.sampled_from(sorted(STEPS)), max_size=3),
    end=st.sampled_from(sorted(ENDS)),
    planar=st.booleans(),
)
def test_folded_and_separate_operations_agree(path, decoder, middle, end, planar):
    steps = [DECODERS[decoder](), *(STEPS[name]() for name in middle), *ENDS[end]()]
    if planar:
        steps.append(ToTorchImage(channels_last=False))
    folded, _ = batches(path, steps, folded=True)
    apart, _ = batches(path, steps, folded=False)
    assert folded.dtype == apart.dtype
    np.testing.assert_array_equal(folded.view(np.uint8), apart.view(np.uint8))


def test_the_plan_says_what_the_decoder_does(path):
    steps = [
        RandomResizedCropRGBImageDecoder((21, 35)),
        RandomHorizontalFlip(),
        Cutout(4),
        NormalizeImage(MEAN, STD, np.float16),
        ToTorchImage(channels_last=False),
    ]
    _, plan = batches(path, steps, folded=True)
    assert plan.count("by the decoder") == 4


def test_what_comes_too_late_is_done_apart(path):
    steps = [SimpleRGBImageDecoder(), Cutout(4), RandomHorizontalFlip(), Cutout(6)]
    images, plan = batches(path, steps, folded=True)
    assert plan.count("by the decoder") == 1
    assert images.shape == (10, 60, 50, 3)

"""What a decoder does in the place of other operations has the very same result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import jpeg

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader
from ffcv.pipeline import sample_program
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
    RandomSaturation,
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
        Cutout(9, (3.9, 200.5, 17.1)),
        normalize(np.float16),
        planar(),
    ],
    "pixel by pixel": lambda: [area(), Cutout(5, 77), normalize(np.float16)],
    "bfloat16": lambda: [crop(), RandomHorizontalFlip(), normalize(torch.bfloat16)],
    "bfloat16, all turns": lambda: [
        area(),
        RandomHorizontalFlip(),
        RandomBrightness(0.4),
        Cutout(9, (3, 200, 17)),
        normalize("bfloat16"),
        planar(),
    ],
    "constants of [0, 1]": lambda: [
        crop(),
        NormalizeImage([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], np.float16, max_value=255),
    ],
    "float32": lambda: [crop(), RandomHorizontalFlip(1.0), normalize(np.float32, 127.5, 127.5)],
    "some apart": lambda: [
        CenterCropRGBImageDecoder((32, 32), 0.8),
        RandomHorizontalFlip(),
        RandomBrightness(0.5, 0.5),
        RandomContrast(0.5, 0.5),
        RandomSaturation(0.5, 0.5),
        Cutout(5, 77),
        normalize(np.float16),
        planar(),
    ],
    "colours": lambda: [
        crop(),
        RandomHorizontalFlip(),
        RandomBrightness(0.4, 0.7),
        RandomSaturation(0.4, 0.7),
    ],
    "colours, all turns": lambda: [
        crop(),
        RandomHorizontalFlip(),
        RandomSaturation(3, 0.7),
        RandomBrightness(0.4, 0.7),
        Cutout(9, (3, 200, 17)),
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


@pytest.mark.parametrize("kind", [np.float16, torch.bfloat16, np.float32])
@pytest.mark.parametrize("jit", [True, False])
def test_constants_of_either_unit_give_the_same_bits(path, kind, jit):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    of_bytes, _ = batches(path, [crop(), NormalizeImage(mean * 255, std * 255, kind)], jit=jit)
    shares, _ = batches(path, [crop(), NormalizeImage(mean, std, kind, max_value=255)], jit=jit)
    np.testing.assert_array_equal(shares.view(np.uint8), of_bytes.view(np.uint8))


PROBABILITIES = st.sampled_from([0.0, 0.5, 1.0])
COLORS = st.builds(
    lambda kind, magnitude, p: kind(magnitude, p),
    st.sampled_from([RandomBrightness, RandomSaturation]),
    st.sampled_from([0, 0.4, 2, 1e3]),
    PROBABILITIES,
)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.just((60, 50))


@settings(max_examples=12)
@given(
    size=SIZES,
    flip=st.builds(RandomHorizontalFlip, PROBABILITIES) | st.none(),
    colors=st.lists(COLORS, min_size=1, max_size=6),
    hidden=st.booleans(),
    kind=st.sampled_from([None, np.float16, torch.bfloat16, np.float32]),
    layout=st.booleans(),
)
def test_colours_in_any_order(path, size, flip, colors, hidden, kind, layout):
    ends = [Cutout(1, (9, 8, 7))] if hidden else []
    ends += [] if kind is None else [normalize(kind)]
    ends += [planar()] if layout else []
    steps = [RandomResizedCropRGBImageDecoder(size), *([flip] if flip else []), *colors, *ends]
    folded, plan = batches(path, steps)
    apart, _ = batches(path, steps, jit=False)
    # The first four changes of colour, and with a fifth nothing behind them.
    done = len(steps) - 1 if len(colors) <= 4 else 4 + bool(flip)
    assert plan.count("by the decoder") == done
    assert folded.dtype == apart.dtype
    np.testing.assert_array_equal(folded.view(np.uint8), apart.view(np.uint8))


def test_choices_of_one_sample_do_not_reach_the_next(tmp_path):
    """Neither those of one that a library decodes, nor those of one that nothing can decode."""
    images = [jpeg(picture(60, 50, seed), progressive=seed % 2 == 0) for seed in range(12)]
    path = tmp_path / "images.beton"
    writer = DatasetWriter(str(path), {"image": RGBImageField("keep")}, num_workers=0)
    writer.from_indexed_dataset([(image,) for image in images])
    intact = path.read_bytes()
    path.write_bytes(intact.replace(images[4], bytes(len(images[4]))))
    steps = [crop(), *(RandomBrightness(0.9, 0.5) for _ in range(4))]
    options = {"seed": 1, "drop_last": False, "on_error": "skip"}
    found = []
    for jit in (True, False):
        with Loader(path, 6, 1, pipelines={"image": steps}, jit=jit, **options) as loader:
            with pytest.warns(match="left out"):
                found.append(np.concatenate([np.array(images) for (images,) in loader]))
            assert loader.skipped.samples.tolist() == [4]
    # OpenCV decodes all of them eagerly, with the same pixels.
    np.testing.assert_array_equal(*found)


def test_in_fast_mode_they_agree_as_well(path, monkeypatch):
    """That mode exists in compiled code only."""
    steps = [crop(mode="fast"), RandomHorizontalFlip(), RandomSaturation(0.5), Cutout(9), planar()]
    folded, _ = batches(path, steps)
    monkeypatch.setattr(sample_program, "fold", lambda stage, past_cache: stage)
    apart, plan = batches(path, steps)
    assert "by the decoder" not in plan
    np.testing.assert_array_equal(folded, apart)


def test_the_plan_says_what_the_decoder_does(path):
    names = {
        "RandomHorizontalFlip": RandomHorizontalFlip(),
        "RandomSaturation": RandomSaturation(0.4),
        "RandomBrightness": RandomBrightness(0.4),
        "Cutout": Cutout(4),
        "NormalizeImage": normalize(np.float16),
        "ToTorchImage": planar(),
    }
    _, plan = batches(path, [crop(), *names.values()])
    by_decoder = [line.split()[0] for line in plan.splitlines() if "by the decoder" in line]
    assert by_decoder == list(names)


def test_contrast_needs_the_whole_image_and_ends_folding(path):
    steps = [crop(), RandomBrightness(0.4), RandomContrast(0.4), RandomSaturation(0.4)]
    _, plan = batches(path, steps)
    by_decoder = [line.split()[0] for line in plan.splitlines() if "by the decoder" in line]
    assert by_decoder == ["RandomBrightness"]


def test_what_comes_too_late_is_done_apart(path):
    steps = [SimpleRGBImageDecoder(), Cutout(4), RandomHorizontalFlip(), Cutout(6)]
    images, plan = batches(path, steps)
    assert plan.count("by the decoder") == 1
    assert images.shape == (10, 60, 50, 3)

"""``NormalizeImage`` and constants of another unit than that of the pixels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from ffcv.fields import RGBImageField
from ffcv.fields.decoders import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.transforms import Convert, NormalizeImage, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PLACES = {
    "arrays": lambda normalize: [SimpleRGBImageDecoder(), normalize],
    "in the decoder": lambda normalize: [CenterCropRGBImageDecoder(4, 1), normalize, ToTensor()],
    "tensors": lambda normalize: [SimpleRGBImageDecoder(), ToTensor(), ToTorchImage(), normalize],
    "whole numbers of 16 bits": lambda normalize: [
        *(SimpleRGBImageDecoder(), Convert(np.int16), ToTensor(), normalize)
    ],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("unit") / "images.beton"
    writer = DatasetWriter(path, {"image": RGBImageField()}, num_workers=0)
    writer.from_indexed_dataset([np.full((8, 8, 3), 9, np.uint8)] * 4)
    return path


def heard(path, steps, jit=True):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with Loader(path, 2, 1, pipelines={"image": steps}, jit=jit) as loader:
            for _ in range(2):
                assert len(list(loader)) == 2
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_constants_of_pictures_in_0_to_1_are_warned_of_once(path, place, jit):
    (words,) = heard(path, PLACES[place](NormalizeImage(MEAN, STD, np.float32)), jit)
    largest = 32767 if "16" in place else 255
    for part in (f"0 to {largest}", "mean [0.485", f"give max_value={largest}"):
        assert part in words


@pytest.mark.parametrize("constants", [(0.5, 0.5), (0, 0.5), (np.ones(3), np.ones(3))])
def test_all_such_constants_are_warned_of(path, constants):
    assert len(heard(path, PLACES["arrays"](NormalizeImage(*constants, np.float32)))) == 1


@pytest.mark.parametrize(
    "steps",
    [
        PLACES["arrays"](NormalizeImage(MEAN, STD, np.float32, max_value=255)),
        PLACES["tensors"](NormalizeImage(MEAN, STD, np.float32, max_value=255)),
        PLACES["arrays"](NormalizeImage([124, 116, 104], [58, 57, 57], np.float32)),
        PLACES["arrays"](NormalizeImage(0, 1, np.float32)),
        PLACES["arrays"](NormalizeImage(0, 255, np.float32)),
        PLACES["arrays"](NormalizeImage(0.5, 255, np.float32)),
        [
            *(SimpleRGBImageDecoder(), ToTensor(), Convert(torch.float32)),
            *(lambda batch: batch / 255, NormalizeImage(MEAN, STD, np.float32)),
        ],
        [
            *(SimpleRGBImageDecoder(), ToTensor(), lambda batch: batch.float() / 255),
            NormalizeImage(MEAN, STD, np.float32),
        ],
    ],
)
def test_other_constants_are_not_warned_of(path, steps):
    assert heard(path, steps) == []

"""What augmentations refuse, and in which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ffcv.pipeline import State
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.augment.translate import RandomTranslate


def _image(*shape, dtype=np.uint8):
    return State(True, "cpu", shape, dtype)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: RandomHorizontalFlip(1.1), ValueError, "flip_prob must be a probability"),
        (lambda: RandomHorizontalFlip(-0.1), ValueError, "from 0 to 1, not -0.1"),
        (lambda: RandomHorizontalFlip(float("nan")), ValueError, "flip_prob must be finite"),
        (lambda: RandomHorizontalFlip("often"), TypeError, "flip_prob must be a number"),
        (lambda: Cutout(-1), ValueError, "crop_size must be from 0"),
        (lambda: Cutout(2.5), TypeError, "crop_size must be an integer"),
        (lambda: Cutout(2, fill=()), ValueError, "fill must hold at least one"),
        (lambda: Cutout(2, fill="red"), TypeError, "fill must be a number or a sequence"),
        (lambda: RandomTranslate(-1), ValueError, "padding must be from 0"),
        (lambda: RandomTranslate(2**40), ValueError, "padding must be from 0"),
        (lambda: RandomTranslate(2, fill=float("inf")), ValueError, "fill must be finite"),
        (lambda: NormalizeImage(0, 0, np.float32), ValueError, "std must be positive"),
        (lambda: NormalizeImage(0, [1, -1], np.float32), ValueError, "std must be positive"),
        (lambda: NormalizeImage([1, 2], [1, 2, 3], "f4"), ValueError, "mean has 2.*std has 3"),
        (lambda: NormalizeImage(None, 1, np.float32), TypeError, "mean must be a number"),
        (lambda: NormalizeImage(0, 1, np.uint8), ValueError, "type must be one of"),
        (lambda: NormalizeImage(0, 1, torch.bfloat16), TypeError, "no equivalent of torch.bfloat"),
        (lambda: NormalizeImage(0, 1, "rubbish"), TypeError, "expected a NumPy or torch dtype"),
    ],
)
def test_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("operation", "state", "words"),
    [
        (Cutout(9), _image(8, 20, 3), r"9 × 9 pixels does not fit into an image of 8 × 20"),
        (Cutout(2, (1, 2, 3)), _image(8, 8, 4), "3 values, but the image has 4 channels"),
        (Cutout(2, (1, 2, 3)), _image(8, 8), "3 values, but the image has 1 channels"),
        (Cutout(2, 256), _image(8, 8), "uint8 cannot hold the fill 256"),
        (Cutout(2, 0.5), _image(8, 8), "uint8 cannot hold the fill 0.5"),
        (Cutout(2, 1e300), _image(8, 8, dtype=np.float32), "float32 cannot hold the fill"),
        (RandomTranslate(2, -1), _image(8, 8, 3), "uint8 cannot hold the fill -1"),
        (RandomTranslate(2, (1, 2)), _image(8, 8, 3), "2 values, but the image has 3"),
        (RandomTranslate(2, 1), _image(8, 8, dtype=np.float16), "float16 images with 0 only"),
        (NormalizeImage([1, 2], 1, "f4"), _image(8, 8, 3), "2 values, but the image has 3"),
        (NormalizeImage(0, 1, "f2"), _image(8, 8, 3, dtype=np.uint16), "float16 of uint8 images"),
        (NormalizeImage(0, 1, "f4"), _image(8, 8, 3, dtype=np.int8), "uint8 or wider"),
        (RandomHorizontalFlip(), _image(8, 8, 3, 2), r"shape \(height, width, channels\)"),
        (RandomHorizontalFlip(), _image(8, 0, 3), r"shape \(height, width, channels\)"),
        (
            RandomHorizontalFlip(),
            State(False, "cpu", (8, 8, 3), torch.uint8),
            r"gets a tensor 8×8×3 uint8; put it before ToTensor\(\)",
        ),
    ],
)
def test_inputs(operation, state, words):
    with pytest.raises(ValueError, match=words) as caught:
        operation.declare(state)
    assert type(operation).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "change", "words"),
    [
        (RandomHorizontalFlip(), {"flip_prob": 2}, "flip_prob must be a probability"),
        (Cutout(2), {"crop_size": -2}, "crop_size must be from 0"),
        (RandomTranslate(2), {"padding": -2}, "padding must be from 0"),
        (NormalizeImage(0, 1, np.float32), {"std": 0}, "std must be positive"),
    ],
)
def test_arguments_that_were_changed_are_checked_again(operation, change, words):
    vars(operation).update(change)
    with pytest.raises(ValueError, match=words):
        operation.params()

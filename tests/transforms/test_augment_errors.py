"""What augmentations refuse, and in which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ffcv.pipeline import State, bfloat16
from ffcv.testing import apply
from ffcv_plugins.augment.color_jitter import RandomBrightness, RandomContrast, RandomSaturation
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.mixup import ImageMixup, LabelMixup, MixupToOneHot
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.augment.poisoning import Poison, ReplaceLabel
from ffcv_plugins.augment.random_resized_crop import RandomResizedCrop
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
        (lambda: Cutout(-1), ValueError, "crop_size: expected 0 to"),
        (lambda: Cutout(2.5), TypeError, "crop_size: expected a whole number, got float 2.5"),
        (lambda: Cutout(2, fill=()), ValueError, "fill must hold at least one"),
        (lambda: Cutout(2, fill="red"), TypeError, "fill must be a number or a sequence"),
        (lambda: RandomTranslate(-1), ValueError, "padding: expected 0 to"),
        (lambda: RandomTranslate(2**40), ValueError, "padding: expected 0 to"),
        (lambda: RandomTranslate(2, fill=float("inf")), ValueError, "fill must be finite"),
        (lambda: NormalizeImage(0, 0, np.float32), ValueError, "std must be positive"),
        (lambda: NormalizeImage(0, [1, -1], np.float32), ValueError, "std must be positive"),
        (lambda: NormalizeImage([1, 2], [1, 2, 3], "f4"), ValueError, "mean has 2.*std has 3"),
        (lambda: NormalizeImage(None, 1, np.float32), TypeError, "mean must be a number"),
        (lambda: NormalizeImage(0, 1, "f4", max_value=0), ValueError, "max_value must be positive"),
        (
            lambda: NormalizeImage(0, 1, "f4", max_value="byte"),
            TypeError,
            "max_value must be",
        ),
        (lambda: NormalizeImage(0, 1, np.uint8), ValueError, "type must be one of"),
        (lambda: NormalizeImage(0, 1, torch.int8), ValueError, "'float16', 'bfloat16', 'float32'"),
        (lambda: NormalizeImage(0, 1, torch.float8_e5m2), TypeError, "no equivalent of torch.floa"),
        (lambda: NormalizeImage(0, 1, "rubbish"), TypeError, "expected a NumPy or torch dtype"),
        (lambda: RandomBrightness(-0.1), ValueError, "RandomBrightness: magnitude must not be neg"),
        (lambda: RandomContrast("high"), TypeError, "RandomContrast: magnitude must be a number"),
        (lambda: RandomSaturation(0.1, 2), ValueError, "RandomSaturation: p must be a probability"),
        (lambda: RandomResizedCrop((0, 1), (1, 1), 4), ValueError, "scale must be within"),
        (lambda: RandomResizedCrop((0.5, 2), (1, 1), 4), ValueError, "scale must be within"),
        (lambda: RandomResizedCrop((1, 1), (2, 1), 4), ValueError, "ratio must be .*low <= high"),
        (lambda: RandomResizedCrop((1, 1), (1, 1), 0), ValueError, "size must be from 1 to 65535"),
        (lambda: RandomResizedCrop((1, 1), (1, 1), (4, 70000)), ValueError, "from 1 to 65535"),
        (lambda: RandomResizedCrop((1, 1), (1, 1), (4, 4, 3)), ValueError, r"\(height, width\)"),
        (
            lambda: RandomResizedCrop((1, 1), (1, 1), 4.5),
            TypeError,
            "expected a whole number, got float 4.5",
        ),
        (lambda: ImageMixup(0, True), ValueError, "alpha must be above 0, .* leave ImageMixup out"),
        (lambda: LabelMixup(-1, True), ValueError, "LabelMixup: alpha must be above 0"),
        (lambda: ImageMixup("a", True), TypeError, "ImageMixup: alpha must be a number"),
        (lambda: MixupToOneHot(0), ValueError, "num_classes: expected 1 to"),
        (
            lambda: MixupToOneHot(2.5),
            TypeError,
            "num_classes: expected a whole number, got float 2.5",
        ),
        (lambda: Poison(np.zeros(3), 1, []), ValueError, r"mask must be of shape.*\(3,\)"),
        (lambda: Poison("red", 1, []), TypeError, "Poison: mask must hold numbers"),
        (lambda: Poison(0, np.nan, []), ValueError, "Poison: alpha must be finite"),
        (lambda: Poison(0, 1, [1.5]), TypeError, "indices must be integers, not float64"),
        (lambda: Poison(0, 1, [-1]), ValueError, "indices must be sample indices"),
        (lambda: Poison(0, 1, [[1]]), ValueError, r"flat sequence, not one of shape \(1, 1\)"),
        (lambda: Poison(0, 1, [1], (5, 1)), ValueError, "clamp must be .*low <= high"),
        (lambda: ReplaceLabel(["a"], 1), TypeError, "indices must be integers"),
        (lambda: ReplaceLabel([2**63], 1), ValueError, "sample indices"),
        (lambda: ReplaceLabel([1], "cat"), TypeError, "new_label must be a number"),
        (lambda: ReplaceLabel([1], 2**63), ValueError, "new_label must fit 64 bits"),
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
        (Cutout(2, 0.5), _image(8, 8), "uint8 cannot hold the fill 0.5; its values are whole: 127"),
        (RandomTranslate(2, (0.4, 0.5, 0.4)), _image(8, 8, 3), "its values are whole: 127 is what"),
        (Cutout(2, (0.5, 300)), _image(8, 8, 2), r"uint8 cannot hold the fill \(0.5, 300\)"),
        (Cutout(2, -0.5), _image(8, 8), "uint8 cannot hold the fill -0.5"),
        (Cutout(2, 1e300), _image(8, 8, dtype=np.float32), "float32 cannot hold the fill"),
        (RandomTranslate(2, -1), _image(8, 8, 3), "uint8 cannot hold the fill -1"),
        (RandomTranslate(2, (1, 2)), _image(8, 8, 3), "2 values, but the image has 3"),
        (RandomTranslate(2, 1), _image(8, 8, dtype=np.float16), "float16 images with 0 only"),
        (NormalizeImage([1, 2], 1, "f4"), _image(8, 8, 3), "2 values, but the image has 3"),
        (NormalizeImage(0, 1, "f2"), _image(8, 8, 3, dtype=np.uint16), "float16 of uint8 images"),
        (NormalizeImage(0, 1, "bfloat16"), _image(8, 8, 3, dtype=np.float32), "bfloat16 of uint8"),
        (NormalizeImage(0, 1, "f4"), _image(8, 8, 3, dtype=np.int8), "uint8 or wider"),
        (NormalizeImage(0, 1, "f4"), _image(8, 8, 3, dtype=np.float16), "that makes float16 of"),
        (NormalizeImage(0, 1, "f4"), _image(8, 8, 3, dtype=bfloat16), "that makes bfloat16 of"),
        (Cutout(2, 1), _image(8, 8, dtype=bfloat16), "bfloat16 images with 0 only"),
        (RandomTranslate(2, 1), _image(8, 8, dtype=bfloat16), "the step that makes bfloat16 of"),
        (RandomBrightness(1), _image(8, 8, 3, dtype=bfloat16), "gets an array 8×8×3 bfloat16"),
        (Poison(0, 1, []), _image(8, 8, dtype=bfloat16), "before the step that makes bfloat16"),
        (ReplaceLabel([1], 1), _image(1, dtype=bfloat16), "numbers and gets an array 1 bfloat16"),
        (RandomHorizontalFlip(), _image(8, 8, 3, 2), r"shape \(height, width, channels\)"),
        (RandomHorizontalFlip(), _image(8, 0, 3), r"shape \(height, width, channels\)"),
        (
            RandomHorizontalFlip(),
            State(False, "cpu", (8, 8, 3), torch.uint8),
            r"gets a tensor 8×8×3 uint8; put it before ToTensor\(\)",
        ),
        (
            RandomContrast(1),
            _image(8, 8, 4),
            r"\(height, width, 3\), and gets an array 8×8×4",
        ),
        (RandomSaturation(1), _image(8, 8, 3, dtype=np.int8), "uint8 of shape"),
        (RandomBrightness(1), _image(8, 8), "RGB images"),
        (RandomResizedCrop((1, 1), (1, 1), 4), _image(8, 8, 1), "RandomResizedCrop works on RGB"),
        (Poison(np.zeros((8, 8)), 1, []), _image(8, 9, 3), r"mask is of shape \(8, 8\)"),
        (Poison(0, np.zeros((8, 8, 4)), []), _image(8, 8, 3), r"alpha is of shape \(8, 8, 4\)"),
        (Poison(0, np.zeros((8, 8, 1)), []), _image(8, 8), r"alpha is of shape \(8, 8, 1\)"),
        (Poison(0, 1, [], (300, 400)), _image(8, 8), "uint8 cannot hold the values of clamp"),
        (Poison(0, 1, []), _image(8, 8, dtype=np.int64), "8, 16 or 32 bits"),
        (Poison(0, 1, []), _image(8, 8, dtype=np.float16), "before the step that makes float16"),
        (ReplaceLabel([1], 300), _image(1), "ReplaceLabel: labels of uint8 cannot hold 300"),
        (ReplaceLabel([1], 0.5), _image(1, dtype=np.int64), "labels of int64 cannot hold 0.5"),
        (ReplaceLabel([1], 1), _image(1, dtype=np.float16), "ReplaceLabel works on integers"),
        (ReplaceLabel([1], 1), _image(1, dtype="S1"), "labels that are numbers"),
    ],
)
def test_inputs(operation, state, words):
    with pytest.raises(ValueError, match=words) as caught:
        operation.declare(state)
    assert type(operation).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "state", "words"),
    [
        (ImageMixup(1, True), _image(8, 8, dtype=np.bool_), "ImageMixup works on .*8, 16 or 32"),
        (ImageMixup(1, True), _image(8, 8, dtype=np.float16), "before the step that makes float16"),
        (ImageMixup(1, True), _image(8, 8, dtype=bfloat16), "before the step that makes bfloat16"),
        (MixupToOneHot(3), _image(3, dtype=bfloat16), "gives, 3 floats.* array 3 bfloat16"),
        (ImageMixup(1, True), _image(8), r"shape \(height, width, channels\)"),
        (LabelMixup(1, True), _image(2, dtype=np.int64), r"one integer a sample, of shape \(1,\)"),
        (LabelMixup(1, True), _image(1, dtype=np.float32), "one integer a sample"),
        (LabelMixup(1, True), State(False, "cpu", (1,), torch.int64), r"before ToTensor\(\)"),
        (MixupToOneHot(3), _image(3), "what LabelMixup gives, 3 floats"),
        (MixupToOneHot(3), State(False, "cpu", (1,), torch.float32), "what LabelMixup gives"),
    ],
)
def test_inputs_of_batch_operations(operation, state, words):
    with pytest.raises(ValueError, match=words) as caught:
        operation.declare_state_and_memory(state)
    assert type(operation).__name__ in str(caught.value)


@pytest.mark.parametrize("mixed", [[[0, 3, 0.5]], [[-1, 0, 0.5]]])
def test_labels_that_are_no_classes(mixed):
    for batch in (np.array(mixed, np.float32), torch.tensor(mixed)):
        with pytest.raises(ValueError, match="label (3|-1) is none of 3 classes, which are 0 to 2"):
            apply(MixupToOneHot(3), batch)


@pytest.mark.parametrize(
    ("operation", "change", "words"),
    [
        (RandomHorizontalFlip(), {"flip_prob": 2}, "flip_prob must be a probability"),
        (Cutout(2), {"crop_size": -2}, "crop_size: expected 0 to"),
        (RandomTranslate(2), {"padding": -2}, "padding: expected 0 to"),
        (NormalizeImage(0, 1, np.float32), {"std": 0}, "std must be positive"),
        (RandomBrightness(1), {"p": -1}, "p must be a probability"),
        (RandomResizedCrop((1, 1), (1, 1), 4), {"scale": (0, 1)}, "scale must be within"),
        (ReplaceLabel([1], 1), {"indices": [-1]}, "indices must be sample indices"),
    ],
)
def test_arguments_that_were_changed_are_checked_again(operation, change, words):
    vars(operation).update(change)
    with pytest.raises(ValueError, match=words):
        operation.params()

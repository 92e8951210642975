"""A case or two for every transform of the built-in plugins: arguments, and a batch for it."""

from __future__ import annotations

import numpy as np
import torch
from transform_support import random_batch

from ffcv.pipeline import bfloat16
from ffcv.plugin import registry
from ffcv.plugin.records import Contribution, Kind

IMAGES = random_batch((4, 9, 6, 3), np.uint8)
HALVES = random_batch((4, 9, 6, 3), np.uint16).view(bfloat16)
LABELS = random_batch((4, 1), np.int64)
MIXED = np.array([[0, 4, 0.25], [1, 0, 0.5], [1, 1, 0.75], [4, 1, 1]], np.float32)
TENSORS = torch.from_numpy(random_batch((4, 9, 6, 3), np.uint8))

CASES = {
    "Convert": [
        ({"target_dtype": "float32"}, IMAGES),
        ({"target_dtype": "bfloat16"}, IMAGES),
        ({"target_dtype": "int64"}, TENSORS),
        ({"target_dtype": torch.bfloat16}, TENSORS),
    ],
    "Cutout": [({"crop_size": 4, "fill": (1, 2, 3)}, IMAGES)],
    "ImageMixup": [({"alpha": 0.5, "same_lambda": False}, IMAGES)],
    "LabelMixup": [({"alpha": 0.5, "same_lambda": False}, LABELS)],
    "MixupToOneHot": [({"num_classes": 5}, MIXED), ({"num_classes": 5}, torch.from_numpy(MIXED))],
    "ModuleWrapper": [({"module": torch.nn.ReLU()}, TENSORS.float())],
    "NormalizeImage": [
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": np.float16}, IMAGES),
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": np.float16}, TENSORS),
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": torch.bfloat16}, IMAGES),
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": torch.bfloat16}, TENSORS),
    ],
    "Poison": [({"mask": 99, "alpha": 0.5, "indices": [1, 12], "clamp": (9, 150)}, IMAGES)],
    "RandomBrightness": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomContrast": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomHorizontalFlip": [({"flip_prob": 0.5}, IMAGES), ({"flip_prob": 0.5}, HALVES)],
    "RandomResizedCrop": [({"scale": (0.1, 1), "ratio": (0.5, 2), "size": (7, 5)}, IMAGES)],
    "RandomSaturation": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomTranslate": [({"padding": 2, "fill": (1, 2, 3)}, IMAGES)],
    "ReplaceLabel": [({"indices": [3, 11], "new_label": -5}, LABELS)],
    "Squeeze": [({}, IMAGES[:, :, :1]), ({}, TENSORS[..., :1])],
    "ToDevice": [({"device": "cpu", "non_blocking": True}, TENSORS)],
    "ToTensor": [({}, IMAGES), ({}, HALVES)],
    "ToTorchImage": [({"channels_last": False, "convert_back_int16": True}, TENSORS)],
    "View": [({"target_dtype": "int8"}, IMAGES), ({"target_dtype": "int8"}, TENSORS)],
}

MIXING = {"ImageMixup", "LabelMixup"}


def own_contributions(*kinds: Kind) -> dict[str, Contribution]:
    """What our own plugins provide; others that are installed here have their own tests."""
    every = [registered.contribution for registered in registry.contributions(*kinds)]
    return {c.name: c for c in every if c.location.startswith("ffcv_plugins.")}

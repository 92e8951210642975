"""The augmentations keep to what a loader relies on."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from transform_support import (
    cutout_reference,
    flip_reference,
    normalize_reference,
    translate_reference,
)

from ffcv.pipeline import State
from ffcv.testing.conformance import OperationConformance
from ffcv.testing.strategies import batches
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.augment.translate import RandomTranslate

WRONG = [
    (State(True, "cpu", (4,), np.uint8), "shape (height, width, channels)"),
    (State(True, "cpu", (4, 4, 3), ">u2"), "integers or floats"),
    (State(True, "cpu", (4, 4, 3), "S1"), "integers or floats"),
]


class _OnImages(OperationConformance):
    max_examples = 10

    def batches(self, operation):
        sides = st.tuples(st.integers(3, 8), st.integers(3, 8), st.just(3))
        return sides.flatmap(lambda shape: batches(shape, np.uint8))

    def wrong_states(self, operation):
        return WRONG


class TestRandomHorizontalFlip(_OnImages):
    def operations(self):
        return [RandomHorizontalFlip(0.5)]

    def reference(self, operation, sample, key, index):
        return flip_reference(sample[None], operation.flip_prob, [key])[0]


class TestCutout(_OnImages):
    def operations(self):
        return st.builds(Cutout, st.integers(0, 3), st.sampled_from([0, 255, (1, 2, 3)]))

    def reference(self, operation, sample, key, index):
        return cutout_reference(sample[None], operation.crop_size, operation.fill, [key])[0]


class TestRandomTranslate(_OnImages):
    def operations(self):
        return st.builds(RandomTranslate, st.integers(0, 9), st.sampled_from([0, 255, (1, 2, 3)]))

    def reference(self, operation, sample, key, index):
        return translate_reference(sample[None], operation.padding, operation.fill, [key])[0]


class TestNormalizeImage(_OnImages):
    rtol = atol = 0

    def operations(self):
        by_channel = ([120, 110, 100.5], np.array([60, 61, 62]))
        kinds = np.float32, np.float16, "bfloat16", torch.bfloat16
        by_kind = [NormalizeImage(*by_channel, kind) for kind in kinds]
        shares = ([0.485, 0.456, 0.406], np.array([0.229, 0.224, 0.225]))
        of_unit = [NormalizeImage(*shares, kind, max_value=255) for kind in kinds]
        of_unit.append(NormalizeImage(0, 1, "bfloat16", max_value=255))
        return [*by_kind, *of_unit, NormalizeImage(0, 255, np.float64)]

    def reference(self, operation, sample, key, index):
        mean, std = (np.multiply(x, operation.max_value) for x in (operation.mean, operation.std))
        return normalize_reference(sample, mean, std, operation.type)

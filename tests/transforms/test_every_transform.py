"""What holds for every transform of the built-in plugins, one parametrised test for all.

A transform that is added and is not in ``CASES`` fails here.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transform_support import random_batch

from ffcv.pipeline import Operation, SampleOperation
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.testing import apply
from ffcv.testing.harness import state_of

IMAGES = random_batch((4, 9, 6, 3), np.uint8)
LABELS = random_batch((4, 1), np.int64)
MIXED = np.array([[0, 4, 0.25], [1, 0, 0.5], [1, 1, 0.75], [4, 1, 1]], np.float32)
TENSORS = torch.from_numpy(random_batch((4, 9, 6, 3), np.uint8))

CASES = {
    "Convert": [({"target_dtype": "float32"}, IMAGES), ({"target_dtype": "int64"}, TENSORS)],
    "Cutout": [({"crop_size": 4, "fill": (1, 2, 3)}, IMAGES)],
    "ImageMixup": [({"alpha": 0.5, "same_lambda": False}, IMAGES)],
    "LabelMixup": [({"alpha": 0.5, "same_lambda": False}, LABELS)],
    "MixupToOneHot": [({"num_classes": 5}, MIXED), ({"num_classes": 5}, torch.from_numpy(MIXED))],
    "ModuleWrapper": [({"module": torch.nn.ReLU()}, TENSORS.float())],
    "NormalizeImage": [
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": np.float16}, IMAGES),
        ({"mean": (1, 2, 3), "std": (4, 5, 6), "type": np.float16}, TENSORS),
    ],
    "Poison": [({"mask": 99, "alpha": 0.5, "indices": [1, 12], "clamp": (9, 150)}, IMAGES)],
    "RandomBrightness": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomContrast": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomHorizontalFlip": [({"flip_prob": 0.5}, IMAGES)],
    "RandomResizedCrop": [({"scale": (0.1, 1), "ratio": (0.5, 2), "size": (7, 5)}, IMAGES)],
    "RandomSaturation": [({"magnitude": 0.5, "p": 0.9}, IMAGES)],
    "RandomTranslate": [({"padding": 2, "fill": (1, 2, 3)}, IMAGES)],
    "ReplaceLabel": [({"indices": [3, 11], "new_label": -5}, LABELS)],
    "Squeeze": [({}, IMAGES[:, :, :1]), ({}, TENSORS[..., :1])],
    "ToDevice": [({"device": "cpu", "non_blocking": True}, TENSORS)],
    "ToTensor": [({}, IMAGES)],
    "ToTorchImage": [({"channels_last": False, "convert_back_int16": True}, TENSORS)],
    "View": [({"target_dtype": "int8"}, IMAGES), ({"target_dtype": "int8"}, TENSORS)],
}

MIXING = {"ImageMixup", "LabelMixup"}


def _contributions():
    """The transforms of our own plugins; others that are installed here have their own tests."""
    every = [registered.contribution for registered in registry.contributions(Kind.TRANSFORM)]
    return {c.name: c for c in every if c.location.startswith("ffcv_plugins.")}


CONTRIBUTIONS = _contributions()
EVERY = pytest.mark.parametrize("name", sorted(CONTRIBUTIONS))


def _class_of(name):
    return registry.lookup(name, Kind.TRANSFORM)


def _apply(operation, batch, ids, jit):
    declared = copy.copy(operation)
    if isinstance(operation, SampleOperation) and isinstance(batch, np.ndarray):
        state = declared.declare(state_of(batch))
    else:
        state, _ = declared.declare_state_and_memory(state_of(batch))
    result = apply(operation, batch, ids=ids, seed=7, jit=jit)
    assert isinstance(result, np.ndarray) != state.is_tensor
    assert tuple(result.shape) == (len(batch), *state.shape)
    assert result.dtype == state.dtype
    return result


def _as_array(batch):
    return batch if isinstance(batch, np.ndarray) else batch.numpy()


def test_every_transform_has_a_case():
    assert set(CONTRIBUTIONS) == set(CASES)


@EVERY
def test_it_describes_itself(name):
    operation = _class_of(name)
    assert operation.__name__ == name
    assert issubclass(operation, Operation | SampleOperation)
    assert operation.__doc__
    assert CONTRIBUTIONS[name].summary
    in_torch = operation.__module__.startswith("ffcv_plugins.torch")
    assert CONTRIBUTIONS[name].requires == ("torch" if in_torch else None)
    assert CONTRIBUTIONS[name].appended_by_default == (name == "ToTensor")


@EVERY
def test_it_keeps_its_arguments_as_attributes(name):
    for arguments, _ in CASES[name]:
        operation = _class_of(name)(**arguments)
        for argument, value in arguments.items():
            kept = getattr(operation, argument)
            assert kept is value or kept == value or str(kept) == value


@EVERY
def test_samples_come_out_the_same_in_batches_of_any_size(name):
    for arguments, batch in CASES[name]:
        operation = _class_of(name)(**arguments)
        ids = np.arange(10, 10 + len(batch))
        whole = _as_array(_apply(operation, batch, ids, jit=True))
        # The first sample is mixed with the last one, which is another in a smaller batch.
        first = 1 if name in MIXING else 0
        for size in (1, len(batch) - 1):
            part = _as_array(_apply(operation, batch[:size], ids[:size], jit=True))
            np.testing.assert_array_equal(part[first:], whole[first:size], strict=True)


@EVERY
def test_compiled_and_eager_results_are_equal(name):
    for arguments, batch in CASES[name]:
        operation = _class_of(name)(**arguments)
        ids = np.arange(len(batch))
        eager, compiled = (_apply(operation, batch, ids, jit) for jit in (False, True))
        np.testing.assert_array_equal(_as_array(eager), _as_array(compiled), strict=True)

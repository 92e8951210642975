"""Poison and ReplaceLabel against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_support import image_batches, poison_reference, random_batch

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline import State
from ffcv.testing import apply
from ffcv.testing.conformance import OperationConformance
from ffcv.testing.strategies import batches
from ffcv.writer import DatasetWriter
from ffcv_plugins.augment.poisoning import Poison, ReplaceLabel

BOTH = pytest.mark.parametrize("jit", [True, False], ids=["compiled", "eager"])
CHOSEN = [0, 1, 2, 5, 2**40]


def _layers(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-50, 300, shape), rng.random(shape[:2])


class TestPoison(OperationConformance):
    max_examples = 8

    def operations(self):
        mask, alpha = _layers((5, 7, 3))
        return [Poison(mask, alpha, CHOSEN), Poison(mask, 0.5, CHOSEN, (10, 200))]

    def batches(self, operation):
        return batches((5, 7, 3), np.uint8)

    def reference(self, operation, sample, key, index):
        if index not in operation.indices:
            return sample
        alpha = np.asarray(operation.alpha)
        alpha = alpha[..., None] if alpha.ndim else alpha
        return poison_reference(sample, operation.mask, alpha, operation.clamp)

    def wrong_states(self, operation):
        return [
            (State(True, "cpu", (5, 8, 3), np.uint8), "mask is of shape (5, 7, 3)"),
            (State(True, "cpu", (5, 7, 3), np.float16), "8, 16 or 32 bits"),
        ]


class TestReplaceLabel(OperationConformance):
    max_examples = 8

    def operations(self):
        return [ReplaceLabel(CHOSEN, -3), ReplaceLabel([], 3)]

    def batches(self, operation):
        return batches((1,), np.int64)

    def reference(self, operation, sample, key, index):
        chosen = index in operation.indices
        return np.full_like(sample, operation.new_label) if chosen else sample

    def wrong_states(self, operation):
        return [(State(True, "cpu", (1,), np.float16), "float32 and float64")]


@settings(max_examples=60)
@given(
    batch=image_batches([np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64]),
    chosen=st.sets(st.integers(0, 5)),
    flat=st.booleans(),
    clamp=st.sampled_from([(0, 255), (0, 100), (-20, 90)]),
    seed=st.integers(0, 2**32),
)
def test_poison(batch, chosen, flat, clamp, seed):
    mask, alpha = _layers(batch.shape[1:], seed)
    wide = alpha if batch.ndim == 3 else alpha[..., None]
    mask = mask[:, :, 0] if flat and mask.ndim == 3 else mask
    full = mask if mask.ndim == batch.ndim - 1 else mask[..., None]
    info = np.finfo if batch.dtype.kind == "f" else np.iinfo
    low, high = max(clamp[0], info(batch.dtype).min), min(clamp[1], info(batch.dtype).max)
    expected = [
        poison_reference(image, full, wide, (low, high)) if i in chosen else image
        for i, image in enumerate(batch)
    ]
    result = apply(Poison(mask, alpha, chosen, clamp), batch, jit=False)
    np.testing.assert_array_equal(result, np.stack(expected), strict=True)


@BOTH
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_only_chosen_positions_of_the_file_change(dtype, size, jit):
    batch = random_batch((4, 5, 3, 2), dtype)[:size]
    mask, alpha = _layers((5, 3, 2))
    result = apply(
        Poison(mask, alpha, [8, 3, 8], (-9, 80)), batch, ids=[3, 2, 8, 9][:size], jit=jit
    )
    low = -9 if np.dtype(dtype).kind != "u" else 0
    for place in range(size):
        poisoned = poison_reference(batch[place], mask, alpha[..., None], (low, 80))
        expected = poisoned if place in (0, 2) else batch[place]
        np.testing.assert_array_equal(result[place], expected, strict=True)


@BOTH
def test_extremes_of_the_opacity(jit):
    batch, mask = random_batch((2, 4, 4, 3), np.uint8), random_batch((4, 4, 3), np.uint8, 1)
    np.testing.assert_array_equal(apply(Poison(mask, 0, range(2)), batch, jit=jit), batch)
    shown = apply(Poison(mask, 1, range(2)), batch, jit=jit)
    np.testing.assert_array_equal(shown, np.stack([mask, mask]))


def test_indices_come_in_any_form():
    batch = np.zeros((5, 1), np.int64)
    for indices in (
        [3, 1],
        (1, 3),
        {1, 3},
        range(1, 4, 2),
        np.array([3, 1], np.uint8),
        iter([1, 3]),
    ):
        labels = ReplaceLabel(indices, 7)
        for _ in range(2):
            assert apply(labels, batch, jit=False).ravel().tolist() == [0, 7, 0, 7, 0]


@BOTH
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2, 2)])
@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        (np.uint8, 255),
        (np.int64, -(2**63)),
        (np.uint64, 2**63 - 1),
        (np.bool_, True),
        (np.float32, 0.5),
        (np.float64, 3),
        (np.int16, 2.0),
    ],
)
def test_labels_of_all_types(shape, dtype, label, jit):
    batch = random_batch(shape, dtype)
    expected = batch.copy()
    expected[[1, 4]] = label
    result = apply(ReplaceLabel([1, 4, 100], label), batch, jit=jit)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_a_loader_changes_images_and_labels_of_the_same_samples(tmp_path):
    images = random_batch((12, 6, 5, 3), np.uint8)
    fields = {"image": RGBImageField(), "label": IntField()}
    samples = list(zip(images, range(12), strict=True))
    DatasetWriter(tmp_path / "images.beton", fields, num_workers=0).from_indexed_dataset(samples)
    mask, chosen = random_batch((6, 5, 3), np.uint8, 1), [2, 7, 11]
    pipelines = {
        "image": [SimpleRGBImageDecoder(), Poison(mask, 1, chosen)],
        "label": [IntDecoder(), ReplaceLabel(chosen, 99)],
    }
    options = {"order": OrderOption.RANDOM, "indices": [11, 3, 2, 5], "num_workers": 2}
    with Loader(tmp_path / "images.beton", 4, pipelines=pipelines, **options) as loader:
        ((shown, labels),) = loader
    for image, label in zip(shown, labels.ravel().tolist(), strict=True):
        np.testing.assert_array_equal(image, mask if label == 99 else images[label])
    assert sorted(labels.ravel().tolist()) == [3, 5, 99, 99]

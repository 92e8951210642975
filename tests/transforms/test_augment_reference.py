"""Augmentations against NumPy, eagerly and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_support import (
    a_fill,
    cutout_reference,
    flip_reference,
    image_batches,
    keys_of,
    normalize_reference,
    random_batch,
    translate_reference,
)

from ffcv.pipeline import bfloat16
from ffcv.pipeline.dtypes import from_bfloat16
from ffcv.testing import apply
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.augment.translate import RandomTranslate

SEEDS = st.integers(0, 2**32)
COMPILED = [
    ((3, 9, 7, 3), np.uint8),
    ((1, 5, 5), np.uint8),
    ((4, 6, 11, 2), np.float32),
]


@settings(max_examples=60)
@given(batch=image_batches(), probability=st.sampled_from([0.0, 0.3, 0.5, 1.0]), seed=SEEDS)
def test_flip(batch, probability, seed):
    expected = flip_reference(batch, probability, keys_of(batch, seed=seed))
    result = apply(RandomHorizontalFlip(probability), batch, seed=seed, jit=False)
    np.testing.assert_array_equal(result, expected, strict=True)


@settings(max_examples=60)
@given(batch=image_batches(), size=st.integers(0, 9), seed=SEEDS)
def test_cutout(batch, size, seed):
    size = min(size, *batch.shape[1:3])
    expected = cutout_reference(batch, size, a_fill(batch), keys_of(batch, seed=seed))
    result = apply(Cutout(size, a_fill(batch)), batch, seed=seed, jit=False)
    np.testing.assert_array_equal(result, expected, strict=True)


@settings(max_examples=60)
@given(batch=image_batches(), padding=st.integers(0, 14), seed=SEEDS)
def test_translate(batch, padding, seed):
    expected = translate_reference(batch, padding, a_fill(batch), keys_of(batch, seed=seed))
    result = apply(RandomTranslate(padding, a_fill(batch)), batch, seed=seed, jit=False)
    np.testing.assert_array_equal(result, expected, strict=True)


@settings(max_examples=60)
@given(
    batch=image_batches([np.uint8, np.uint16, np.int16, np.float32, np.float64]),
    result_type=st.sampled_from([np.float32, np.float64]),
    mean=st.floats(-300, 300),
    std=st.floats(1e-3, 300),
)
@pytest.mark.filterwarnings("ignore:NormalizeImage gets:RuntimeWarning")  # of some constants
def test_normalize(batch, result_type, mean, std):
    expected = normalize_reference(batch, mean, std, result_type)
    result = apply(NormalizeImage(mean, std, result_type), batch, jit=False)
    np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("result_type", [np.float16, bfloat16, np.float32, np.float64])
def test_normalize_by_channel(result_type, jit):
    every_byte = np.arange(768, dtype=np.int64).reshape(2, 16, 8, 3).astype(np.uint8)
    mean, std = (123.68, 116.28, 103.53), (58.4, 57.1, 0.5)
    expected = normalize_reference(every_byte, mean, std, result_type)
    result = apply(NormalizeImage(mean, std, result_type), every_byte, jit=jit)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_normalize_compiled_from_wider_types():
    batch = random_batch((2, 5, 3, 3), np.uint16)
    result = apply(NormalizeImage([1, 2, 3], [4.5, 5, 6], np.float32), batch)
    expected = normalize_reference(batch, [1, 2, 3], [4.5, 5, 6], np.float32)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_normalize_to_floats_of_16_bits_overflows_to_infinity():
    batch = np.array([0, 255], np.uint8).reshape(1, 1, 2)
    with pytest.warns(RuntimeWarning, match="NormalizeImage gets uint8 pixels of 0 to 255"):
        result = apply(NormalizeImage(0, 1e-3, np.float16), batch)
    assert result.tolist() == [[[0.0, np.inf]]]
    with pytest.warns(RuntimeWarning, match="NormalizeImage gets uint8 pixels of 0 to 255"):
        result = apply(NormalizeImage(0, 1e-37, bfloat16), batch)
    assert from_bfloat16(result).tolist() == [[[0.0, np.inf]]]


@pytest.mark.parametrize(("shape", "dtype"), COMPILED)
@pytest.mark.parametrize("flip_prob", [0.0, 0.5, 1.0])
def test_compiled_flip(shape, dtype, flip_prob):
    batch = random_batch(shape, dtype)
    result = apply(RandomHorizontalFlip(flip_prob), batch, seed=3)
    expected = flip_reference(batch, flip_prob, keys_of(batch, seed=3))
    np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize(("shape", "dtype"), COMPILED)
@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_compiled_cutout(shape, dtype, size):
    batch = random_batch(shape, dtype)
    result = apply(Cutout(size, a_fill(batch)), batch, seed=3)
    expected = cutout_reference(batch, size, a_fill(batch), keys_of(batch, seed=3))
    np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize(("shape", "dtype"), COMPILED)
@pytest.mark.parametrize("padding", [0, 1, 4, 40])
def test_compiled_translate(shape, dtype, padding):
    batch = random_batch(shape, dtype)
    result = apply(RandomTranslate(padding, a_fill(batch)), batch, seed=3)
    expected = translate_reference(batch, padding, a_fill(batch), keys_of(batch, seed=3))
    np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_floats_of_16_bits_are_moved_as_bits(dtype, jit):
    batch = random_batch((4, 6, 5, 3), dtype)
    keys = keys_of(batch)
    flipped = apply(RandomHorizontalFlip(0.5), batch, jit=jit)
    np.testing.assert_array_equal(flipped, flip_reference(batch, 0.5, keys), strict=True)
    hidden = apply(Cutout(3), batch, jit=jit)
    np.testing.assert_array_equal(hidden, cutout_reference(batch, 3, 0, keys), strict=True)
    shifted = apply(RandomTranslate(2), batch, jit=jit)
    np.testing.assert_array_equal(shifted, translate_reference(batch, 2, 0, keys), strict=True)


@pytest.mark.parametrize("operation", [Cutout, RandomTranslate])
@pytest.mark.parametrize("container", [tuple, list, lambda fill: np.array(fill, np.float32)])
def test_whole_numbers_may_be_floats(operation, container):
    batch = random_batch((3, 5, 5, 3), np.uint8)
    expected = apply(operation(2, (125, 122, 113)), batch, jit=False)
    found = apply(operation(2, container([125.0, 122.0, 113.0])), batch, jit=False)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_a_square_as_large_as_the_image_hides_all_of_it():
    assert (apply(Cutout(5, fill=9), random_batch((3, 5, 5, 3), np.uint8), jit=False) == 9).all()


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_a_square_that_outgrew_its_image_stays_inside(jit):
    class Outgrown(Cutout):
        def declare(self, state):
            declared = super().declare(state)
            self.crop_size = 100
            return declared

    batch = np.zeros((2, 3, 5), np.uint8)
    result = apply(Outgrown(2, fill=1), batch, jit=jit)
    assert result.sum(axis=(1, 2)).tolist() == [9, 9]


def test_parameters_may_change_between_epochs():
    batch = random_batch((3, 6, 6, 3), np.uint8)
    flip = RandomHorizontalFlip(0)
    np.testing.assert_array_equal(apply(flip, batch), batch)
    flip.flip_prob = 1
    np.testing.assert_array_equal(apply(flip, batch), batch[:, :, ::-1])
    normalize = NormalizeImage(0, 1, np.float32)
    normalize.mean, normalize.std = [1, 2, 3], [4, 5, 6]
    expected = normalize_reference(batch, [1, 2, 3], [4, 5, 6], np.float32)
    np.testing.assert_array_equal(apply(normalize, batch), expected)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize(
    "make", [lambda fill: Cutout(4, fill), lambda fill: RandomTranslate(9, fill)]
)
def test_integers_take_the_whole_part_of_a_fill(make, dtype, jit):
    batch, mean = np.zeros((6, 8, 7, 3), dtype), (125.3, 122.9, 255.8)
    result = apply(make(np.array(mean)), batch, seed=1, jit=jit)
    expected = np.array(mean).astype(dtype)
    assert (result.max(axis=(0, 1, 2)) == expected).all()
    covered = (result != 0).all(axis=-1)
    assert 0 < covered.sum() < covered.size
    assert (result[covered] == expected).all()
    assert not result[~covered].any()

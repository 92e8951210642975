"""Brightness, contrast and saturation against NumPy and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from transform_support import color_reference, keys_of, random_batch

from ffcv.kernels.random import uniform
from ffcv.pipeline import State
from ffcv.testing import apply
from ffcv.testing.conformance import OperationConformance
from ffcv.testing.strategies import batches
from ffcv_plugins.augment.color_jitter import RandomBrightness, RandomContrast, RandomSaturation

KINDS = {
    "brightness": RandomBrightness,
    "contrast": RandomContrast,
    "saturation": RandomSaturation,
}
EVERY = pytest.mark.parametrize("kind", KINDS)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.just(3))


class _Suite(OperationConformance):
    max_examples = 8
    kind = ""

    def operations(self):
        return [KINDS[self.kind](0.4), KINDS[self.kind](3, p=1)]

    def batches(self, operation):
        shapes = st.tuples(st.integers(1, 7), st.integers(1, 7), st.just(3))
        return shapes.flatmap(lambda shape: batches(shape, np.uint8))

    def reference(self, operation, sample, key, index):
        return color_reference(self.kind, sample, operation.magnitude, operation.p, key)

    def wrong_states(self, operation):
        return [
            (State(True, "cpu", (4, 4), np.uint8), "shape (height, width, 3)"),
            (State(True, "cpu", (4, 4, 3), np.uint16), "uint8"),
        ]


class TestBrightness(_Suite):
    kind = "brightness"


class TestContrast(_Suite):
    kind = "contrast"


class TestSaturation(_Suite):
    kind = "saturation"


@EVERY
@settings(max_examples=40)
@given(
    shape=SHAPES,
    magnitude=st.floats(0, 4),
    p=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_it_equals_its_reference(kind, shape, magnitude, p, seed):
    batch = random_batch(shape, np.uint8, seed)
    result = apply(KINDS[kind](magnitude, p), batch, seed=seed, jit=False)
    rows = zip(batch, keys_of(batch, seed=seed), strict=True)
    expected = [color_reference(kind, image, magnitude, p, key) for image, key in rows]
    np.testing.assert_array_equal(result, np.stack(expected), strict=True)


@EVERY
def test_nothing_changes_at_probability_or_magnitude_0(kind):
    batch = random_batch((9, 5, 7, 3), np.uint8)
    for operation in (KINDS[kind](1, p=0), KINDS[kind](0, p=1)):
        np.testing.assert_array_equal(apply(operation, batch), batch)


@EVERY
def test_every_image_changes_at_probability_1(kind):
    batch = random_batch((50, 5, 7, 3), np.uint8)
    far = [abs(uniform(key, 1) - 0.5) > 0.1 for key in keys_of(batch)]  # the factor from 1
    changed = (apply(KINDS[kind](0.5, p=1), batch) != batch).any(axis=(1, 2, 3))
    assert changed[far].all()


@EVERY
def test_it_differs_from_pillow_by_at_most_1(kind):
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }[kind]
    batch = random_batch((40, 11, 13, 3), np.uint8)
    result = apply(KINDS[kind](1.0, p=1), batch, seed=4).astype(int)
    for image, ours, key in zip(batch, result, keys_of(batch, seed=4), strict=True):
        theirs = np.asarray(enhancer(Image.fromarray(image)).enhance(2 * uniform(key, 1)))
        assert abs(ours - theirs.astype(int)).max() <= 1


def test_share_of_changed_images_and_factors():
    """At a significance of about 1e-6, for a fixed seed."""
    samples, magnitude = 20_000, 0.25
    batch = np.full((samples, 1, 1, 3), 100, np.uint8)
    values = apply(RandomBrightness(magnitude, p=0.3), batch, seed=5)[:, 0, 0, 0]
    factors = [1 - magnitude + 2 * magnitude * uniform(k, 1) for k in keys_of(batch, seed=5)]
    changed = np.array([uniform(k, 0) < 0.3 for k in keys_of(batch, seed=5)])
    assert abs(changed.mean() - 0.3) < 4.9 * np.sqrt(0.3 * 0.7 / samples)
    np.testing.assert_array_equal(values[~changed], 100)
    np.testing.assert_allclose(values[changed], 100 * np.array(factors)[changed], atol=0.51)
    drawn = values[changed] / 100
    deviation = 2 * magnitude / np.sqrt(12 * changed.sum())
    assert abs(drawn.mean() - 1) < 4.9 * deviation
    assert (drawn.min(), drawn.max()) == (0.75, 1.25)


def test_large_magnitudes_never_invert():
    batch = np.full((2000, 1, 1, 3), 10, np.uint8)
    values = apply(RandomBrightness(5, p=1), batch)
    assert (values.min(), values.max()) == (0, 60)


def test_contrast_keeps_uniform_greys_and_saturation_all_greys():
    gray = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 1, 3)
    np.testing.assert_array_equal(apply(RandomContrast(2, p=1), gray), gray)
    np.testing.assert_array_equal(apply(RandomSaturation(2, p=1), gray), gray)

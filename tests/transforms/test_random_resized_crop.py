"""The transform RandomResizedCrop, which shares its parts with the decoder of that name."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from transform_support import keys_of, random_batch

from ffcv.pipeline import State
from ffcv.testing import apply
from ffcv.testing.conformance import OperationConformance
from ffcv.testing.strategies import batches
from ffcv_plugins.augment.random_resized_crop import RandomResizedCrop
from ffcv_plugins.raster.crops import random_resized_crop
from ffcv_plugins.raster.resizing.arrays import resize_array

ANY = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}


def _part(operation, image, key):
    bounds = map(float, (*operation.scale, *operation.ratio))
    return random_resized_crop(*image.shape[:2], *bounds, int(key))


def _as_pillow(operation, image, key):
    y, x, h, w = _part(operation, image, key)
    height, width = operation.size
    part = Image.fromarray(image[y : y + h, x : x + w])
    for size in ((width, h), (width, height)):  # Pillow by itself may begin with the rows
        part = part.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(part)


class TestRandomResizedCrop(OperationConformance):
    max_examples = 6

    def operations(self):
        return [RandomResizedCrop(size=(5, 9), **ANY), RandomResizedCrop((1, 1), (1, 1), (3, 3))]

    def batches(self, operation):
        shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))
        return shapes.flatmap(lambda shape: batches(shape, np.uint8))

    def reference(self, operation, sample, key, index):
        return resize_array(sample, _part(operation, sample, key), operation.size)

    def wrong_states(self, operation):
        return [
            (State(True, "cpu", (8, 8, 4), np.uint8), "shape (height, width, 3)"),
            (State(True, "cpu", (8, 8, 3), np.float32), "uint8"),
            (State(True, "cpu", (65536, 8, 3), np.uint8), "at most 65535 pixels a side"),
        ]


def test_larger_images_are_at_most_two_levels_from_pillow():
    batch = random_batch((12, 61, 77, 3), np.uint8)
    operation = RandomResizedCrop(size=(24, 20), **ANY)
    result = apply(operation, batch, seed=6)
    rows = zip(batch, keys_of(batch, seed=6), strict=True)
    expected = np.stack([_as_pillow(operation, image, key) for image, key in rows])
    assert np.abs(result.astype(int) - expected).max() <= 2


def test_one_number_means_squares_and_may_change_between_epochs():
    batch = random_batch((2, 9, 9, 3), np.uint8)
    operation = RandomResizedCrop(size=6, **ANY)
    assert apply(operation, batch, jit=False).shape == (2, 6, 6, 3)
    operation.size = (4, 7)
    assert apply(operation, batch, jit=False).shape == (2, 4, 7, 3)


def test_the_whole_image_at_its_own_size_stays_as_it_is():
    batch = random_batch((3, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(apply(RandomResizedCrop((1, 1), (1, 1), 8), batch), batch)

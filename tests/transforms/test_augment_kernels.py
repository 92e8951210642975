"""Compiled kernels in guarded memory, on images of all kinds, against NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from transform_support import (
    a_fill,
    color_reference,
    cutout_reference,
    flip_reference,
    normalize_reference,
    random_batch,
    translate_reference,
)

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv.pipeline import bfloat16
from ffcv.pipeline.dtypes import code_dtype, to_bfloat16
from ffcv.pipeline.parameters import coerce
from ffcv.testing.harness import state_of
from ffcv_plugins.augment.color_jitter import RandomBrightness, RandomContrast, RandomSaturation
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.augment.translate import RandomTranslate

KEYS = st.integers(0, 2**64 - 1)
WIDTHS = st.sampled_from([1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 48, 70])
KINDS = st.sampled_from(
    [(3, np.uint8), (None, np.uint8), (2, np.uint16), (3, np.float32), (3, bfloat16)]
)
EVERY = settings(max_examples=40)


@cache
def compiled(kernel):
    return njit(**JIT_OPTIONS)(kernel)


@st.composite
def images(draw, kinds=KINDS):
    channels, dtype = draw(kinds)
    shape = (draw(st.integers(1, 6)), draw(WIDTHS), *([channels] if channels else []))
    return random_batch((1, *shape), dtype, draw(st.integers(0, 99)))[0]


def run(operation, image, key, align_end):
    """What the operation makes of an image, with a fence around all memory that it works on."""
    state = operation.declare(state_of(image[None]))
    source = guarded_copy(image.view(code_dtype(image.dtype)), align_end)
    result = source
    if not operation.inplace:
        dtype = code_dtype(state.dtype)
        nbytes = int(np.prod(state.shape)) * dtype.itemsize
        result = guarded(nbytes, align_end).view(dtype).reshape(state.shape)
        result.view(np.uint8)[...] = 0x5A
    workspace = operation.workspace()
    rest = () if workspace is None else (workspace,)
    params = coerce(operation.params())
    compiled(operation.kernel)(source, result, params, np.uint64(key), *rest)
    return result.view(state.dtype)


@EVERY
@given(image=images(), key=KEYS, align_end=st.booleans())
def test_flip(image, key, align_end):
    result = run(RandomHorizontalFlip(1), image, key, align_end)
    np.testing.assert_array_equal(result, flip_reference(image[None], 1, [key])[0])


@EVERY
@given(image=images(), size=st.integers(0, 6), key=KEYS, align_end=st.booleans())
def test_cutout(image, size, key, align_end):
    size, fill = min(size, *image.shape[:2]), a_fill(image[None])
    result = run(Cutout(size, fill), image, key, align_end)
    np.testing.assert_array_equal(result, cutout_reference(image[None], size, fill, [key])[0])


@EVERY
@given(
    image=images(),
    padding=st.sampled_from([0, 1, 2, 4, 20, 100]),
    key=KEYS,
    align_end=st.booleans(),
)
def test_translate(image, padding, key, align_end):
    fill = a_fill(image[None])
    result = run(RandomTranslate(padding, fill), image, key, align_end)
    expected = translate_reference(image[None], padding, fill, [key])[0]
    np.testing.assert_array_equal(result, expected)


@EVERY
@given(
    image=images(st.sampled_from([(3, np.uint8), (None, np.uint8), (2, np.uint8), (4, np.uint8)])),
    kind=st.sampled_from([np.float16, bfloat16, np.float32, np.float64]),
    mean=st.floats(-300, 300),
    std=st.floats(1e-3, 300),
    by_channel=st.booleans(),
    align_end=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:NormalizeImage gets:RuntimeWarning")  # of some constants
def test_normalize_bytes(image, kind, mean, std, by_channel, align_end):
    channels = image.shape[2] if image.ndim == 3 and by_channel else 1
    means, stds = mean + np.arange(channels), std + np.arange(channels)
    result = run(NormalizeImage(means, stds, kind), image, 0, align_end)
    if kind == bfloat16:  # rounded twice by the other reference
        expected = to_bfloat16((image.astype(np.float64) - means) / stds)
    else:
        expected = normalize_reference(image, means, stds, kind)
    np.testing.assert_array_equal(result, expected)


@EVERY
@given(
    image=images(st.sampled_from([(3, np.float32), (None, np.uint16), (2, np.float64)])),
    kind=st.sampled_from([np.float32, np.float64]),
    align_end=st.booleans(),
)
def test_normalize_wider_numbers(image, kind, align_end):
    means = np.array([1.5, 2.5, 3.5][: image.shape[2] if image.ndim == 3 else 1])
    result = run(NormalizeImage(means, means + 50, kind), image, 0, align_end)
    np.testing.assert_array_equal(result, normalize_reference(image, means, means + 50, kind))


@EVERY
@pytest.mark.parametrize("operation", [RandomBrightness, RandomContrast, RandomSaturation])
@given(
    image=images(st.just((3, np.uint8))),
    magnitude=st.sampled_from([0.0, 0.4, 1.0, 5.0, 1e300]),
    key=KEYS,
    align_end=st.booleans(),
)
def test_colors(operation, image, magnitude, key, align_end):
    kind = operation.__name__.removeprefix("Random").lower()
    result = run(operation(magnitude, 1), image, key, align_end)
    np.testing.assert_array_equal(result, color_reference(kind, image, magnitude, 1, key))

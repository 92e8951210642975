"""Mixup of images and labels: against NumPy, and together in a loader."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_support import image_batches, mixup_reference, random_batch, shares_reference

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.testing import apply
from ffcv.testing.harness import batch_key, state_of
from ffcv.transforms import Squeeze, ToTensor
from ffcv.writer import DatasetWriter
from ffcv_plugins.augment.mixup import ImageMixup, LabelMixup, MixupToOneHot

BOTH = pytest.mark.parametrize("jit", [True, False], ids=["compiled", "eager"])
SAME = pytest.mark.parametrize("same", [True, False], ids=["one-lambda", "many"])
ARITHMETIC = [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.float32, np.float64]


@settings(max_examples=60)
@given(
    batch=image_batches(ARITHMETIC),
    alpha=st.sampled_from([0.05, 0.4, 1, 8]),
    same=st.booleans(),
    first=st.integers(0, 2**40),
    seed=st.integers(0, 2**32),
)
def test_images(batch, alpha, same, first, seed):
    ids = np.arange(first, first + len(batch))[::-1].copy()
    shares = shares_reference(ids, batch_key(seed=seed), alpha, same)
    result = apply(ImageMixup(alpha, same), batch, seed=seed, ids=ids, jit=False)
    np.testing.assert_array_equal(result, mixup_reference(batch, shares), strict=True)


@SAME
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_compiled_images(dtype, same):
    batch = random_batch((5, 7, 9, 3), dtype)
    for size in (1, 4, 5):
        ids = np.arange(40, 40 + size)
        shares = shares_reference(ids, batch_key(seed=1, epoch=2), 0.5, same)
        result = apply(ImageMixup(0.5, same), batch[:size], seed=1, epoch=2, ids=ids)
        np.testing.assert_array_equal(result, mixup_reference(batch[:size], shares), strict=True)


@BOTH
@SAME
@pytest.mark.parametrize(("shape", "dtype"), [((), np.int64), ((1,), np.int64), ((1,), np.uint8)])
def test_labels(shape, dtype, same, jit):
    labels = np.array([7, 1, 200, 5], dtype).reshape(4, *shape)
    for size in (1, 3, 4):
        ids = [9, 3, 5, 4][:size]
        result = apply(LabelMixup(0.7, same), labels[:size], seed=3, ids=ids, jit=jit)
        flat = labels[:size].reshape(-1)
        shares = shares_reference(ids, batch_key(seed=3), 0.7, same)
        expected = np.stack([flat, np.roll(flat, 1), shares], axis=1).astype(np.float32)
        np.testing.assert_array_equal(result, expected, strict=True)


def test_an_image_mixed_with_itself_stays_as_it_is():
    image = random_batch((1, 6, 5, 3), np.uint8)
    for seed in range(20):
        np.testing.assert_array_equal(
            apply(ImageMixup(1, True), image, seed=seed, jit=False), image
        )


def test_views_of_batches_are_mixed_as_well():
    batch = random_batch((3, 6, 5, 3), np.uint8)
    mirrored = batch[:, :, ::-1]
    operation = ImageMixup(1, True)
    result = apply(operation, mirrored)
    np.testing.assert_array_equal(result, apply(operation, np.ascontiguousarray(mirrored)))


def test_the_neighbour_is_not_mixed_itself():
    batch = random_batch((4, 3, 3), np.float64)
    operation = ImageMixup(1, True)
    _, query = operation.declare_state_and_memory(state_of(batch))
    memory = np.empty((4, *query.shape), query.dtype)
    before = batch.copy()
    result = operation.generate_code()(batch, memory, np.arange(4), batch_key())
    assert result is memory
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_lambda_is_from_the_beta_distribution(alpha):
    """Mean and variance within 4.9 standard errors, for a fixed seed."""
    labels = np.zeros(20_000, np.int64)
    own = apply(LabelMixup(alpha, False), labels, seed=8)[:, 2].astype(np.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(own.mean() - 0.5) < 4.9 * np.sqrt(variance / own.size)
    kurtosis = 3 - 6 / (2 * alpha + 3)
    spread = variance * np.sqrt((kurtosis - 1) / own.size)
    assert abs(((own - 0.5) ** 2).mean() - variance) < 4.9 * spread
    correlation = np.corrcoef(own[:-1], own[1:])[0, 1]
    assert abs(correlation) < 4.9 / np.sqrt(own.size)


def test_one_lambda_for_the_batch_or_one_for_each():
    labels = np.arange(50)
    assert len(set(apply(LabelMixup(1, True), labels)[:, 2])) == 1
    assert len(set(apply(LabelMixup(1, False), labels)[:, 2])) > 40


@given(
    labels=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9),
    seed=st.integers(0, 2**32),
)
def test_one_hot(labels, seed):
    own = np.random.default_rng(seed).random(len(labels)).astype(np.float32)
    mixed = np.column_stack([np.array(labels), own]).astype(np.float32)
    expected = np.zeros((len(labels), 7), np.float32)
    for row, (first, second), share in zip(expected, labels, own, strict=True):
        row[first] += share
        row[second] += 1 - share
    array, tensor = (apply(MixupToOneHot(7), x) for x in (mixed, torch.from_numpy(mixed)))
    np.testing.assert_array_equal(array, expected, strict=True)
    np.testing.assert_array_equal(tensor.numpy(), expected, strict=True)
    np.testing.assert_allclose(array.sum(axis=1), 1, rtol=1e-6)


COUNT, BATCH = 23, 5


@pytest.fixture(scope="module")
def images():
    return random_batch((COUNT, 9, 7, 3), np.uint8)


@pytest.fixture(scope="module")
def path(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("mixup") / "images.beton"
    fields = {"image": RGBImageField(), "label": IntField()}
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(
        list(zip(images, range(COUNT), strict=True))
    )
    return path


def _epochs(path, same=False, workers=2, epochs=1, one_hot=False, **options):
    labels = [IntDecoder(), LabelMixup(0.5, same), ToTensor()]
    classes = [IntDecoder(), Squeeze(1), *labels[1:], MixupToOneHot(COUNT)]
    pipelines = {
        "image": [SimpleRGBImageDecoder(), ImageMixup(0.5, same)],
        "label": classes if one_hot else labels,
    }
    arguments = {"order": OrderOption.RANDOM, "drop_last": False, "seed": 5, **options}
    with Loader(path, BATCH, num_workers=workers, pipelines=pipelines, **arguments) as loader:
        return [[(x.copy(), y.numpy().copy()) for x, y in loader] for _ in range(epochs)]


@SAME
def test_images_and_labels_of_a_loader_agree(path, images, same):
    seen = []
    for batch, labels in _epochs(path, same)[0]:
        first, second = labels[:, 0].astype(int), labels[:, 1].astype(int)
        np.testing.assert_array_equal(second, np.roll(first, 1))
        expected = mixup_reference(images[first], labels[:, 2].astype(np.float64))
        np.testing.assert_array_equal(batch, expected)
        assert len(set(labels[:, 2])) == (1 if same else len(labels))
        seen += first.tolist()
    assert sorted(seen) == list(range(COUNT))


def test_batches_draw_lambdas_of_their_own(path):
    assert len({labels[0, 2] for _, labels in _epochs(path, same=True)[0]}) == -(-COUNT // BATCH)


def _bytes(epoch):
    return [(batch.tobytes(), labels.tobytes()) for batch, labels in epoch]


def test_one_seed_gives_the_same_bytes_for_any_number_of_workers(path):
    one, two, five = ([_bytes(e) for e in _epochs(path, workers=n, epochs=2)] for n in (1, 2, 5))
    assert one == two == five
    assert one[0] != one[1]


def test_epoch_and_seed_change_the_mixture_of_the_same_order(path):
    options = {"order": OrderOption.SEQUENTIAL, "epochs": 2, "same": True}
    first, second = _epochs(path, **options)
    other = _epochs(path, seed=6, **options)[0]
    lambdas = [tuple(labels[0, 2] for _, labels in epoch) for epoch in (first, second, other)]
    assert len(set(lambdas)) == 3


def test_eager_batches_equal_compiled_ones(path):
    compiled, eager = (_bytes(_epochs(path, jit=jit)[0]) for jit in (True, False))
    assert compiled == eager


def test_labels_of_a_loader_become_probabilities(path):
    mixed = _epochs(path)[0]
    for (_, labels), (_, classes) in zip(mixed, _epochs(path, one_hot=True)[0], strict=True):
        np.testing.assert_array_equal(classes, apply(MixupToOneHot(COUNT), labels))

"""What comes out of a loader, in which order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_support import NUM_SAMPLES, AddNoise, Indices, sample_of

from ffcv.errors import ArgumentError
from ffcv.fields import RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.kernels.random import fork, integer
from ffcv.loader import Loader, OrderOption, TraversalOrder
from ffcv.pipeline import AllocationQuery, Operation
from ffcv.transforms import Cutout, RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter


def values(loader: Loader) -> list[list[int]]:
    """The int batches of one epoch."""
    return [np.asarray(batch).ravel().tolist() for (batch,) in loader]


@settings(max_examples=25, deadline=None)
@given(batch_size=st.integers(1, 110), workers=st.integers(1, 4), ahead=st.integers(1, 5))
def test_every_sample_comes_once_and_in_order(numbers, batch_size, workers, ahead):
    with Loader(
        numbers, batch_size, num_workers=workers, drop_last=False, batches_ahead=ahead
    ) as loader:
        batches = values(loader)
        assert len(batches) == len(loader)
    assert list(itertools.chain(*batches)) == list(range(NUM_SAMPLES))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("batch_size", [1, 33, 34, 50, 100])
def test_drop_last_leaves_out_the_small_batch_only(numbers, batch_size):
    with Loader(numbers, batch_size, num_workers=2) as loader:
        batches = values(loader)
        assert len(loader) == len(batches) == NUM_SAMPLES // batch_size
    assert all(len(batch) == batch_size for batch in batches)


@pytest.mark.parametrize("batch_size", [1, 7, 99, 100])
def test_outputs_keep_their_batch_dimension(mixed, batch_size):
    pipelines = {"image": [CenterCropRGBImageDecoder((8, 8), 0.9), ToTensor(), ToTorchImage()]}
    with Loader(mixed, batch_size, num_workers=2, pipelines=pipelines, drop_last=False) as loader:
        sizes = [
            (len(images), images.shape[1:], arrays.shape[1:], labels.shape[1:])
            for images, arrays, labels in loader
        ]
    last = NUM_SAMPLES % batch_size or batch_size
    assert sizes[0] == (batch_size, (3, 8, 8), (2, 3), (1,))
    assert sizes[-1] == (last, (3, 8, 8), (2, 3), (1,))


def test_fields_come_in_the_order_of_the_file_and_none_disables_one(mixed):
    with Loader(mixed, 10, num_workers=1, pipelines={"image": None}) as loader:
        for k, (arrays, labels) in enumerate(loader):
            expected = [sample_of(10 * k + i) for i in range(10)]
            np.testing.assert_array_equal(arrays, [sample[1] for sample in expected])
            assert labels.ravel().tolist() == [sample[2] for sample in expected]


def test_random_order_is_a_permutation_that_changes_with_the_epoch(numbers):
    with Loader(numbers, 10, num_workers=2, order=OrderOption.RANDOM, seed=5) as loader:
        first, second = (list(itertools.chain(*values(loader))) for _ in range(2))
        loader.set_epoch(0)
        again = list(itertools.chain(*values(loader)))
    assert sorted(first) == sorted(second) == list(range(NUM_SAMPLES))
    assert first != second
    assert first == again
    assert first != list(range(NUM_SAMPLES))


def test_without_a_seed_two_loaders_differ(numbers):
    orders = []
    for _ in range(2):
        with Loader(numbers, 100, num_workers=1, order=OrderOption.RANDOM) as loader:
            orders.append(values(loader))
    assert orders[0] != orders[1]


def test_own_traversal_order_with_arguments(numbers):
    class EveryNth(TraversalOrder):
        def __init__(self, loader, step):
            super().__init__(loader)
            self.step = step

        def sample_order(self, epoch):
            return self.indices[epoch :: self.step]

    with Loader(numbers, 5, num_workers=1, order=EveryNth, order_kwargs={"step": 10}) as loader:
        assert len(loader) == 2
        assert list(itertools.chain(*values(loader))) == list(range(0, 100, 10))
        assert list(itertools.chain(*values(loader))) == list(range(1, 100, 10))


def test_indices_choose_samples_and_operations_see_file_positions(numbers):
    chosen = [50, 3, 3, 99]
    with Loader(numbers, 3, num_workers=1, indices=chosen, drop_last=False) as loader:
        assert values(loader) == [[50, 3, 3], [99]]
    pipelines = {"n": [IntDecoder(), Indices()]}
    with Loader(numbers, 4, num_workers=1, indices=chosen, pipelines=pipelines) as loader:
        assert values(loader) == [chosen]


def test_filter_keeps_what_fulfils_the_condition(mixed):
    pipelines = {"image": None, "array": None, "label": [IntDecoder()]}
    with Loader(
        mixed, 4, num_workers=2, pipelines=pipelines, indices=range(50), drop_last=False
    ) as loader:
        even = loader.filter("label", lambda label: label[0] % 2 == 0)
        assert list(itertools.chain(*values(even))) == list(range(0, 50, 2))
        # Again, to see that a filter looks at positions of the file, not of the subset.
        fours = even.filter("label", lambda label: label[0] % 4 == 0)
        assert list(itertools.chain(*values(fours))) == list(range(0, 50, 4))
        fours.close()
        even.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"batch_size": 101},
        {"batch_size": 4, "batches_ahead": -1},
        {"batch_size": 4, "num_workers": -2},
        {"batch_size": 4, "indices": [100]},
        {"batch_size": 4, "indices": [-1]},
        {"batch_size": 4, "indices": [0.5]},
        {"batch_size": 4, "indices": [[1]]},
        {"batch_size": 4, "order": "nonsense"},
        {"batch_size": 4, "order": 7},
        {"batch_size": 4, "seed": -1},
        {"batch_size": 4, "distributed": True},
    ],
)
def test_wrong_arguments_are_named(numbers, wrong):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is checked below
        Loader(numbers, **wrong)
    name = next((key for key in wrong if key != "batch_size"), "batch_size")
    assert name in str(caught.value) or "nonsense" in str(caught.value)
    assert isinstance(caught.value, (ArgumentError, AttributeError))


def test_no_batches_ahead_are_one(numbers):
    with Loader(numbers, 10, num_workers=1, batches_ahead=0) as loader:
        assert loader.batches_ahead == 1
        assert len(list(loader)) == len(loader)


def everything(path, **arguments):
    """All bytes of two epochs of random augmentations."""
    crop = RandomResizedCropRGBImageDecoder((12, 10))
    pipelines = {
        "image": [crop, RandomHorizontalFlip(), RandomTranslate(2), Cutout(3), ToTensor()],
        "label": [IntDecoder(), AddNoise(), ToTensor()],
    }
    with Loader(
        path,
        16,
        order=OrderOption.RANDOM,
        seed=3,
        pipelines=pipelines,
        drop_last=False,
        **arguments,
    ) as loader:
        return [
            [np.asarray(part).tobytes() for part in batch] for _ in range(2) for batch in loader
        ]


def test_same_seed_same_bytes_for_any_number_of_workers(mixed):
    expected = everything(mixed, num_workers=1)
    assert expected == everything(mixed, num_workers=2, batches_ahead=1)
    assert expected == everything(mixed, num_workers=5, batches_ahead=7)
    assert expected == everything(mixed, num_workers=2, os_cache=False)


def test_eager_and_compiled_give_the_same_bytes(mixed):
    assert everything(mixed, num_workers=2) == everything(mixed, num_workers=2, jit=False)


def test_changed_parameters_take_effect_in_the_next_epoch(mixed):
    decoder = RandomResizedCropRGBImageDecoder((12, 10))
    pipelines = {"image": [decoder], "array": None, "label": None}
    with Loader(mixed, 10, num_workers=2, pipelines=pipelines) as loader:
        assert {images.shape for (images,) in loader} == {(10, 12, 10, 3)}
        decoder.output_size = (5, 6)
        assert {images.shape for (images,) in loader} == {(10, 5, 6, 3)}


class Noisy(Operation):
    """A compiled batch operation that draws from the epoch's key and the samples' positions."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        def noisy(batch, memory, indices, key):
            for i in range(len(indices)):
                memory[i] = batch[i] + integer(fork(key, indices[i]), 0, 0, 10**9)
            return memory

        noisy.with_indices = noisy.with_key = True
        return noisy


def test_batch_operations_draw_from_seed_and_epoch(numbers):
    def run(jit, workers, seed):
        pipelines = {"n": [IntDecoder(), Noisy()]}
        with Loader(
            numbers, 10, num_workers=workers, pipelines=pipelines, seed=seed, jit=jit
        ) as loader:
            return [values(loader) for _ in range(2)]

    first, second = run(True, 1, 0)
    assert first != second
    assert [first, second] == run(True, 3, 0) == run(False, 2, 0)
    assert first != run(True, 1, 1)[0]


def test_one_instance_in_two_pipelines_draws_the_same(tmp_path):

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (12, 12, 3), np.uint8) for _ in range(20)]
    DatasetWriter(
        tmp_path / "pairs.beton", {"a": RGBImageField(), "b": RGBImageField()}, num_workers=0
    ).from_indexed_dataset([(p, p) for p in pictures])
    crop, flip = RandomResizedCropRGBImageDecoder((8, 8)), RandomHorizontalFlip()
    other = RandomResizedCropRGBImageDecoder((8, 8))
    for second, same in ((crop, True), (other, False)):
        pipelines = {"a": [crop, flip], "b": [second, flip]}
        with Loader(tmp_path / "pairs.beton", 20, num_workers=2, pipelines=pipelines) as loader:
            a, b = next(iter(loader))
        assert np.array_equal(a, b) == same


def test_one_decoder_serves_fields_of_different_sizes(tmp_path):

    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(0, 256, (40, 30, 3), np.uint8), rng.integers(0, 256, (10, 20, 3), np.uint8))
        for _ in range(6)
    ]
    DatasetWriter(
        tmp_path / "pairs.beton", {"a": RGBImageField(), "b": RGBImageField()}, num_workers=0
    ).from_indexed_dataset(pairs)
    crop = RandomResizedCropRGBImageDecoder((8, 8))
    before = dict(vars(crop))
    with Loader(
        tmp_path / "pairs.beton", 6, num_workers=2, pipelines={"a": [crop], "b": [crop]}
    ) as loader:
        a, b = next(iter(loader))
    assert a.shape == b.shape == (6, 8, 8, 3)
    assert vars(crop) == before

"""Orders that draw each sample anew: how often each comes, and that it does not look the same."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest

from ffcv.errors import ArgumentError
from ffcv.fields import FloatField, IntField
from ffcv.fields.decoders import FloatDecoder, IntDecoder
from ffcv.kernels import kernel
from ffcv.kernels.random import uniform
from ffcv.loader import ClassBalanced, Loader, Weighted, WithReplacement
from ffcv.pipeline import Operation, SampleOperation
from ffcv.writer import DatasetWriter

SAMPLES = 50


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("repeating") / "numbers.beton"
    writer = DatasetWriter(path, {"n": IntField(), "x": FloatField()}, num_workers=0)
    writer.from_indexed_dataset([(i, 0.0) for i in range(SAMPLES)])
    return path


class Params(NamedTuple):
    scale: float


@kernel
def _draw(source, destination, params, key):
    destination[0] = params.scale * uniform(key, 0)


class Draw(SampleOperation):
    """A number that is drawn for each sample."""

    kernel = staticmethod(_draw)

    def declare(self, state):
        return state

    def params(self):
        return Params(1.0)


class DrawForBatch(Operation):
    """Numbers that are drawn for a batch, by its key and the samples' indices."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        def draw(batch, memory, indices, key):
            for slot in range(len(indices)):
                batch[slot] = uniform(key, indices[slot])
            return batch

        draw.with_indices = draw.with_key = True
        return draw


def load(path, order, batch_size=10, **arguments):
    arguments = {"seed": 3, "num_workers": 1, "drop_last": False, **arguments}
    steps = arguments.pop("steps", [Draw()])
    pipelines = {"n": [IntDecoder()], "x": [FloatDecoder(), *steps]}
    return Loader(path, batch_size, order=order, pipelines=pipelines, **arguments)


def order_of(path, kind, **kwargs):
    with load(path, kind, order_kwargs=kwargs) as loader:
        return loader.next_traversal_order()


def assert_drawn(order, probabilities):
    counts, expected = np.bincount(order, minlength=SAMPLES), len(order) * probabilities
    assert not counts[expected == 0].any()
    some = expected > 0
    chi_square, degrees = ((counts - expected)[some] ** 2 / expected[some]).sum(), some.sum() - 1
    assert abs(chi_square - degrees) < 4 * math.sqrt(2 * degrees)


def test_samples_come_as_often_as_they_weigh(path):
    weights = np.arange(SAMPLES) % 7
    order = order_of(path, Weighted, weights=weights, num_samples=20_000)
    assert_drawn(order, weights / weights.sum())
    assert_drawn(order_of(path, WithReplacement, num_samples=20_000), np.full(SAMPLES, 1 / SAMPLES))


@pytest.mark.parametrize("labels", [np.arange(SAMPLES) ** 2 // 500, ["a"] * 45 + ["b"] * 5])
def test_classes_come_equally_often(path, labels):
    labels = np.asarray(labels)
    order = order_of(path, ClassBalanced, labels=labels, num_samples=20_000)
    kinds, of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    assert_drawn(order, 1 / counts[of] / len(kinds))


def test_only_chosen_samples_count(path):
    weights = np.zeros(SAMPLES)
    weights[[3, 7, 20]] = 1, 3, 1e300
    arguments = {"indices": [7, 3, 5], "order_kwargs": {"weights": weights}}
    with load(path, Weighted, 1, **arguments) as loader:
        assert set(loader.next_traversal_order().tolist()) <= {3, 7}
        assert len(loader) == 3
        with loader.filter("n", lambda n: n > 3) as kept:
            assert set(kept.next_traversal_order().tolist()) == {7}
    labels = [0] * 40 + [1] * 10
    arguments = {"indices": range(45), "order_kwargs": {"labels": labels, "num_samples": 4000}}
    with load(path, ClassBalanced, **arguments) as loader:
        order = loader.next_traversal_order()
    assert 1800 < np.count_nonzero(order >= 40) < 2200


def test_any_slot_gives_what_it_gives_in_turn(path):
    with load(path, Weighted, order_kwargs={"weights": np.ones(SAMPLES)}) as loader:
        order = loader.traversal_order
        whole = order.samples_at(1, np.arange(40))
        assert order.samples_at(1, np.array([7, 30, 7])).tolist() == whole[[7, 30, 7]].tolist()
        assert (order.samples_at(2, np.arange(40)) != whole).any()


@pytest.mark.parametrize("steps", [[Draw()], [DrawForBatch()]])
def test_a_sample_that_comes_again_does_not_look_the_same(path, steps):
    weights = np.zeros(SAMPLES)
    weights[[4, 5]] = 1
    arguments = {"order_kwargs": {"weights": weights, "num_samples": 60}, "steps": steps}
    with load(path, Weighted, **arguments) as loader:
        batches = [tuple(map(np.array, batch)) for batch in loader]
    drawn = np.concatenate([x.ravel() for _, x in batches])
    alike = 1 if isinstance(steps[0], Draw) else 10  # one operation draws by index in each batch
    assert len(set(drawn.tolist())) >= 60 / alike
    if isinstance(steps[0], DrawForBatch):
        assert len({tuple(x.ravel().tolist()) for _, x in batches}) == len(batches)


def test_the_same_by_any_number_of_workers_and_processes_and_when_it_goes_on(path):
    arguments = {"order_kwargs": {"weights": np.arange(SAMPLES)}}

    def drawn(loader):
        return [(n, x) for batch in loader for n, x in zip(*map(np.ravel, batch), strict=True)]

    with load(path, Weighted, **arguments) as loader:
        alone = drawn(loader)
    with load(path, Weighted, num_workers=3, batches_ahead=4, **arguments) as loader:
        assert drawn(loader) == alone
    parts = []
    for rank in range(2):
        with load(path, Weighted, 5, rank=rank, world_size=2, **arguments) as loader:
            parts.append(drawn(loader))
    assert list(itertools.chain(*zip(*parts, strict=True))) == alone
    with load(path, Weighted, 20, **arguments) as loader:
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
    with load(path, Weighted, **arguments) as again:
        again.load_state_dict(state)
        assert drawn(again) == alone[20:]


def test_samples_that_are_skipped_leave_the_draws_of_others_alone(path):
    @kernel
    def _refuse(source, destination, params, key):
        if uniform(key, 1) < 0.3:
            return 1
        destination[0] = uniform(key, 0)
        return 0

    class Refuse(Draw):
        kernel = staticmethod(_refuse)
        errors = {1: "not this one"}  # noqa: RUF012

    arguments = {"order_kwargs": {"num_samples": 60}, "steps": [Refuse(), DrawForBatch()]}
    with load(path, WithReplacement, on_error="skip", **arguments) as loader:
        with pytest.warns(RuntimeWarning, match="left out"):
            sizes = [len(n) for n, _ in loader]
        assert sum(sizes) + len(loader.skipped) == 60
        assert len(loader.skipped) > 0


def test_an_epoch_without_end(path):
    with load(path, WithReplacement, order_kwargs={"num_samples": math.inf}) as loader:
        batches = iter(loader)
        seen = [next(batches)[0].ravel().tolist() for _ in range(20)]
        assert len(set(itertools.chain(*seen))) == SAMPLES
        state = loader.state_dict()
        rest = next(batches)[0].ravel().tolist()
    with load(path, WithReplacement, order_kwargs={"num_samples": math.inf}) as again:
        again.load_state_dict(state)
        assert next(iter(again))[0].ravel().tolist() == rest


ONES = np.ones(SAMPLES)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(3), r"one for each of the 50 samples of .*numbers.beton, \(50,\), got.*\(3,\)"),
        (np.ones((SAMPLES, 1)), "got float64 of shape"),
        (["a"] * SAMPLES, "expected numbers"),
        ([[1], [2, 3]], "weights"),
        (ONES - 2 * (np.arange(SAMPLES) == 4), "that of sample 4 is -1.0"),
        (np.where(np.arange(SAMPLES) == 5, np.nan, 1), "that of sample 5 is nan"),
        (np.where(np.arange(SAMPLES) == 6, np.inf, 1), "that of sample 6 is inf"),
        (np.zeros(SAMPLES), "all of them are 0"),
        (np.arange(SAMPLES) > 10, "all of them are 0.*loader's indices"),
    ],
)
def test_weights_that_are_none(path, weights, words):
    indices = range(5) if "indices" in words else None
    with pytest.raises(ArgumentError, match=words):
        load(path, Weighted, indices=indices, order_kwargs={"weights": weights})


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        (ClassBalanced, {"labels": [0.5] * SAMPLES}, "labels: expected whole numbers or strings"),
        (ClassBalanced, {"labels": [1]}, "one for each of the 50 samples"),
        (Weighted, {}, "missing a required argument: 'weights'"),
        (WithReplacement, {"num_samples": 0}, "num_samples"),
        (WithReplacement, {"num_samples": 2.5}, "num_samples"),
    ],
)
def test_other_arguments_that_are_wrong(path, kind, kwargs, words):
    with pytest.raises(ArgumentError, match=words):
        load(path, kind, order_kwargs=kwargs)

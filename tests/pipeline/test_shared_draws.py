"""Generators of the whole process, found in the code of steps."""

# ruff: noqa: NPY002 - what users should not write

from __future__ import annotations

import functools
import random
import random as python_random
import types
import warnings
from dataclasses import replace
from random import choice
from typing import NamedTuple

import numpy as np
import numpy.random as np_random
import pytest
import torch
from numba import njit
from numpy.random import rand

from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader
from ffcv.loader.orders import TraversalOrder
from ffcv.pipeline import AllocationQuery, Operation, SampleOperation, kernel
from ffcv.pipeline.shared_draws import shared_draws
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter


def helper(batch):
    return batch + np.random.normal()


class Callable:
    def __call__(self, batch):
        return batch * python_random.random()

    def method(self, batch):
        return helper(batch)


class Noise(torch.nn.Module):
    def forward(self, batch):
        return self.scaled(batch)

    def scaled(self, batch):
        return batch * rand()


class Holder:
    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, batch):
        for step in self.steps:
            batch = step(batch)
        return batch


def imports_inside(batch):
    import random as chance
    from random import shuffle as mix

    mix(batch)
    return chance.gauss(0, 1)


def imports_a_module_of_a_package(batch):
    import numpy.random

    return batch + numpy.random.rand()


def imports_by_another_name(batch):
    import numpy.random as chance
    from numpy.random import random

    return batch + chance.default_rng(1).normal() + random()


def around(function):
    def inside(batch):
        return function(batch)

    return inside


@njit
def compiled(x):
    return x + np.random.rand()


tools = types.ModuleType("tools")
tools.helper = helper

FOUND = [
    (helper, ["np.random.normal"]),
    (lambda batch: helper(batch), ["np.random.normal"]),
    (lambda batch: [np_random.randint(3) for _ in batch], ["np.random.randint"]),
    (lambda batch: (choice(batch), random.shuffle(batch)), ["random.choice", "random.shuffle"]),
    (lambda batch: tools.helper(batch), ["np.random.normal"]),
    (lambda batch: compiled(batch), ["np.random.rand"]),
    (random.random, ["random.random"]),
    (imports_inside, ["random.gauss", "random.shuffle"]),
    (imports_a_module_of_a_package, ["np.random.rand"]),
    (imports_by_another_name, ["np.random.random"]),
    (around(helper), ["np.random.normal"]),
    (functools.partial(helper), ["np.random.normal"]),
    (Callable(), ["np.random.normal", "random.random"]),
    (Callable().method, ["np.random.normal", "random.random"]),
    (Noise(), ["np.random.rand"]),
    (torch.nn.Sequential(torch.nn.ReLU(), Noise()), ["np.random.rand"]),
    (Holder(Noise(), {"a": around(helper)}), ["np.random.normal", "np.random.rand"]),
    (lambda batch: torch.manual_seed(3), ["torch.manual_seed"]),
    (lambda batch: torch.cuda.manual_seed_all(3), ["torch.cuda.manual_seed_all"]),
    (lambda batch: torch.random.fork_rng(), ["torch.fork_rng"]),
]


@pytest.mark.parametrize(("step", "names"), FOUND)
def test_draws_are_found(step, names):
    assert shared_draws(step) == names


class Own:
    def __init__(self):
        self.random, self.choice = random.Random(3), 5
        self.generator = np.random.default_rng(4)

    def __call__(self, batch):
        return batch + self.random.random() + self.generator.normal() + self.choice


def brings_its_own(batch):
    generator, chance = np.random.default_rng(3), random.Random(3)
    state = np.random.RandomState(4)
    return batch + generator.random() + chance.random() + state.rand()


class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "step",
    [Own(), brings_its_own, lambda batch: torch.rand(3), torch.nn.Dropout(), len, None,
     lambda batch: torch.initial_seed(), around(np.zeros(3))],
)  # fmt: skip
def test_what_brings_its_own_is_no_matter(step):
    assert shared_draws(step) == []


def test_objects_that_answer_oddly_are_passed_over():
    assert shared_draws(Odd(), helper) == ["np.random.normal"]


def test_a_large_network_is_looked_at_in_part():
    deep = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(2000)))
    assert shared_draws(deep) == []
    circle = Holder()
    circle.steps.append(circle)
    assert shared_draws(circle) == []


class Shifted(Operation):
    """In the style of FFCV 1.x, compiled."""

    def declare_state_and_memory(self, previous_state):
        memory = AllocationQuery(previous_state.shape, previous_state.dtype)
        return replace(previous_state, jit_mode=True), memory

    def generate_code(self):
        def shift(batch, memory):
            memory[:] = batch + np.random.rand()
            return memory

        return shift


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "rows.beton"
    field = NDArrayField(np.dtype("f4"), (4,))
    rows = [(np.ones(4, "f4"),)] * 8
    DatasetWriter(path, {"x": field}, num_workers=0).from_indexed_dataset(rows)
    return path


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("step", [Shifted(), Callable()], ids=["compiled", "python"])
def test_a_loader_warns_of_them(path, step, jit):
    pipelines = {"x": [NDArrayDecoder(), step]}
    with Loader(path, 4, num_workers=1, pipelines=pipelines, jit=jit) as loader:
        with pytest.warns(RuntimeWarning, match="of a generator that the whole process") as caught:
            list(loader)
        list(loader)
    assert len(caught) == 1
    assert "output 'x', step 2" in str(caught[0].message)


class Chance(NamedTuple):
    value: float


@kernel
def add_chance(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] + params.value


class AddChance(SampleOperation):
    kernel = staticmethod(add_chance)

    def declare(self, state):
        return state

    def params(self):
        return Chance(np.random.rand())


@pytest.mark.parametrize("jit", [True, False])
def test_a_loader_warns_of_parameters(path, jit):
    pipelines = {"x": [NDArrayDecoder(), AddChance()]}
    with Loader(path, 4, num_workers=1, pipelines=pipelines, jit=jit) as loader:
        with pytest.warns(
            RuntimeWarning, match=r"output 'x', step 2 .* np\.random\.rand"
        ) as caught:
            list(loader)
        list(loader)
    assert len(caught) == 1


class Shuffled(TraversalOrder):
    def sample_order(self, epoch):
        order = list(self.indices)
        random.shuffle(order)
        return order


class ShuffledAgain(Shuffled):
    pass


class ShuffledBySeed(TraversalOrder):
    def sample_order(self, epoch):
        random.Random(epoch).shuffle([1, 2])
        return np.random.default_rng((self.seed, epoch)).permutation(self.indices)


def test_a_loader_warns_of_orders(path):
    for order in (Shuffled, ShuffledAgain):
        words = (
            rf"the order {order.__name__} .*random\.shuffle.*default_rng\(\(self\.seed, epoch\)\)"
        )
        with pytest.warns(RuntimeWarning, match=words):
            Loader(path, 4, num_workers=1, order=order).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Loader(path, 4, num_workers=1, order=ShuffledBySeed).close()


def test_a_loader_is_silent_about_others(path):
    steps = [NDArrayDecoder(), ToTensor(), torch.nn.Dropout(), Own()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Loader(path, 4, num_workers=1, pipelines={"x": steps}) as loader:
            assert len(list(loader)) == 2

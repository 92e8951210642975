"""Memory that a batch operation of FFCV 1.x has once for each batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.errors import CompilationError, PipelineError
from ffcv.fields import FloatField, IntField
from ffcv.fields.basics import FloatDecoder, IntDecoder
from ffcv.kernels.random import integer
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.writer import DatasetWriter

NUM_SAMPLES = 23


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "numbers.beton"
    fields = {"n": IntField(), "x": FloatField()}
    samples = [(i, i / 2) for i in range(NUM_SAMPLES)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


class AddOfBatch(Operation):
    """Adds to all values of a batch one random number of that batch."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def declare_shared_memory(self, previous_state):
        return AllocationQuery((2,), np.dtype("int64"))

    def generate_code_for_shared_state(self):
        def draw(shared, indices, key):
            for i in range(len(indices)):
                shared[i, 0] = integer(key, indices[0], 1, 1000)
                shared[i, 1] = indices[i]

        draw.with_indices = True
        draw.with_key = True
        return draw

    def generate_code(self):
        def add(batch, memory, indices, shared):
            for i in range(len(indices)):
                memory[i] = batch[i] + shared[i, 0] + 10_000 * (shared[i, 1] - indices[i])
            return memory

        add.with_indices = True
        return add


def load(path, pipelines, batch_size=5, **arguments):
    given = {"num_workers": 2, "seed": 3, "drop_last": False, **arguments}
    with Loader(path, batch_size, pipelines=pipelines, **given) as loader:
        return [tuple(np.array(part) for part in batch) for batch in loader]


@pytest.mark.parametrize("jit", [True, False])
def test_all_samples_of_a_batch_see_what_was_drawn_once(path, jit):
    batches = load(path, {"n": [IntDecoder(), AddOfBatch()], "x": None}, jit=jit)
    added = [n.ravel() - np.arange(5 * i, 5 * i + len(n)) for i, (n,) in enumerate(batches)]
    assert [len(set(numbers)) for numbers in added] == [1] * 5
    assert len({int(numbers[0]) for numbers in added}) > 1
    assert all(1 <= numbers[0] < 1000 for numbers in added)


@pytest.mark.parametrize("jit", [True, False])
def test_the_same_bytes_for_any_workers_and_batches_ahead(path, jit):
    def flat(**arguments):
        pipelines = {"n": [IntDecoder(), AddOfBatch()], "x": None}
        batches = load(path, pipelines, order=OrderOption.RANDOM, jit=jit, **arguments)
        return np.concatenate([n.ravel() for (n,) in batches]).tolist()

    first = flat(num_workers=1, batches_ahead=1)
    assert first == flat(num_workers=2, batches_ahead=3) == flat(num_workers=5, batches_ahead=8)
    assert first != flat(seed=4)


class Once(Operation):
    """Counts how often its memory is filled, in Python, and gives what it was filled with."""

    compiled = False

    def __init__(self, asked, calls):
        self.asked, self.calls = asked, calls

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, shape=(), dtype=np.dtype("int64")), None

    def declare_shared_memory(self, previous_state):
        return self.asked

    def generate_code_for_shared_state(self):
        def fill(shared, indices):
            self.calls.append(indices.tolist())
            for memory in shared if isinstance(shared, tuple) else (shared,):
                assert len(memory) == len(indices)
                memory[:] = int(indices[0])

        fill.with_indices = True
        return fill

    def generate_code(self):
        def give(batch, memory, shared):
            first = shared[0] if isinstance(shared, tuple) else shared
            return np.asarray(first if isinstance(first, np.ndarray) else first.cpu())

        return give


ASKED = {
    "array": AllocationQuery((), np.dtype("int64")),
    "tensor": AllocationQuery((), torch.int64),
    "several": (AllocationQuery((), np.int64), AllocationQuery([2], torch.float32)),
    "list": [AllocationQuery((), "int64")],
}


@pytest.mark.parametrize("kind", ASKED)
def test_it_is_filled_once_a_batch_and_kept_batches_do_not_change(path, kind):
    calls = []
    operation = Once(ASKED[kind], calls)
    pipelines = {
        "n": [IntDecoder(), operation],
        "x": [FloatDecoder(), operation],
        "also": PipelineSpec(operation),
    }
    with Loader(path, 5, num_workers=3, pipelines=pipelines, drop_last=False) as loader:
        batches = list(loader)
    assert calls == [list(range(i, min(i + 5, NUM_SAMPLES))) for i in range(0, NUM_SAMPLES, 5)]
    for number, batch in enumerate(batches):
        for part in batch:
            assert set(part.tolist()) == {5 * number}


@pytest.mark.gpu
def test_it_may_live_on_a_device(path):
    operation = Once(AllocationQuery((), torch.int64, torch.device("cuda:0")), [])
    batches = load(path, {"n": [IntDecoder(), operation], "x": None})
    assert [set(n.tolist()) for (n,) in batches] == [{0}, {5}, {10}, {15}, {20}]


def test_places_in_one_pipeline_have_memory_of_their_own(path):
    calls = []
    operation = Once(ASKED["array"], calls)
    load(path, {"n": [IntDecoder(), operation, operation], "x": None}, batch_size=23)
    assert len(calls) == 2


def test_the_memory_that_operations_ask_for_is_in_the_prediction(path):
    def batches(*operations):
        pipelines = {"n": [IntDecoder(), *operations], "x": None}
        with Loader(path, 5, pipelines=pipelines, batches_ahead=2) as loader:
            return loader.memory.batches

    one_batch = 5 * (8 + 2 * 8)  # one int64, and two that are shared
    assert batches(AddOfBatch()) == batches() + (2 + 2) * one_batch
    several = Once(ASKED["several"], [])
    assert batches(several) == batches() + (2 + 2) * 5 * (8 + 2 * 4)


class WithoutCode(Once):
    """Asks for memory and fills it by itself."""

    def generate_code_for_shared_state(self):
        return None

    def generate_code(self):
        def give(batch, memory, shared):
            shared[:] = 7
            return shared

        return give


def test_memory_without_code_for_it(path):
    operation = WithoutCode(ASKED["array"], [])
    ((n,),) = load(path, {"n": [IntDecoder(), operation], "x": None}, batch_size=23)
    assert set(n.tolist()) == {7}


class Wrong(AddOfBatch):
    """Any shared memory, and any code for it."""

    def __init__(self, asked, code):
        self.asked, self.code = asked, code

    def declare_shared_memory(self, previous_state):
        return self.asked

    def generate_code_for_shared_state(self):
        return self.code

    def generate_code(self):
        def copy(batch, memory, shared):
            memory[:] = batch
            return memory

        return copy


def fails_to_compile(shared):
    shared.no_such_method()


def raises(shared):
    raise ArithmeticError("nothing to draw from")


def takes_too_much(shared, indices):
    shared[:] = 0


@pytest.mark.parametrize(
    ("asked", "code", "kind", "words"),
    [
        (None, raises, PipelineError, ["declare_shared_memory", "asks for no memory"]),
        ((3,), None, PipelineError, ["asks for memory by 3", "AllocationQuery"]),
        (ASKED["tensor"], None, PipelineError, ["torch.int64", "jit_mode"]),
        (ASKED["array"], fails_to_compile, CompilationError, ["no_such_method", "line"]),
        (ASKED["array"], takes_too_much, PipelineError, ["(shared, indices)", "with 1 argument"]),
        (ASKED["array"], 5, PipelineError, ["generated 5 instead of a function"]),
        (ASKED["array"], raises, ArithmeticError, ["nothing to draw from"]),
    ],
)
def test_mistakes_are_named(path, asked, code, kind, words):
    with pytest.raises(kind) as caught:
        load(path, {"n": [IntDecoder(), Wrong(asked, code)], "x": None})
    text = str(caught.value) + " ".join(getattr(caught.value, "__notes__", ()))
    for word in [*words, "output 'n', step 2 (Wrong)"]:
        assert word in text
    assert len(text) < 500

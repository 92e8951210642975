"""Programs in the style of FFCV 1.x: which samples come, in which order, and what it costs."""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import textwrap
import threading
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.fields import BytesField, FloatField, IntField
from ffcv.fields.basics import FloatDecoder, IntDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import Squeeze, ToTensor
from ffcv.traversal_order.base import TraversalOrder
from ffcv.writer import DatasetWriter

SAMPLES = 103
ORDERS = list(OrderOption)


class Numbers:
    """Position and its sine."""

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return index, np.sin(index)


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    name = str(tmp_path_factory.mktemp("ffcv1") / "numbers.beton")
    writer = DatasetWriter(name, {"index": IntField(), "value": FloatField()}, num_workers=2)
    writer.from_indexed_dataset(Numbers())
    return name


def numbers_of(loader):
    """The positions of one epoch; checks that the values belong to them."""
    found = []
    for indices, values in loader:
        assert indices.shape == values.shape == (len(indices), 1)
        np.testing.assert_array_equal(values.numpy(), np.sin(indices.numpy()))
        found += indices.ravel().tolist()
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_order_visits_everything_anew(name, order, workers):
    loader = Loader(name, 8, num_workers=workers, order=order, seed=17, drop_last=False)
    epochs = [numbers_of(loader) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(SAMPLES))
    if order == OrderOption.SEQUENTIAL:
        assert epochs == [list(range(SAMPLES))] * 3
    else:
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = Loader(name, 5, num_workers=1, order=order, seed=17, drop_last=False)
    assert [numbers_of(again) for _ in range(3)] == epochs


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "indices",
    [
        list(range(0, SAMPLES, 3)),
        np.array([7, 5, 99, 23, 0, 1, 8, 2]),
        np.array([12, 3, 102], np.int32),
        range(90, 100),
        torch.arange(20, 40),
    ],
)
def test_subsets(name, indices, order):
    chosen = [int(i) for i in indices]
    for drop_last in (True, False):
        loader = Loader(name, 3, num_workers=2, order=order, indices=indices, drop_last=drop_last)
        for _ in range(2):
            found = numbers_of(loader)
            assert set(found) <= set(chosen)
            assert len(found) == len(set(found))
            assert len(found) == (len(chosen) // 3 * 3 if drop_last else len(chosen))
            if order == OrderOption.SEQUENTIAL:
                assert found == chosen[: len(found)]


@pytest.mark.parametrize("batch_size", [1, 2, 50, 51, 52, 102, 103])
@pytest.mark.parametrize("drop_last", [True, False])
def test_partial_batches(name, batch_size, drop_last):
    loader = Loader(name, batch_size=batch_size, num_workers=2, drop_last=drop_last)
    whole, rest = divmod(SAMPLES, batch_size)
    expected = [batch_size] * whole + ([rest] if rest and not drop_last else [])
    assert len(loader) == len(expected)
    for _ in range(2):
        assert [len(indices) for indices, _ in loader] == expected


def test_filter(name):
    pipelines = {"index": [IntDecoder(), ToTensor()], "value": [FloatDecoder(), ToTensor()]}
    loader = Loader(
        name, batch_size=4, num_workers=2, order=OrderOption.RANDOM, pipelines=pipelines, seed=3
    )
    positive = loader.filter("value", lambda value: value.item() > 0)
    expected = [i for i in range(SAMPLES) if np.sin(i) > 0]
    found = numbers_of(positive)
    assert set(found) <= set(expected)
    assert len(found) == len(expected) // 4 * 4
    assert found != sorted(found)
    # The condition on another field of what is left.
    even = positive.filter("index", lambda index: index % 2 == 0)
    assert set(numbers_of(even)) <= {i for i in expected if i % 2 == 0}
    # The first one is as it was.
    assert len(numbers_of(loader)) == SAMPLES // 4 * 4


def test_partial_pipelines(name):
    ((index, value),) = Loader(name, SAMPLES, pipelines={})
    assert (index.dtype, value.dtype) == (torch.int64, torch.float64)
    # A field that is left out has its default, also beside one that has not.
    pipelines = {"index": [IntDecoder(), ToTensor(), Squeeze()]}
    ((index, value),) = Loader(name, SAMPLES, pipelines=pipelines)
    assert (index.shape, value.shape) == ((SAMPLES,), (SAMPLES, 1))
    # The order of the outputs is that of the file, not that of the pipelines.
    pipelines = {"value": [FloatDecoder()], "index": [IntDecoder()]}
    ((index, value),) = Loader(name, SAMPLES, pipelines=pipelines)
    assert (index.dtype, value.dtype) == (np.int64, np.float64)
    for disabled, dtype in [("index", torch.float64), ("value", torch.int64)]:
        batches = list(Loader(name, 50, pipelines={disabled: None}))
        assert [len(batch) for batch in batches] == [1, 1]
        assert {batch[0].dtype for batch in batches} == {dtype}
    assert list(Loader(name, 50, pipelines={"index": None, "value": None})) == [(), ()]


class FromBothEnds(TraversalOrder):
    """First, last, second, second to last, … with those that ``skip`` divides left out."""

    def __init__(self, loader, skip=0):
        super().__init__(loader)
        self.skip = skip
        assert not self.distributed
        assert self.loader.reader.num_samples == SAMPLES

    def sample_order(self, epoch):
        left = deque(int(i) for i in self.indices if not self.skip or i % self.skip)
        if epoch % 2:
            left.reverse()
        order = []
        while left:
            order.append(left.pop() if len(order) % 2 else left.popleft())
        return order


def test_an_order_of_ones_own(name):
    loader = Loader(name, 4, order=FromBothEnds, indices=range(6), drop_last=False)
    assert numbers_of(loader) == [0, 5, 1, 4, 2, 3]
    assert numbers_of(loader) == [5, 0, 4, 1, 3, 2]
    loader = Loader(
        name, 4, order=FromBothEnds, indices=range(7), drop_last=False, order_kwargs={"skip": 3}
    )
    assert len(loader) == 1
    assert numbers_of(loader) == [1, 5, 2, 4]


RANK = """
    import json, sys
    import torch.distributed as dist
    from ffcv.loader import Loader, OrderOption

    name, rank, meeting = sys.argv[1:]
    dist.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=2)
    found = {}
    for order in OrderOption:
        for subset in (None, list(range(3, 30, 2))):
            loader = Loader(
                name, batch_size=8, num_workers=2, order=order, distributed=True, seed=1,
                indices=subset, drop_last=False,
            )
            epochs = [[i for index, _ in loader for i in index.ravel().tolist()] for _ in range(3)]
            found[f"{order.name} {'all' if subset is None else 'some'}"] = len(loader), epochs
    print(json.dumps(found))
    dist.destroy_process_group()
"""


def test_two_processes_share_each_epoch(name, tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RANK), name, str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    one, other = (json.loads(rank.communicate(timeout=200)[0]) for rank in ranks)
    for kind, (length, epochs) in one.items():
        chosen = list(range(SAMPLES)) if kind.endswith("all") else list(range(3, 30, 2))
        half = math.ceil(len(chosen) / 2)
        assert length == other[kind][0] == math.ceil(half / 8)
        for mine, theirs in zip(epochs, other[kind][1], strict=True):
            assert len(mine) == len(theirs) == half
            assert set(mine) | set(theirs) == set(chosen)
            # Where they cannot be shared evenly, one sample comes twice.
            assert len(set(mine) & set(theirs)) == len(chosen) % 2
        assert (epochs[0] == epochs[1]) == kind.startswith("SEQUENTIAL")


def test_two_loaders_at_once(name):
    one = Loader(name, 10, num_workers=2, order=OrderOption.RANDOM, seed=1)
    other = Loader(name, 10, num_workers=3, order=OrderOption.RANDOM, seed=1)
    for _ in range(3):
        for (a, _), (b, _) in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_a_training_and_a_test_loader_in_threads(name):
    loaders = [Loader(name, 7, num_workers=2, drop_last=False) for _ in range(3)]
    found = [None] * 3

    def run(number):
        found[number] = [numbers_of(loaders[number]) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[list(range(SAMPLES))] * 5] * 3


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux says what is resident")
@pytest.mark.parametrize("os_cache", [True, False])
def test_memory_stays_where_it_is(tmp_path, os_cache):
    """Epoch after epoch, and loader after loader: nothing stays behind."""
    blob = np.arange(100_000, dtype=np.uint8)
    writer = DatasetWriter(tmp_path / "b.beton", {"b": BytesField()}, num_workers=1)
    writer.from_indexed_dataset([(blob,) for _ in range(60)])

    def load(epochs):
        loader = Loader(
            tmp_path / "b.beton", 10, num_workers=2, order=OrderOption.RANDOM, os_cache=os_cache
        )
        for _ in range(epochs):
            for (batch,) in loader:
                assert batch[0, 77] == 77

    load(10)
    before = resident_bytes()
    load(50)
    gc.disable()  # what only the garbage collector finds may stay for long
    try:
        for _ in range(20):
            load(1)
    finally:
        gc.enable()
    # One epoch is 6 MB, and what one loader has on its way another 5.
    assert resident_bytes() - before < 12_000_000


class AddOne(Operation):
    """Compiled, in place."""

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, jit_mode=True), None

    def generate_code(self):
        my_range = Compiler.get_iterator()

        def add(batch, _):
            for i in my_range(batch.shape[0]):
                batch[i] += 1
            return batch

        add.is_parallel = True
        return add


class Halve(Operation):
    """Python, into memory that it asked for, of another dtype."""

    def declare_state_and_memory(self, previous_state):
        state = replace(previous_state, jit_mode=False, dtype=np.dtype("float32"))
        return state, AllocationQuery(previous_state.shape, np.dtype("float32"))

    def generate_code(self):
        def halve(batch, destination):
            np.divide(batch, 2, out=destination[: len(batch)], casting="unsafe")
            return destination[: len(batch)]

        return halve


class MinusPosition(Operation):
    """Compiled, with the positions of the samples."""

    def declare_state_and_memory(self, previous_state):
        state = replace(previous_state, jit_mode=True)
        return state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        def subtract(batch, destination, indices):
            for i in range(len(indices)):
                destination[i] = batch[i] - indices[i]
            return destination[: len(indices)]

        subtract.with_indices = True
        return subtract


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("recompile", [True, False])
def test_from_compiled_to_python_and_back(name, enabled, recompile):
    steps = [IntDecoder(), AddOne(), Halve(), MinusPosition(), ToTensor(), Squeeze(1)]
    Compiler.set_enabled(enabled)
    try:
        loader = Loader(
            name, 10, num_workers=2, drop_last=False, recompile=recompile,
            pipelines={"index": steps, "value": None}, order=OrderOption.RANDOM, seed=2,
        )  # fmt: skip
        plain = Loader(
            name, 10, order=OrderOption.RANDOM, seed=2, drop_last=False, pipelines={"value": None}
        )
        for _ in range(2):
            for (found,), (index,) in zip(loader, plain, strict=True):
                assert found.dtype == torch.float32
                index = index.ravel()
                torch.testing.assert_close(found, ((index + 1) / 2 - index).float())
    finally:
        Compiler.set_enabled(True)

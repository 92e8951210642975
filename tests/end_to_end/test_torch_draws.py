"""What torch draws in steps: fixed by the seed, and apart from what the training loop draws."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.loader.orders import TraversalOrder
from ffcv.pipeline import AllocationQuery, Operation, SampleOperation, kernel
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

SAMPLES, BATCH, WIDTH = 30, 4, 8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("draws") / "rows.beton"
    fields = {
        "x": NDArrayField(np.dtype("f4"), (WIDTH,)),
        "y": NDArrayField(np.dtype("f4"), (WIDTH,)),
    }
    rows = [(np.full(WIDTH, 1 + i, "f4"), np.full(WIDTH, 1 + i, "f4")) for i in range(SAMPLES)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(rows)
    return path


class Noise(torch.nn.Module):
    def forward(self, x):
        return x + torch.rand(x.shape)


def add_noise(batch):
    return batch + torch.rand_like(batch)


def add_noise_to_arrays(batch):
    return batch + torch.rand(batch.shape).numpy()


class BatchNoise(Operation):
    """In the style of FFCV 1.x: a function of Python that works with torch, on arrays."""

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, jit_mode=False), None

    def generate_code(self):
        def noise(batch, memory):
            return batch + torch.rand(batch.shape).numpy()

        return noise


class SharedNoise(BatchNoise):
    """Draws once for a batch, wherever it stands."""

    compiled = False

    def declare_shared_memory(self, previous_state):
        return AllocationQuery((WIDTH,), np.dtype("f4"))

    def generate_code(self):
        return lambda batch, memory, shared: batch + shared

    def generate_code_for_shared_state(self):
        def fill(shared):
            shared[:] = torch.rand(shared.shape).numpy()

        return fill


class NoisyDecoder(Operation):
    """A decoder in the style of FFCV 1.x that draws."""

    compiled = False

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, shape=(WIDTH,), dtype=np.dtype("f4")), None

    def generate_code(self):
        return lambda ids, memory, metadata, storage: torch.rand(len(ids), WIDTH).numpy()


class NoisyTensor(ToTensor):
    """Derives from an operation that draws nothing."""

    def generate_code(self):
        to_tensor = super().generate_code()
        return lambda batch, memory: add_noise(to_tensor(batch, memory))


PIPELINES = {
    "module": lambda: [NDArrayDecoder(), ToTensor(), Noise()],
    "dropout": lambda: [NDArrayDecoder(), ToTensor(), torch.nn.Dropout(0.5)],
    "sequence": lambda: [NDArrayDecoder(), ToTensor(), torch.nn.Sequential(Noise(), Noise())],
    "function": lambda: [NDArrayDecoder(), ToTensor(), add_noise],
    "function of arrays": lambda: [NDArrayDecoder(), add_noise_to_arrays],
    "batch operation": lambda: [NDArrayDecoder(), BatchNoise(), ToTensor()],
    "shared memory": lambda: [NDArrayDecoder(), SharedNoise(), ToTensor()],
    "decoder": lambda: [NoisyDecoder(), ToTensor()],
    "derived": lambda: [NDArrayDecoder(), NoisyTensor()],
}


def epochs(path, name, *, workers=1, ahead=3, jit=True, seed=3, count=2, between=lambda: None):
    """All batches of the first epochs, each epoch as one tensor."""
    pipelines = {"x": PIPELINES[name](), "y": None}
    with Loader(path, BATCH, workers, seed=seed, order=OrderOption.RANDOM, drop_last=False,
                pipelines=pipelines, batches_ahead=ahead, jit=jit) as loader:  # fmt: skip
        found = []
        for _ in range(count):
            batches = []
            for (x,) in loader:
                batches.append(torch.as_tensor(x).clone())
                between()
            found.append(torch.cat(batches))
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_one_seed_fixes_what_steps_draw(path, name):
    first, second = epochs(path, name)
    for workers, ahead, jit in [(1, 1, True), (2, 3, True), (2, 1, False), (1, 3, False)]:
        torch.manual_seed(workers)
        again = epochs(path, name, workers=workers, ahead=ahead, jit=jit)
        assert torch.equal(first, again[0])
        assert torch.equal(second, again[1])
    (other,) = epochs(path, name, seed=4, count=1)
    assert not torch.equal(first.sort(0).values, second.sort(0).values)
    assert not torch.equal(first.sort(0).values, other.sort(0).values)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["module", "dropout", "batch operation"])
def test_the_training_loop_keeps_its_own_sequence(path, name, workers):
    quiet = epochs(path, name)
    torch.manual_seed(11)
    expected = [torch.rand(5) for _ in range(200)]
    torch.manual_seed(11)
    drawn, stop = [], threading.Event()

    def draw():
        while len(drawn) < 200 and not stop.is_set():
            drawn.append(torch.rand(5))

    trainer = threading.Thread(target=draw)  # draws all the time, whatever the loader does
    trainer.start()
    loud = epochs(path, name, workers=workers)
    trainer.join()
    stop.set()
    assert all(map(torch.equal, drawn, expected))
    assert all(map(torch.equal, quiet, loud))
    torch.manual_seed(11)
    ours = []
    loud = epochs(path, name, workers=workers, between=lambda: ours.append(torch.rand(5)))
    assert all(map(torch.equal, ours, expected))
    assert all(map(torch.equal, quiet, loud))


def test_batches_draw_differently_also_if_they_begin_alike(path):
    pipelines = {"x": [NDArrayDecoder(), ToTensor(), Noise()], "y": None}
    with Loader(path, 2, 1, seed=3, indices=[0, 1, 0, 2], pipelines=pipelines) as loader:
        (first,), (second,) = loader
    assert not torch.equal(first[0], second[0])


def test_one_instance_draws_the_same_in_all_its_places(path):
    def draws(step, other):
        pipelines = {
            "x": [NDArrayDecoder(), ToTensor(), step],
            "y": [NDArrayDecoder(), ToTensor(), other],
        }
        with Loader(path, BATCH, 2, seed=3, pipelines=pipelines) as loader:
            return all(torch.equal(x, y) for x, y in loader)

    noise = Noise()
    assert draws(noise, noise)
    assert not draws(noise, Noise())


def test_an_epoch_by_its_number_draws_the_same(path):
    _, second = epochs(path, "module")
    pipelines = {"x": PIPELINES["module"](), "y": None}
    with Loader(path, BATCH, 2, seed=3, order=OrderOption.RANDOM, drop_last=False,
                pipelines=pipelines) as loader:  # fmt: skip
        loader.set_epoch(1)
        assert torch.equal(second, torch.cat([x for (x,) in loader]))


def test_the_plan_says_that_steps_draw_for_whole_batches(path):
    for name in PIPELINES:
        with Loader(path, BATCH, 1, pipelines={"x": PIPELINES[name](), "y": None}) as loader:
            assert loader.explain().count("draws once for the whole batch") == 1
    steps = [NDArrayDecoder(), ToTensor()]
    with Loader(path, BATCH, 1, pipelines={"x": steps, "y": None}) as loader:
        assert "draws" not in loader.explain()


def test_each_sample_can_be_given_draws_of_its_own(path):
    """What the guide recommends."""

    def each(batch):
        return torch.stack([sample * torch.randint(1, 1000, ()) for sample in batch])

    def factors(workers):
        pipelines = {"x": [NDArrayDecoder(), ToTensor(), each], "y": [NDArrayDecoder(), ToTensor()]}
        with Loader(path, SAMPLES, workers, seed=3, pipelines=pipelines) as loader:
            ((x, y),) = loader
        return (x / y)[:, 0]

    assert len(factors(1).unique()) > SAMPLES // 2
    assert torch.equal(factors(1), factors(2))


def test_torchvisions_transforms_draw_from_the_seed(path):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    steps = [v2.RandomHorizontalFlip(), v2.RandomErasing(1.0), v2.GaussianNoise(), v2.RandAugment()]

    def turn(batch):
        images = batch.repeat_interleave(8, 1).reshape(-1, 1, 8, 8).repeat(1, 3, 1, 1)
        images = images / 100
        for step in steps[:3]:
            images = step(images)
        return steps[3]((images.clamp(0, 1) * 255).byte())

    def found(workers, seed=3):
        pipelines = {"x": [NDArrayDecoder(), ToTensor(), turn], "y": None}
        with Loader(path, BATCH, workers, seed=seed, pipelines=pipelines) as loader:
            return torch.cat([x for (x,) in loader])

    before = torch.get_rng_state()
    first = found(1)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    assert torch.equal(first, found(2))
    assert not torch.equal(first, found(2, seed=4))


class Shift(NamedTuple):
    value: float


@kernel
def shift(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] + params.value


class DrawnShift(SampleOperation):
    """Draws its parameters, anew for each epoch."""

    kernel = staticmethod(shift)

    def declare(self, state):
        return state

    def params(self):
        return Shift(float(torch.rand(())))


class DrawnCode(Operation):
    """Draws when it generates its code."""

    compiled = False

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        shift = float(torch.rand(()))
        return lambda batch, memory: batch + shift


class DrawnOrder(TraversalOrder):
    visits_all = True

    def sample_order(self, epoch):
        return self.indices[torch.randperm(len(self.indices)).numpy()]


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("order", [OrderOption.SEQUENTIAL, DrawnOrder])
@pytest.mark.parametrize("step", [None, DrawnShift, DrawnCode])
def test_what_is_drawn_before_a_pass_follows_from_the_seed(path, step, order, jit):
    if step is None and order is OrderOption.SEQUENTIAL:
        pytest.skip("nothing is drawn")

    def passes(seed):
        steps = [NDArrayDecoder(), *([] if step is None else [step()])]
        with Loader(path, BATCH, 1, order=order, seed=seed, pipelines={"x": steps, "y": None},
                    jit=jit, drop_last=False) as loader:  # fmt: skip
            return [np.concatenate([x for (x,) in loader]) for _ in range(2)]

    state = torch.manual_seed(5).get_state()
    first, second = passes(3)
    torch.rand(3)
    for one, other in zip((first, second), passes(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first, passes(4)[0])
    assert np.array_equal(first, second) == (step is DrawnCode and order is OrderOption.SEQUENTIAL)
    torch.manual_seed(5)
    passes(3)
    assert torch.equal(torch.get_rng_state(), state)

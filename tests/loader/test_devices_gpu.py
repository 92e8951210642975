"""Batches on real CUDA devices; :mod:`test_device_copies` tests the protocol on simulated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from loader_support import run_python, wait_until

from ffcv.fields import NDArrayField
from ffcv.fields.decoders import CenterCropRGBImageDecoder, NDArrayDecoder
from ffcv.loader import Loader, OrderOption, device_copies
from ffcv.pipeline import AllocationQuery, Operation
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.transforms import NormalizeImage, ToDevice, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda", 0)
SHAPE, BATCH, SAMPLES = (256, 1024), 8, 48
BATCH_NBYTES = 4 * BATCH * 256 * 1024
SOME_MILLISECONDS = 10_000_000  # in cycles of the device

two_devices = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Samples of 1 MB, whose copies take a while; all values of sample ``i`` are ``i``."""
    path = tmp_path_factory.mktemp("devices") / "arrays.beton"
    samples = [(np.full(SHAPE, i, np.float32),) for i in range(SAMPLES)]
    field = NDArrayField(np.dtype("float32"), SHAPE)
    DatasetWriter(path, {"x": field}, num_workers=0).from_indexed_dataset(samples)
    return path


def make_loader(path, *steps, **others):
    pipelines = {"x": [NDArrayDecoder(), *steps], **others}
    return Loader(path, BATCH, num_workers=3, order=OrderOption.RANDOM, seed=5, pipelines=pipelines)


@pytest.fixture(scope="module")
def expected(arrays):
    """The first value of each sample, batch by batch, of two epochs on the CPU."""
    with make_loader(arrays, ToTensor()) as loader:
        return [x[:, 0, 0].tolist() for _ in range(2) for (x,) in loader]


def extremes(x):
    """Least and greatest value of each sample, computed where it is."""
    x = x.flatten(1)
    return torch.stack([x.amin(1), x.amax(1)])


def check(found, expected):
    torch.cuda.synchronize()
    for pair, values in zip(found, expected, strict=True):
        assert pair.tolist() == [values, values]


class Slow(torch.nn.Module):
    """Holds up the stream that it runs on."""

    def forward(self, batch):
        torch.cuda._sleep(SOME_MILLISECONDS)
        return batch


class Scale(torch.nn.Module):
    """A module with a parameter, which is 1."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return self.scale * batch


class Upload(Operation):
    """An operation of FFCV 1.x that copies by itself, into memory that it asked for or not."""

    compiled = False

    def __init__(self, with_memory):
        self.with_memory = with_memory

    def declare_state_and_memory(self, previous_state):
        state = replace(previous_state, jit_mode=False, device=DEVICE, dtype=torch.float32)
        query = AllocationQuery(previous_state.shape, torch.float32, DEVICE)
        return state, query if self.with_memory else None

    def generate_code(self):
        def upload(batch, memory):
            batch = torch.as_tensor(batch)
            if memory is None:
                return batch.to(DEVICE, non_blocking=True)
            return memory[: len(batch)].copy_(batch, non_blocking=True)

        return upload


class Download(Upload):
    """Comes back without waiting."""

    def __init__(self):
        super().__init__(False)

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, device="cpu"), None

    def generate_code(self):
        return lambda batch, memory: batch.to("cpu", non_blocking=True)


PLACES = {
    "after ToTensor": lambda: [ToTensor(), ToDevice(DEVICE)],
    "waiting": lambda: [ToTensor(), ToDevice(DEVICE, non_blocking=False)],
    "after modules": lambda: [ToTensor(), torch.nn.ReLU(), torch.neg, torch.neg, ToDevice(0)],
    "before modules": lambda: [ToTensor(), ToDevice("cuda"), Scale().cuda()],
    "twice": lambda: [ToTensor(), ToDevice(0), ToDevice("cpu"), torch.nn.ReLU(), ToDevice(0)],
    "by itself": lambda: [ToTensor(), Upload(False)],
    "by itself, from arrays": lambda: [Upload(False)],
    "into memory": lambda: [ToTensor(), Upload(True)],
    "and back by itself": lambda: [ToTensor(), Upload(False), Download(), ToDevice(0)],
    "undeclared": lambda: [ToTensor(), lambda batch: batch.cuda(non_blocking=True)],
}


@pytest.mark.parametrize("slow", ["loader", "training", "neither"])
@pytest.mark.parametrize("place", PLACES)
def test_every_batch_arrives(arrays, expected, place, slow):
    found = []
    with make_loader(arrays, *PLACES[place](), *[Slow()] * (slow == "loader")) as loader:
        for _ in range(2):
            for (x,) in loader:
                if slow == "training":
                    torch.cuda._sleep(SOME_MILLISECONDS)
                assert x.device == DEVICE
                found.append(extremes(x))
                del x
        check(found, expected)


def test_batches_that_are_kept_never_change(arrays, expected):
    with make_loader(arrays, ToTensor(), ToDevice(DEVICE), Slow()) as loader:
        kept = [x for _ in range(2) for (x,) in loader]
        check([extremes(x) for x in kept], expected)


def test_whoever_fetches_may_have_a_stream_of_his_own(arrays, expected):
    found = []
    with (
        make_loader(arrays, ToTensor(), ToDevice(DEVICE), Slow()) as loader,
        torch.cuda.stream(torch.cuda.Stream()),
    ):
        for _ in range(2):
            for (x,) in loader:
                torch.cuda._sleep(SOME_MILLISECONDS)
                found.append(extremes(x))
                del x
        check(found, expected)


def test_what_is_copied_is_page_locked(arrays):
    found = []

    def look(batch):
        found.append(batch.is_pinned())
        return batch

    with make_loader(arrays, ToTensor(), look, ToDevice(DEVICE)) as loader:
        list(loader)
    assert found == [True] * (SAMPLES // BATCH)


def test_copies_run_while_the_training_does(arrays):
    streams, copied = set(), []

    def look(batch):
        streams.add(torch.cuda.current_stream())
        copied.append(torch.cuda.current_stream().record_event())
        return batch

    with make_loader(arrays, ToTensor(), ToDevice(DEVICE), look) as loader:
        list(loader)  # what is made at first use may keep a device waiting
        copied.clear()
        iterator = iter(loader)
        torch.cuda._sleep(300 * SOME_MILLISECONDS)
        assert wait_until(lambda: len(copied) >= 2 and all(event.query() for event in copied))
        assert not torch.cuda.current_stream().query()
        del iterator
    assert len(streams) == 1
    assert torch.cuda.current_stream() not in streams
    torch.cuda.synchronize()


def test_device_memory_is_bounded_where_nobody_waits(arrays):
    with make_loader(arrays, ToTensor(), ToDevice(DEVICE)) as loader:
        list(loader)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_stats()["active_bytes.all.current"]
        for _ in range(5):
            for (x,) in loader:
                torch.cuda._sleep(5 * SOME_MILLISECONDS)
                x.sum()
                del x
        peak = torch.cuda.memory_stats()["active_bytes.all.peak"] - before
        assert peak <= (2 * loader.batches_ahead + 4) * BATCH_NBYTES
        torch.cuda.synchronize()


def test_leaving_early_frees_the_memory(arrays):
    allocated = torch.cuda.memory_allocated()
    with make_loader(arrays, ToTensor(), ToDevice(DEVICE)) as loader:
        for _ in range(200):
            next(iter(loader))
        assert wait_until(lambda: torch.cuda.memory_allocated() <= allocated)
        assert wait_until(lambda: not device_copies._under_way)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        reserved = torch.cuda.memory_reserved()
        for _ in range(200):
            next(iter(loader))
        assert torch.cuda.memory_reserved() - reserved <= 4 * loader.batches_ahead * BATCH_NBYTES


class Greedy(Upload):
    """Asks for more memory than any device has, until told otherwise."""

    def __init__(self):
        super().__init__(True)
        self.amount = 1 << 45

    def declare_state_and_memory(self, previous_state):
        state, _ = super().declare_state_and_memory(previous_state)
        return state, AllocationQuery((self.amount,), torch.uint8, DEVICE)

    def generate_code(self):
        return lambda batch, memory: batch.to(DEVICE, non_blocking=True)


class GreedyModule(torch.nn.Module):
    """Takes more memory than any device has, until told otherwise."""

    amount = 1 << 45

    def forward(self, batch):
        batch = batch.to(DEVICE, non_blocking=True)
        torch.empty(self.amount, dtype=torch.uint8, device=DEVICE)
        return batch


@pytest.mark.parametrize("greedy", [Greedy, GreedyModule])
def test_an_error_of_the_device_names_its_place(arrays, expected, greedy):
    step = greedy()
    with make_loader(arrays, ToTensor(), step, ToDevice(DEVICE)) as loader:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            next(iter(loader))
        assert "output 'x', step 3" in caught.value.__notes__[0]
        step.amount = 1
        check([extremes(x) for (x,) in loader], expected[SAMPLES // BATCH :])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_images_are_normalized_on_the_device(mixed, dtype):
    def images(*steps):
        pipeline = [CenterCropRGBImageDecoder((16, 16), 1.0), ToTensor(), *steps, torch.nn.ReLU()]
        pipelines = {"image": pipeline, "array": None, "label": None}
        with Loader(mixed, 10, num_workers=3, pipelines=pipelines) as loader:
            return torch.cat([image.cpu() for (image,) in loader])

    normalize = NormalizeImage([120.0, 110.0, 100.0], [60.0, 50.0, 40.0], dtype)
    on_host = images(ToTorchImage(), normalize)
    assert torch.equal(images(ToDevice(0), ToTorchImage(), normalize), on_host)
    assert torch.equal(images(ToTorchImage(), ToDevice(0), normalize), on_host)


@two_devices
def test_outputs_on_two_devices(arrays, expected):
    second = torch.device("cuda", 1)
    one = [ToTensor(), ToDevice(DEVICE), Slow()]
    other = PipelineSpec("x", NDArrayDecoder(), [ToTensor(), ToDevice(second)])
    across = PipelineSpec("x", NDArrayDecoder(), [ToTensor(), ToDevice(0), Slow(), ToDevice(1)])
    found = {"x": [], "other": [], "across": []}
    with make_loader(arrays, *one, other=other, across=across) as loader:
        for _ in range(2):
            for batch in loader:
                for name, x in zip(found, batch, strict=True):
                    found[name].append(extremes(x))
                del batch, x
        torch.cuda.synchronize(second)
        for values in found.values():
            check(values, expected)


@two_devices
def test_no_context_is_made_on_another_device(arrays):
    done = run_python(f"""
        import torch
        from ffcv.fields.decoders import NDArrayDecoder
        from ffcv.loader import Loader
        from ffcv.transforms import ToDevice, ToTensor

        steps = [NDArrayDecoder(), ToTensor(), ToDevice(1), torch.nn.ReLU()]
        with Loader({str(arrays)!r}, 8, num_workers=2, pipelines={{"x": steps}}) as loader:
            for _ in range(2):
                for (x,) in loader:
                    assert x.device.index == 1
                    x.sum().item()
            next(iter(loader))
        print([torch._C._cuda_hasPrimaryContext(device) for device in (0, 1)])
    """)
    assert done.stdout.strip() == "[False, True]", done.stderr


def test_a_forked_child_loads_without_the_device(arrays):
    done = run_python(f"""
        import os
        import torch
        from ffcv.fields.decoders import NDArrayDecoder
        from ffcv.loader import Loader
        from ffcv.transforms import ToDevice, ToTensor

        steps = [NDArrayDecoder(), ToTensor()]
        on_host = Loader({str(arrays)!r}, 8, num_workers=2, pipelines={{"x": steps}})
        steps = [*steps, ToDevice(0)]
        loader = Loader({str(arrays)!r}, 8, num_workers=2, pipelines={{"x": steps}})
        running = iter(loader)
        next(running)
        child = os.fork()
        if child == 0:
            del running
            os._exit(0 if len(list(on_host)) == 6 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(running)) == 5
        print("end")
    """)
    assert done.stdout.strip() == "end", done.stderr


class Noise(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5) + torch.rand(x.shape, device=x.device)


def test_draws_on_a_device_follow_from_the_seed_and_leave_its_generator_alone(arrays):
    def values(path, workers):
        pipelines = {"x": [NDArrayDecoder(), ToTensor(), ToDevice(DEVICE), Noise()]}
        with Loader(path, BATCH, workers, seed=5, pipelines=pipelines) as loader:
            return [x.sum((1, 2)).cpu() for _ in range(2) for (x,) in loader]

    torch.cuda.manual_seed(1)
    before = torch.cuda.get_rng_state(DEVICE)
    first = values(arrays, 1)
    assert torch.equal(before, torch.cuda.get_rng_state(DEVICE))
    torch.rand(3, device=DEVICE)
    assert all(map(torch.equal, first, values(arrays, 2)))
    assert not torch.equal(first[0], first[len(first) // 2])

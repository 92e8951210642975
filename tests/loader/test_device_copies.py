"""Batches that are made on devices and passed on. The devices are simulated."""

from __future__ import annotations

import functools
import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from loader_support import NUM_SAMPLES, run_python, wait_until
from simulated_cuda import DeviceTensor, Step, simulate

from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader, OrderOption, device_copies
from ffcv.loader.device_copies import StreamPool, cuda_device
from ffcv.loader.memory import BufferPool
from ffcv.pipeline import AllocationQuery, Operation, State
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.transforms import ToTensor

ONE, TWO = torch.device("cuda", 0), torch.device("cuda", 1)
INTEGERS = AllocationQuery((1,), np.dtype("int64"))
EPOCH = list(range(NUM_SAMPLES))
SEEDS = [None, 0, 1, 2, 3]


@pytest.fixture
def simulated(monkeypatch):
    """``simulated(seed)`` puts a simulation in the place of ``torch.cuda``."""

    yield functools.partial(simulate, monkeypatch)
    assert wait_until(lambda: not device_copies._under_way)


class Decoder(Operation):
    """A decoder of whole batches that leaves them on a device."""

    compiled = False

    def __init__(self, cuda):
        self.cuda = cuda

    def declare_state_and_memory(self, previous_state):
        return State(False, ONE, (1,), torch.int64), INTEGERS

    def generate_code(self):
        def decode(indices, memory, metadata, storage_state):
            memory[:, 0] = indices
            return self.cuda.to_device(memory)

        return decode


class Steps:
    """Steps on simulated devices, and on memory of the host that is used again at once."""

    def __init__(self, cuda):
        self.cuda = cuda
        self.pool = BufferPool((10, 1), np.dtype("int64"), keep=8)

    def upload(self, device=ONE):
        return Step(lambda batch, memory: self.cuda.to_device(batch), device)

    def upload_memory(self):
        def run(batch, memory):
            memory[:] = batch
            return self.cuda.to_device(memory)

        return Step(run, ONE, INTEGERS)

    def upload_several(self):
        def run(batch, memory):
            return [self.cuda.to_device(batch), {"more": (self.unpinned(batch + 7),)}]

        return Step(run, ONE)

    def unpinned(self, batch):
        return self.cuda.to_device(batch, pinned=False)

    def download(self):
        return Step(lambda batch, memory: self.cuda.to_host(batch))

    def add(self, number):
        def run(batch, memory):
            result = self.pool.take(len(batch))
            return np.add(batch, number, result)

        return Step(run)

    def add_on_device(self, constant):
        def run(batch, memory):
            result = self.cuda.empty(batch.memory)
            self.cuda.kernel(np.add, batch, constant, result)
            return result

        return Step(run, ONE)


class Training:
    """A training loop: it only queues kernels that read the batches."""

    def __init__(self, cuda):
        self.cuda, self.seen = cuda, []

    def read(self, value):
        if not isinstance(value, DeviceTensor):
            self.seen.append(value.copy())
            return
        result = np.full_like(value.memory, -1)
        self.cuda.kernel(lambda values: np.copyto(result, values), value)
        self.seen.append(result)

    def values(self):
        self.cuda.run_all()
        return np.concatenate(self.seen).ravel().tolist()


PIPELINES = {
    "at once": lambda s: [IntDecoder(), s.upload()],
    "from the operation's memory": lambda s: [IntDecoder(), s.upload_memory()],
    "after other steps": lambda s: [IntDecoder(), s.add(5), s.add(-5), s.upload()],
    "twice": lambda s: [IntDecoder(), s.upload(), s.download(), s.add(3), s.add(-3), s.upload()],
    "to two devices": lambda s: [IntDecoder(), s.upload(), s.download(), s.add(0), s.upload(TWO)],
    "there and back": lambda s: [IntDecoder(), s.upload(), s.download()],
    "by the decoder": lambda s: [Decoder(s.cuda)],
    "undeclared": lambda s: [IntDecoder(), ToTensor(), s.unpinned],
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_batch_arrives(numbers, simulated, pipeline, seed):
    cuda = simulated(seed)
    training, steps = Training(cuda), PIPELINES[pipeline](Steps(cuda))
    with Loader(numbers, 10, num_workers=2, pipelines={"n": steps}) as loader:
        for _ in range(3):
            for (batch,) in loader:
                training.read(batch)
                del batch
        assert training.values() == 3 * EPOCH


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_on_several_devices_and_in_containers(numbers, simulated, seed):
    cuda = simulated(seed)
    steps, training = Steps(cuda), [Training(cuda) for _ in range(5)]
    pipelines = {
        "n": [IntDecoder(), steps.upload()],
        "other": PipelineSpec("n", IntDecoder(), [steps.upload(TWO)]),
        "several": PipelineSpec("n", IntDecoder(), [steps.upload_several()]),
        "host": PipelineSpec("n", IntDecoder(), [steps.add(0)]),
    }
    with Loader(numbers, 10, num_workers=3, pipelines=pipelines) as loader:
        for n, other, several, host in loader:
            for reader, value in zip(
                training, [n, other, several[0], several[1]["more"][0], host], strict=True
            ):
                reader.read(value)
            del n, other, several, host, value
        assert training[3].values() == [i + 7 for i in EPOCH]
        assert [reader.values() for reader in training[:3]] == [EPOCH] * 3
        assert training[4].values() == EPOCH


def test_batches_that_are_kept_never_change(numbers, simulated):
    cuda = simulated(0)
    training, kept = Training(cuda), []
    pipelines = {"n": [IntDecoder(), Steps(cuda).upload()]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        for _ in range(5):
            kept += [batch for (batch,) in loader]
        for batch in kept:
            training.read(batch)
        assert training.values() == 5 * EPOCH


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pipeline", ["at once", "undeclared"])
def test_whoever_fetches_may_have_a_stream_of_his_own(numbers, simulated, pipeline, seed):
    cuda = simulated(seed)
    training, steps = Training(cuda), PIPELINES[pipeline](Steps(cuda))
    own = cuda.Stream(ONE)
    with Loader(numbers, 10, num_workers=2, pipelines={"n": steps}) as loader, cuda.stream(own):
        for (batch,) in loader:
            training.read(batch)
            del batch
        assert training.values() == EPOCH


@pytest.mark.parametrize("seed", SEEDS)
def test_stages_see_what_was_asked_for_before_the_pass(numbers, simulated, seed):
    cuda = simulated(seed)
    training, steps = Training(cuda), Steps(cuda)
    weight = cuda.empty(np.zeros((10, 1), np.int64))
    pipelines = {"n": [IntDecoder(), steps.upload(), steps.add_on_device(weight)]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        for number in (3, 4):
            cuda.kernel(lambda values, number=number: np.copyto(values, number), weight)
            for (batch,) in loader:
                training.read(batch)
        assert training.values() == [i + 3 for i in EPOCH] + [i + 4 for i in EPOCH]


def test_the_order_in_which_a_device_is_asked(numbers, simulated):
    cuda = simulated(0)
    pipelines = {"n": [IntDecoder(), Steps(cuda).upload()]}
    default, fetched = cuda.current_stream(ONE), []
    with Loader(numbers, 50, num_workers=1, pipelines=pipelines, batches_ahead=1) as loader:
        for batch in loader:
            fetched.append(batch)
    (side,) = [stream for stream in cuda.streams if stream is not default]
    on_side = [name for name, stream in cuda.log if stream is side]
    on_default = [name for name, stream in cuda.log if stream is default]
    assert on_side == ["wait", "copy", "record", "copy", "record"]
    assert on_default == ["record", "wait", "mark", "record", "wait", "mark", "record"]


def test_a_loader_keeps_its_stream(numbers, simulated):
    cuda = simulated(0)
    pipelines = {"n": [IntDecoder(), Steps(cuda).upload()]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        for _ in range(20):
            next(iter(loader))
        assert len(cuda.streams) == 2


def test_the_loader_waits_for_a_device_that_lags_behind(numbers, simulated):
    cuda = simulated()
    training, pipelines = Training(cuda), {"n": [IntDecoder(), Steps(cuda).upload()]}
    with Loader(numbers, 1, num_workers=1, pipelines=pipelines, batches_ahead=2) as loader:
        for (batch,) in loader:
            training.read(batch)
            del batch
        assert cuda.blocks <= 2 * loader.batches_ahead + 3
        assert training.values() == EPOCH


@pytest.mark.parametrize("leave", [False, True])
def test_memory_of_the_host_is_released_when_a_pass_is_over(numbers, simulated, leave):
    cuda = simulated()
    pipelines = {"n": [IntDecoder(), Steps(cuda).upload()]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        for _ in loader:
            if leave:
                break
        assert wait_until(lambda: not loader._engine._runs)
        assert wait_until(lambda: not device_copies._under_way)


def test_errors_name_their_place_and_free_everything(numbers, simulated):
    cuda = simulated()
    steps, training, copies = Steps(cuda), Training(cuda), []

    def fail_once(batch, memory):
        result = cuda.to_device(batch)
        if not copies:
            copies.extend([result, batch.copy()])
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result

    pipelines = {"n": [IntDecoder(), steps.add(0), Step(fail_once, ONE)]}
    random = {"order": OrderOption.RANDOM, "seed": 1}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines, **random) as loader:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            next(iter(loader))
        assert "output 'n', step 3 (Step)" in caught.value.__notes__[0]
        del caught
        gc.collect()
        assert wait_until(lambda: not device_copies._under_way)
        for (batch,) in loader:
            training.read(batch)
        assert sorted(training.values()) == EPOCH
        assert copies[0].memory.tolist() == copies[1].tolist()


def test_memory_that_cannot_be_had_names_its_place(numbers):
    too_much = AllocationQuery((1 << 60,), torch.uint8)
    steps = [IntDecoder(), Step(lambda batch, memory: batch, memory=too_much)]
    with Loader(numbers, 10, num_workers=1, pipelines={"n": steps}) as loader:
        with pytest.raises(RuntimeError) as caught:
            next(iter(loader))
        assert "output 'n', step 2 (Step)" in caught.value.__notes__[0]


def test_a_broken_device_is_no_reason_to_wait(numbers, simulated, monkeypatch):
    cuda = simulated(0)
    pipelines = {"n": [IntDecoder(), Steps(cuda).upload()]}

    def broken(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        next(iter(loader))
        for method in ("record", "query", "synchronize"):
            monkeypatch.setattr(type(cuda.Event()), method, broken)
        with pytest.raises(RuntimeError, match="illegal memory access"):
            list(loader)


def test_only_what_goes_on_to_a_device_is_page_locked(numbers, simulated):
    steps = Steps(simulated(0))
    pipelines = {
        "n": [IntDecoder(), steps.upload_memory()],
        "after others": PipelineSpec("n", IntDecoder(), [steps.add(0), steps.upload(TWO)]),
        "host": PipelineSpec(
            "n", IntDecoder(), [Step(lambda batch, memory: memory, "cpu", INTEGERS)]
        ),
    }
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        list(loader)
        found = [
            [node._memory and node._memory.pin_for for node in b] for b in loader._graph.branches
        ]
    assert found == [[ONE, ONE], [TWO, None, None], [None, None]]


class Untouchable:
    """A namespace ``torch.cuda`` of which only one thing may be asked."""

    def is_initialized(self):
        return False


def test_without_devices_nothing_of_cuda_is_touched(numbers, monkeypatch):
    monkeypatch.setattr(StreamPool, "cuda", Untouchable())
    pipelines = {"n": [IntDecoder(), ToTensor(), torch.neg]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        assert torch.cat([n for (n,) in loader]).ravel().tolist() == [-i for i in EPOCH]
        assert not device_copies._under_way


def test_arrays_need_no_torch(numbers):
    done = run_python(f"""
        import sys
        from ffcv.fields.decoders import IntDecoder
        from ffcv.loader import Loader
        loader = Loader({str(numbers)!r}, 10, num_workers=2, pipelines={{"n": [IntDecoder()]}})
        print(sum(int(n.sum()) for (n,) in loader), "torch" in sys.modules)
    """)
    assert done.stdout.split() == ["4950", "False"], done.stderr


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", None), (None, None), (torch.device("meta"), None), (True, None),
        ("cuda:1", TWO), (1, TWO), (torch.device("cuda:1"), TWO),
    ],
)  # fmt: skip
def test_what_is_a_cuda_device(device, expected):
    assert cuda_device(device) == expected


def test_a_batch_that_its_pass_does_not_wait_for_lets_go_as_well(numbers, simulated):
    cuda, begun, gate = simulated(), threading.Event(), threading.Event()

    def upload_late(batch, memory):
        begun.set()
        assert gate.wait(10)
        return cuda.to_device(batch)

    pipelines = {"n": [IntDecoder(), Step(upload_late, ONE)]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        iterator = iter(loader)
        assert begun.wait(10)
        its = iterator._streams
        del iterator
        assert wait_until(lambda: its._is_over)
        assert not device_copies._under_way
        gate.set()
        assert wait_until(lambda: cuda.blocks == 1)
        assert wait_until(lambda: not device_copies._under_way)


def test_streams_do_not_survive_a_fork(numbers):
    done = run_python(f"""
        import gc, os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from loader_support import wait_until
        from simulated_cuda import Cuda, Step
        from ffcv.errors import LoaderClosedError
        from ffcv.fields.decoders import IntDecoder
        from ffcv.loader import Loader, device_copies
        from ffcv.loader.memory import BufferPool

        cuda = device_copies.StreamPool.cuda = Cuda()
        BufferPool._pinned_buffer = lambda pool: np.empty(pool.nbytes, np.uint8)
        upload = Step(lambda batch, memory: cuda.to_device(batch), "cuda:0")
        loader = Loader(
            {str(numbers)!r}, 10, num_workers=2, pipelines={{"n": [IntDecoder(), upload]}},
            batches_ahead=1,
        )
        running = iter(loader)
        next(running)
        assert wait_until(lambda: running._run.outbox.qsize() == 1)
        asked = len(cuda.log)
        child = os.fork()
        if child == 0:
            try:
                next(running)
            except LoaderClosedError:
                del running
            gc.collect()
            if device_copies._under_way or len(cuda.log) != asked or len(cuda.streams) != 2:
                os._exit(1)
            batches = list(loader)
            os._exit(0 if len(batches) == 10 and len(cuda.streams) == 3 else 2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(running)) == 9
        print("end")
    """)
    assert done.stdout.strip() == "end", done.stderr

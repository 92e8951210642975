"""Threads, memory and global state: what a loader takes it gives back, and touches nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
from loader_support import NUM_SAMPLES, run_python, wait_until

from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor


def worker_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("ffcv-worker")]


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("tensors", [True, False])
def test_kept_batches_never_change(numbers, tensors):
    steps = [IntDecoder(), ToTensor()] if tensors else [IntDecoder()]
    with Loader(numbers, 1, num_workers=3, pipelines={"n": steps}) as loader:
        kept = [batch for _ in range(3) for (batch,) in loader]
    assert [int(batch[0, 0]) for batch in kept] == list(range(NUM_SAMPLES)) * 3


def test_a_view_keeps_its_batch_alive(numbers):
    with Loader(numbers, 50, num_workers=2, pipelines={"n": [IntDecoder()]}) as loader:
        views = []
        for (batch,) in loader:
            views.append(torch.from_numpy(batch[10:20, 0])[3:5])
            del batch
        for _ in range(5):
            list(loader)
    assert [view.tolist() for view in views] == [[13, 14], [63, 64]]


def test_memory_is_used_again_when_the_last_view_is_gone(numbers):
    with Loader(numbers, 50, num_workers=1, pipelines={"n": [IntDecoder()]}) as loader:
        addresses = {batch.ctypes.data for _ in range(100) for (batch,) in loader}
    assert len(addresses) <= loader.batches_ahead + 3


def test_leaving_early_ten_thousand_times(numbers):
    with Loader(numbers, 20, num_workers=2, order=OrderOption.RANDOM) as loader:
        for _ in range(500):
            next(iter(loader))
        threads, memory = threading.active_count(), resident_bytes()
        for _ in range(10_000):
            next(iter(loader))
        assert threading.active_count() == threads
        assert resident_bytes() - memory < 8_000_000


def test_an_early_leave_stops_the_work(numbers):
    calls = []

    def count(batch):
        calls.append(len(batch))
        return batch

    with Loader(
        numbers, 1, num_workers=2, pipelines={"n": [IntDecoder(), count]}, batches_ahead=3
    ) as loader:
        for _ in loader:
            break
        assert wait_until(lambda: not loader._engine._runs)
        after = len(calls)
        time.sleep(0.1)
        assert len(calls) == after <= 10


def test_two_passes_at_once(numbers):
    with Loader(numbers, 10, num_workers=2) as loader:
        pairs = [
            (a[0, 0].item(), b[0, 0].item()) for (a,), (b,) in zip(loader, loader, strict=True)
        ]
    assert pairs == [(10 * k, 10 * k) for k in range(10)]


def test_threads_end_with_the_loader(numbers):
    before = len(worker_threads())
    loader = Loader(numbers, 10, num_workers=3)
    assert len(worker_threads()) == before
    next(iter(loader))
    assert len(worker_threads()) == before + 3
    loader.close()
    assert wait_until(lambda: len(worker_threads()) == before)
    forgotten = Loader(numbers, 10, num_workers=3)
    next(iter(forgotten))
    del forgotten
    assert wait_until(lambda: len(worker_threads()) == before)


def test_no_global_state_changes(mixed):
    def state():
        return (
            torch.get_num_threads(),
            torch.random.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global one is watched
            dict(os.environ),
            torch.is_grad_enabled(),
        )

    before = state()
    pipelines = {"image": [RandomResizedCropRGBImageDecoder((8, 8))]}
    with Loader(mixed, 10, num_workers=2, order=OrderOption.RANDOM, pipelines=pipelines) as loader:
        list(loader)
    assert state() == before


def test_a_process_ends_while_a_loader_is_running(numbers):
    done = run_python(f"""
        from ffcv.loader import Loader
        loader = Loader({str(numbers)!r}, 1, num_workers=2)
        iterator = iter(loader)
        next(iterator)
        print("end")
    """)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "end", "")


def test_a_loader_that_outlives_all_modules_ends_without_a_word(numbers, tmp_path, monkeypatch):
    monkeypatch.setenv("FFCV_CACHE_DIR", str(tmp_path))  # what Numba compiles here holds it longest
    monkeypatch.setenv("FFCV_QUIET", "1")
    script = tmp_path / "program.py"
    code = f"""
        from ffcv.fields.decoders import IntDecoder
        from ffcv.loader import Loader
        from ffcv.pipeline import Operation

        class Double(Operation):
            def declare_state_and_memory(self, previous_state):
                return previous_state, None

            def generate_code(self):
                def double(batch, memory):
                    batch += batch
                    return batch

                return double

        loader = Loader({str(numbers)!r}, 10, 2, pipelines={{"n": [IntDecoder(), Double()]}})
        print(sum(int(batch.sum()) for (batch,) in loader))
    """
    script.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == NUM_SAMPLES * (NUM_SAMPLES - 1)


def test_a_forked_child_gets_threads_of_its_own(numbers):
    done = run_python(f"""
        import os, sys
        from ffcv.errors import LoaderClosedError
        from ffcv.loader import Loader
        loader = Loader({str(numbers)!r}, 10, num_workers=2)
        running = iter(loader)
        next(running)
        child = os.fork()
        if child == 0:
            try:
                next(running)
                os._exit(1)
            except LoaderClosedError:
                pass
            os._exit(0 if len(list(loader)) == 10 else 2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(running)) == 9
        print("end")
    """)
    assert done.stdout.strip() == "end", done.stderr


def test_beside_a_forked_torch_dataloader(numbers):
    done = run_python(f"""
        import torch
        from ffcv.loader import Loader
        loader = Loader({str(numbers)!r}, 10, num_workers=2)
        other = torch.utils.data.DataLoader(list(range(64)), batch_size=8, num_workers=2)
        for _ in range(3):
            pairs = list(zip(loader, other))
        print(len(pairs))
    """)
    assert done.stdout.strip() == "8", done.stderr


@pytest.mark.parametrize("batch_size", [8, 64])
def test_scratch_belongs_to_workers_not_to_samples(mixed, batch_size):
    pipelines = {"image": [RandomResizedCropRGBImageDecoder((32, 32))], "array": None}
    with Loader(mixed, batch_size, num_workers=2, pipelines=pipelines) as loader:
        per_batch = batch_size * (32 * 32 * 3 + 8)
        assert loader.memory.batches == per_batch * (loader.batches_ahead + 2)
        workers = loader.memory.workers
        list(loader)
    with Loader(mixed, 1, num_workers=2, pipelines=pipelines) as loader:
        assert loader.memory.workers == workers

"""What a loader counts, against what its consumer saw."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time

import numpy as np
import pytest
from loader_support import NUM_SAMPLES, Refuse, wait_until

from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.loader.metrics import LoaderMetrics, Stopwatch

NOTHING = {"batches": 0, "samples": 0, "skipped": 0, "nbytes": 0}


def counts(metrics: LoaderMetrics) -> dict[str, int]:
    return {name: value for name, value in metrics._asdict().items() if name in NOTHING}


def test_counts_are_of_what_was_delivered(mixed):
    with Loader(mixed, 30, drop_last=False, pipelines={"image": None}) as loader:
        assert counts(loader.metrics()) == NOTHING
        seen = [batch for _ in range(2) for batch in loader]
        nbytes = sum(output.nbytes for batch in seen for output in batch)
        expected = {"batches": 8, "samples": 200, "skipped": 0, "nbytes": nbytes}
        assert counts(loader.metrics()) == expected
    assert counts(loader.metrics()) == expected


def test_batches_made_ahead_do_not_count(numbers):
    with Loader(numbers, 10, batches_ahead=3) as loader:
        batches = iter(loader)
        next(batches)
        assert wait_until(lambda: loader.metrics().full_seconds > 0)
        assert counts(loader.metrics()) == {**NOTHING, "batches": 1, "samples": 10, "nbytes": 80}


@pytest.mark.parametrize("batch_size", [1, 10])
def test_what_is_left_out_counts_as_skipped(numbers, batch_size):
    pipelines = {"n": [IntDecoder(), Refuse(49)]}
    with Loader(numbers, batch_size, pipelines=pipelines, on_error="skip") as loader:
        with pytest.warns(RuntimeWarning):
            delivered = list(loader)
        metrics = loader.metrics()
    assert (metrics.batches, metrics.samples, metrics.skipped) == (len(delivered), 50, 50)


def test_a_slow_loop_shows_as_fullness_and_a_slow_loader_as_waiting(numbers):
    with Loader(numbers, 10) as loader:
        for _ in loader:
            time.sleep(0.02)
        slow_loop = loader.metrics()

    def slowly(batch):
        time.sleep(0.02)
        return batch

    with Loader(numbers, 10, pipelines={"n": [IntDecoder(), slowly]}, jit=False) as loader:
        list(loader)
        slow_loader = loader.metrics()
    assert slow_loop.full_seconds > slow_loop.wait_seconds
    assert slow_loader.wait_seconds > slow_loader.full_seconds
    assert slow_loader.work_seconds > 10 * 0.02
    assert slow_loader.wait_seconds < slow_loader.seconds


def test_differences_are_of_what_was_between(numbers):
    with Loader(numbers, 10) as loader:
        list(loader)
        before = loader.metrics()
        list(loader)
        done = loader.metrics() - before
    assert counts(done) == {"batches": 10, "samples": 100, "skipped": 0, "nbytes": 800}
    assert all(value >= 0 for value in done)


def test_workers_that_wait_are_idle_also_while_they_do(numbers):
    with Loader(numbers, 10, num_workers=2) as loader:
        assert loader.metrics().idle_seconds == 0
        list(loader)
        idle = loader.metrics().idle_seconds
        assert wait_until(lambda: loader.metrics().idle_seconds > idle + 0.05)


def test_no_number_gets_smaller_whoever_looks(numbers):
    """Exporters look from threads of their own, and take a smaller number for a new process."""
    found, over = [], threading.Event()

    def look(loader):
        while not over.is_set():
            found.append(loader.metrics())

    with Loader(numbers, 5, num_workers=2, batches_ahead=1) as loader:
        thread = threading.Thread(target=look, args=(loader,))
        thread.start()
        for number in range(20):
            batches = iter(loader)
            for _ in range(number):
                next(batches)
        over.set()
        thread.join()
        found.append(loader.metrics())
    rows = np.array(found)
    assert len(rows) > 10
    assert (np.diff(rows, axis=0) >= 0).all()
    assert found[-1].samples == found[-1].batches * 5 == sum(range(20)) * 5


@pytest.mark.parametrize(
    "made", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_begin_at_zero(numbers, made):
    with Loader(numbers, 10) as loader:
        list(loader)
        with made(loader) as other:
            assert counts(other.metrics()) == NOTHING
            assert other.metrics().seconds < loader.metrics().seconds
            list(other)
            assert counts(other.metrics()) == counts(loader.metrics())


def test_a_forked_child_begins_at_zero(numbers):
    with Loader(numbers, 10) as loader:
        list(loader)
        child = os.fork()
        if not child:
            os._exit(0 if counts(loader.metrics()) == NOTHING and len(list(loader)) == 10 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert loader.metrics().samples == NUM_SAMPLES


def test_what_a_closed_loader_did_can_still_be_asked(numbers):
    with Loader(numbers, 10) as loader:
        batches = iter(loader)
        next(batches)
        assert wait_until(lambda: loader.metrics().full_seconds > 0.01)
    closed = loader.metrics()
    assert closed.batches == 1
    assert closed.full_seconds > 0.01
    time.sleep(0.01)
    assert loader.metrics().full_seconds == closed.full_seconds


def test_a_stopwatch_that_never_ran_can_be_stopped():
    watch = Stopwatch()
    watch.stop()
    assert watch.seconds() == 0
    watch.start()
    assert wait_until(lambda: watch.seconds() > 0)
    watch.stop()
    assert watch.seconds() == watch.seconds()

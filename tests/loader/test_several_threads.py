"""Several threads on one loader: each batch once, and nobody waits for ever."""

from __future__ import annotations

import ctypes
import threading

import pytest
from loader_support import NUM_SAMPLES, Refuse, wait_until

from ffcv.errors import LoaderClosedError, SampleError
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline import Operation

THREADS = 5


def take_all(batches, threads=THREADS):
    """What each of several threads took from an iterator, and how it ended."""
    taken, ends = [[] for _ in range(threads)], [None] * threads

    def take(number):
        try:
            while True:
                taken[number] += next(batches)[0].ravel().tolist()
        except BaseException as error:
            ends[number] = error

    started = [threading.Thread(target=take, args=(i,), daemon=True) for i in range(threads)]
    for thread in started:
        thread.start()
    return started, taken, ends


def wait_for(threads, seconds=60):
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "it waits for ever"


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (7, 3), (NUM_SAMPLES, 2)])
def test_threads_share_the_batches_of_one_iterator(numbers, jit, batch_size, workers):
    with Loader(numbers, batch_size, workers, drop_last=False, jit=jit) as loader:
        for _ in range(5):
            batches = iter(loader)
            threads, taken, ends = take_all(batches)
            wait_for(threads)
            assert [type(error) for error in ends] == [StopIteration] * THREADS
            assert sorted(n for part in taken for n in part) == list(range(NUM_SAMPLES))
            with pytest.raises(StopIteration):
                next(batches)


def test_one_thread_gets_the_error_and_the_others_end(numbers):
    pipelines = {"n": [IntDecoder(), Refuse(57)]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        threads, taken, ends = take_all(iter(loader))
        wait_for(threads)
    assert sorted(n for part in taken for n in part) == list(range(50))
    kinds = [type(error) for error in ends]
    assert (kinds.count(SampleError), kinds.count(StopIteration)) == (1, THREADS - 1)


@pytest.mark.parametrize("passes", [1, 2])
def test_closing_wakes_all_threads(numbers, passes):
    is_working, go_on = threading.Event(), threading.Event()

    def hold(batch):
        is_working.set()
        go_on.wait(60)
        return batch

    loader = Loader(numbers, 10, num_workers=2, pipelines={"n": [IntDecoder(), hold]})
    waiting = [take_all(iter(loader), threads=3) for _ in range(passes)]
    is_working.wait(60)
    closing = threading.Thread(target=loader.close)
    closing.start()
    for threads, taken, ends in waiting:
        wait_for(threads)  # while the worker is still at work
        assert [type(error) for error in ends] == [LoaderClosedError] * 3
        assert taken == [[], [], []]
    go_on.set()
    wait_for([closing])


def test_a_pass_that_is_over_stays_so_when_the_loader_is_closed(numbers):
    loader = Loader(numbers, 50, num_workers=1)
    batches = iter(loader)
    assert len(list(batches)) == 2
    loader.close()
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(batches)


def test_closing_while_another_thread_prepares_a_pass(numbers):
    is_preparing, go_on = threading.Event(), threading.Event()

    class Slow(Operation):
        compiled = False

        def declare_state_and_memory(self, previous_state):
            return previous_state, None

        def generate_code(self):
            is_preparing.set()
            go_on.wait(60)
            return lambda batch, memory: batch

    loader, ends = Loader(numbers, 10, 2, pipelines={"n": [IntDecoder(), Slow()]}), []

    def use():
        try:
            ends.append(list(loader))
        except LoaderClosedError as error:
            ends.append(error)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    is_preparing.wait(60)
    loader.close()
    go_on.set()
    wait_for([thread])
    assert [type(end) for end in ends] == [LoaderClosedError]


def test_a_thread_that_was_interrupted_does_not_hold_up_the_others(numbers):
    """It may have taken a batch and gone before it could ask for another one to be started."""
    with Loader(numbers, 10, num_workers=1, batches_ahead=1) as loader:
        batches = iter(loader)
        run = batches._run
        assert wait_until(lambda: run.outbox.qsize() == 1)
        run.outbox.get()
        threads, taken, _ = take_all(batches)
        wait_for(threads)
    assert sorted(n for part in taken for n in part) == list(range(10, NUM_SAMPLES))


def test_a_worker_that_is_lost_is_an_error(numbers):
    """Some libraries enforce time limits by raising an exception in other threads."""
    loader = Loader(numbers, 10, num_workers=1, batches_ahead=1)
    batches = iter(loader)
    next(batches)
    (worker,) = loader._engine._threads
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert raise_in(ctypes.c_ulong(worker.ident), ctypes.py_object(SystemExit)) == 1
    threads, _, ends = take_all(batches)
    wait_for(threads)
    for error in ends:
        assert type(error) is RuntimeError
        assert "SystemExit" in str(error)
    with pytest.raises(RuntimeError, match="SystemExit"):
        iter(loader)
    loader.close()


def test_a_finalizer_may_close_the_loader_inside_the_engine(numbers):
    loader = Loader(numbers, 10, num_workers=1)
    batches = iter(loader)
    with loader._engine._lock:
        loader.close()
    threads, _, ends = take_all(batches, threads=1)
    wait_for(threads)
    assert type(ends[0]) is LoaderClosedError

"""Worker threads that take chunks of batches, oldest batch first.

An :class:`Engine` belongs to one loader. It knows batches, and learns all else about a pass over
the data from one object, the pass's :class:`~ffcv.loader.work.Work`. Batches are cut into chunks, a
few neighbouring slots each, so that all workers share the oldest batch and the first one comes
early. A batch whose data is on its way has its turn when the thread that gets it says that it is
ready. When a batch is complete, one worker finishes it (batch operations, in the order of the
batches) and hands it to the consumer.

Threads sleep on a ``SimpleQueue``, whose ``put`` is safe in finalizers: an iterator that is dropped
anywhere, also by the garbage collector, only leaves a message there.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ffcv.beton.source import Uncopyable
from ffcv.forking import in_forked_children
from ffcv.loader.metrics import Counters, LoaderMetrics, Stopwatch
from ffcv.loader.work import Batch, Work
from ffcv.pipeline.raising import described, is_signal, raise_instead

__all__ = ["Engine", "Run"]

_CHUNK_SECONDS = 0.002
"""How long a chunk should take: long enough that taking it costs nothing beside the work, also when
the training loop holds the interpreter for its switch interval of 5 ms."""

_STOP = object()
_LOOK = object()
_END: Any = object()


class Run(Uncopyable):
    """What an engine knows about one pass over the data."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.in_flight: deque[Batch] = deque()
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # (result, error), or _END
        self.is_finishing = False
        self.is_cancelled = False
        self.seconds_per_sample = 0.0
        self.full = Stopwatch()
        self._ending: Callable[[], BaseException] | None = None

    @property
    def is_over(self) -> bool:
        """Whether all batches that will ever come have been fetched."""
        return self.outbox.empty() and (self.is_cancelled or not self.in_flight)

    def end(self, ending: Callable[[], BaseException]) -> None:
        """Have every thread that waits for a batch, or asks for one later, raise ``ending()``."""
        if self._ending is None:
            self._ending = ending
        self.outbox.put(_END)

    def ended(self) -> BaseException:
        """What a thread that got the end of the pass raises; it is handed on to the next one."""
        assert self._ending is not None
        self.outbox.put(_END)
        return self._ending()

    def chunk_size(self, batch: Batch, workers: int) -> int:
        """How many slots to take: by measured time, but never more than a worker's share."""
        if self.work.needs_whole_batches:
            return len(batch.indices)
        share = max(1, len(batch.indices) // workers)
        if self.seconds_per_sample <= 0.0:
            return max(1, share // 4)
        return max(1, min(share, int(_CHUNK_SECONDS / self.seconds_per_sample)))

    def refill(self) -> bool:
        """Start batches until enough are on their way; says whether any was started."""
        started = False
        while len(self.in_flight) + self.outbox.qsize() < self.work.ahead and not self.is_cancelled:
            batch = self.work.next_batch()
            if batch is None:
                break
            self.in_flight.append(batch)
            started = True
        if started or not self.outbox.qsize():
            self.full.stop()
        return started


class Engine(Uncopyable):
    """Worker threads, started at first use and again after a fork.

    Attributes:
        counters: of what they do; a forked child begins with others.
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._closed: Callable[[], BaseException] | None = None
        self._reset()
        _engines.add(self)

    def _reset(self) -> None:
        # Finalizers run anywhere, also inside a locked section, and may close a loader.
        self._lock = threading.RLock()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._runs: list[Run] = []
        self._threads: list[threading.Thread] = []
        self.counters = Counters(self.num_workers)

    def metrics(self) -> LoaderMetrics:
        """What was counted so far; any thread may ask."""
        with self._lock:
            return self.counters.record(sum(run.full.seconds() for run in self._runs))

    def start(self, run: Run) -> None:
        """Begin to work on a pass.

        Raises:
            BaseException: what :meth:`close` was given.
        """
        with self._lock:
            if self._closed is not None:
                raise self._closed()
            if not self._threads:
                self._start_threads()
            self._runs.append(run)
            run.work.begin(functools.partial(self._ready, run))
            run.refill()
        self._wake()

    def fetch(self, run: Run) -> Any:
        """The next batch of a pass, waiting for it if need be; any number of threads may do so.

        Raises:
            StopIteration: there is none left.
            BaseException: what an operation raised while the batch was made.
        """
        self._refill(run)
        began = time.perf_counter() if run.outbox.empty() else None
        message = run.outbox.get()
        waited = 0.0 if began is None else time.perf_counter() - began
        if message is _END:
            self._inbox.put(run)  # for a worker to close
            raise run.ended()
        result, error = message
        if error is not None:
            self.cancel(run)
            run.end(StopIteration)
            try:
                if is_signal(error):  # it may not end the loop over the batches
                    raise_instead(error, "a step of a pipeline")
                raise error
            finally:
                error = message = None  # its traceback has this frame: it would keep the batch
        self._refill(run, waited, result)
        return result

    def _refill(self, run: Run, waited: float = 0.0, fetched: Any = None) -> None:
        """Start batches, or say that there are no more; count the one that was fetched."""
        with self._lock:
            if fetched is not None:
                self.counters.received(fetched, waited)
            started = run.refill()
            if not started and run.is_over:
                self._forget(run)
                run.end(StopIteration)
        if started:
            self._wake()  # not before the lock is free, which is what they ask for first

    def cancel(self, run: Run) -> None:
        """Give a pass up; safe anywhere, also in finalizers. What it holds is freed at once."""
        run.is_cancelled = True
        self._inbox.put(run)

    def close(self, reason: Callable[[], BaseException]) -> None:
        """End all passes and the threads.

        Args:
            reason: makes what is raised by whoever waits for a batch, asks for one later, or starts
                a pass.
        """
        with self._lock:
            self._closed = reason
            for run in list(self._runs):
                self.cancel(run)
                run.end(reason)
        self.stop()

    def stop(self) -> None:
        """End the threads once they have finished their current chunks; safe anywhere."""
        self._inbox.put(_STOP)

    def join(self, seconds: float) -> None:
        """Wait for stopped threads to end."""
        current = threading.current_thread()
        for thread in self._threads:
            if thread is not current:
                thread.join(seconds)

    def _start_threads(self) -> None:
        for worker in range(self.num_workers):
            # Threads that are not daemons would keep an interpreter from ending when a loader
            # was never closed; those that are get stopped and joined by atexit.
            thread = threading.Thread(
                target=_work, args=(self, worker), name=f"ffcv-worker-{worker}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _wake(self) -> None:
        # Workers that are busy look for work anyway when they are done, so a few messages suffice.
        for _ in range(self.num_workers - self._inbox.qsize()):
            self._inbox.put(_LOOK)

    def _forget(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
            run.full.stop()
            self.counters.was_full(run.full.seconds())
        for batch in run.in_flight:
            batch.error = None  # its traceback has the batch
        run.in_flight.clear()

    def _take(self, worker: int) -> Callable[[], None] | None:
        """The most urgent piece of work, under the lock."""
        for run in self._runs:
            if run.is_cancelled or not run.in_flight:
                continue
            head = run.in_flight[0]
            if head.is_complete and not run.is_finishing:
                run.is_finishing = True
                return lambda: self._finish(worker, run, head)
            for batch in run.in_flight:
                if batch.is_ready and batch.next_slot < len(batch.indices):
                    start = batch.next_slot
                    stop = min(start + run.chunk_size(batch, self.num_workers), len(batch.indices))
                    batch.next_slot = stop
                    batch.outstanding += 1
                    return lambda: self._run_chunk(worker, run, batch, start, stop)
        return None

    def _ready(self, run: Run, batch: Batch, error: BaseException | None) -> None:
        """Have the chunks of a batch run, or have it fail."""
        with self._lock:
            batch.is_ready = True
            if error is not None and not run.is_cancelled:  # see _run_chunk
                batch.fail(0, error)
        self._wake()

    def _run_chunk(self, worker: int, run: Run, batch: Batch, start: int, stop: int) -> None:
        began = time.perf_counter()
        error: BaseException | None = None
        try:
            run.work.run_chunk(worker, batch, start, stop)
        except BaseException as caught:
            error = caught
        worked = time.perf_counter() - began
        seconds = worked / (stop - start)
        with self._lock:
            self.counters.worked(worked)
            batch.outstanding -= 1
            before = run.seconds_per_sample
            run.seconds_per_sample = 0.8 * before + 0.2 * seconds if before else seconds
            # A batch that nobody will finish would keep the error, whose traceback has the batch.
            if error is not None and not run.is_cancelled:
                batch.fail(start, error)
        error = None  # see fetch

    def _finish(self, worker: int, run: Run, batch: Batch) -> None:
        began = time.perf_counter()
        result, error = None, batch.error
        batch.error = None
        if error is None:
            try:
                result = run.work.finish(worker, batch)
            except BaseException as caught:
                error = caught
        worked = time.perf_counter() - began
        with self._lock:
            self.counters.worked(worked)
            run.is_finishing = False
            if not run.is_cancelled:
                run.in_flight.popleft()
                run.outbox.put((result, error))
                if not run.in_flight:
                    run.full.start()
                if error is not None:
                    run.is_cancelled = True
                    self._forget(run)
        error = None  # see fetch
        if run.in_flight:
            self._wake()


def _work(engine: Engine, worker: int) -> None:
    """The life of a worker thread. Should it end before its time, nobody waits for it."""
    try:
        _serve(engine, worker)
    except BaseException as error:
        cause = error
        engine.close(lambda: _lost_worker(cause))


def _lost_worker(cause: BaseException) -> RuntimeError:
    error = RuntimeError(f"a worker thread of the loader was ended by {described(cause)}")
    error.__cause__ = cause
    return error


def _serve(engine: Engine, worker: int) -> None:
    inbox, lock, idle = engine._inbox, engine._lock, engine.counters.idle[worker]
    while True:
        idle.start()
        message = inbox.get()
        idle.stop()
        if message is _STOP:
            inbox.put(_STOP)  # for the others
            return
        if isinstance(message, Run):
            with lock:
                engine._forget(message)
            message.work.close()
        message = None
        while True:
            with lock:
                task = engine._take(worker)
            if task is None:
                break
            task()
            task = None  # it refers to a batch that may be the user's by now


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()

_of_parent: list[Any] = []
"""Work of the process that this one was forked from. It may hold memory of a GPU, and freeing that
would call CUDA, which does not survive a fork."""


def _stop_all() -> None:
    engines = [engine for engine in _engines if engine._threads]
    for engine in engines:
        engine.stop()
    for engine in engines:
        engine.join(seconds=2.0)


def _reset_after_fork() -> None:
    # A child has none of the threads, and perhaps locks that nobody will ever release.
    for engine in list(_engines):
        _of_parent.append((engine._runs, engine._inbox))
        engine._reset()


def _register() -> None:
    import atexit

    atexit.register(_stop_all)
    in_forked_children(_reset_after_fork)


_register()

"""Fetching what coming batches need, before their turn.

The batches of a pass are known in advance, and with them the bytes that they will read. A
:class:`ReadAhead` has threads of its own that fetch these, the oldest batch's first, into an arena
for each batch. It knows neither programs nor the engine: one function says which bytes some samples
need, another one is called when a batch's are there. Where compiled code reads for itself, as from
files, storage is but told what to expect, and the system's page cache is what it comes into.

Its threads wait for tasks and for storage, and for nothing else: a batch that has no room yet is
put aside, and comes in when another one gives its memory back. They do not keep it alive, so that
one that is dropped ends them.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ffcv.beton.source import Uncopyable
from ffcv.forking import in_forked_children
from ffcv.storage.arena import Arena
from ffcv.storage.fetch import Fetch, with_samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.beton.source import Source

__all__ = ["THREADS", "ReadAhead", "Window"]

THREADS = 8
"""So many reads are on their way at a time at most, besides those that a storage makes of one."""

_FEW = 2
"""So many batches ahead storage is told about, until it has something to bring."""

_MOST_SPARED = 15
"""Batches about which it is not told at most, after one of which it had all."""

_STOP: Any = object()


class Window(NamedTuple):
    """How far to read ahead.

    Attributes:
        batches: how many batches are fetched before they are started.
        nbytes: how many bytes the fetched data of all batches may take, those included that are
            worked on.
        least: how many batches have room whatever they need. If none, a batch that needs more than
            there is room at all is not fetched: whoever works on it has to do that.
    """

    batches: int = 16
    nbytes: int = 128 << 20
    least: int = 2


class ReadAhead(Uncopyable):
    """Fetches what the batches of a pass will read.

    Args:
        source: where the bytes come from.
        batches: sample indices of one batch after the other.
        ranges_of: ``ranges_of(indices)`` gives the bytes that some samples need, rows with members
            ``sample``, ``offset`` and ``nbytes``. Threads call it, and it may read tables.
        window: how far to read ahead.
        is_fetched: whether to bring the data into memory; otherwise storage is told what to expect.
    """

    def __init__(
        self,
        source: Source,
        batches: Iterator[NDArray[np.int64]],
        ranges_of: Callable[[NDArray[np.int64]], NDArray[Any]],
        window: Window,
        is_fetched: bool = True,
    ) -> None:
        self._is_fetched = is_fetched
        self._depth = window.batches if is_fetched else min(_FEW, window.batches)
        self._spared = self._to_spare = 0
        self._source, self._ranges_of, self._window = source, ranges_of, window
        self._batches: Iterator[NDArray[np.int64]] | None = batches
        self._problem: Exception | None = None
        self._lost: BaseException | None = None
        self._coming: deque[Fetch] = deque()
        self._lock = threading.RLock()  # finalizers run anywhere, also inside a locked section
        self._waiting: deque[Fetch] = deque()  # for room, or for what they need to be known
        self._held: set[Fetch] = set()
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_closed = False
        self._threads: list[threading.Thread] = []
        _all.add(self)

    def next(self) -> Fetch | None:
        """The next batch, on its way or there; ``None`` if there is none left.

        It does not wait for storage. Only one thread may call it at a time.

        Raises:
            Exception: what was raised in the place of this batch's indices.
        """
        while len(self._coming) <= self._depth and self._batches is not None:
            try:
                indices = next(self._batches, None)
            except Exception as error:
                self._batches, self._problem = None, error
                break
            if indices is None or self._is_closed:
                self._batches = None
                break
            self._coming.append(self._begin(indices))
        if self._coming:
            return self._coming.popleft()
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        return None

    def is_there(self, fetch: Fetch, notify: Callable[[], None]) -> bool:
        """Whether a batch's fetching is over; if not, ``notify`` is called, once, when it is.

        It is over, too, if it failed.
        """
        with self._lock:
            if not fetch.is_over and not self._is_closed:
                fetch.notify = notify
            return fetch.is_over

    def release(self, fetch: Fetch) -> None:
        """Give the memory of a batch back, that others may have it."""
        with self._lock:
            self._held.discard(fetch)
            arena, fetch.arena = fetch.arena, None
        del arena  # not before the lock is free: it takes its time
        self._admit()

    def close(self) -> None:
        """Begin nothing any more, and end the threads. Reads that have begun are not waited for."""
        self._is_closed = True
        self._tasks.put(_STOP)
        self._batches = None
        self._coming.clear()
        with self._lock:
            for fetch in (*self._waiting, *self._held):
                fetch.notify = None  # it refers to the batch, which refers to the fetch
            self._waiting.clear()
            self._held.clear()

    def __del__(self) -> None:
        tasks = getattr(self, "_tasks", None)
        if tasks is not None:
            tasks.put(_STOP)

    def join(self, seconds: float) -> None:
        """Wait for the threads of one that was closed."""
        for thread in self._threads:
            thread.join(seconds)

    def fail(self, error: BaseException) -> None:
        """Have all batches fail that are not there yet, and those that would come."""
        with self._lock:
            self._lost = error
            lost = [each for each in (*self._waiting, *self._held) if not each.is_over]
            self._waiting.clear()
        for fetch in lost:
            fetch.error = error
            self._finish(fetch)

    def _begin(self, indices: NDArray[np.int64]) -> Fetch:
        fetch = Fetch(indices)
        if self._to_spare > 0:
            self._to_spare -= 1
            fetch.is_over = True
            return fetch
        with self._lock:
            fetch.error, fetch.is_over = self._lost, self._lost is not None
            if not fetch.is_over:
                self._waiting.append(fetch)
        self._put(partial(self._plan, fetch))
        return fetch

    def _put(self, task: Callable[[], None]) -> None:
        """Have a thread do something; until there are enough of them, it is a new one."""
        self._tasks.put(task)
        with self._lock:
            if len(self._threads) < THREADS and not self._is_closed:
                # Daemons, as the workers are; see there.
                thread = threading.Thread(
                    target=_work,
                    args=(self._tasks, weakref.ref(self)),
                    name=f"ffcv-read-ahead-{len(self._threads)}",
                    daemon=True,
                )
                self._threads.append(thread)
                thread.start()

    def _plan(self, fetch: Fetch) -> None:
        """Find out what a batch needs."""
        if self._is_closed:
            return
        try:
            fetch.plan(self._ranges_of(fetch.indices), THREADS)
        except BaseException as error:
            fetch.error = with_samples(error, fetch.indices)
        fetch.is_planned = True
        self._admit()

    def _admit(self) -> None:
        """Let in those that are next and have room."""
        admitted = []
        with self._lock:
            while self._waiting and self._waiting[0].is_planned and self._has_room():
                admitted.append(self._waiting.popleft())
                self._held.add(admitted[-1])
        for fetch in admitted:
            self._fetch(fetch)

    def _has_room(self) -> bool:
        if len(self._held) < self._window.least:
            return True
        first, taken = self._waiting[0], sum(fetch.nbytes for fetch in self._held)
        if first.nbytes > self._window.nbytes and not self._window.least:
            first.leave()
        return taken + first.nbytes <= self._window.nbytes

    def _fetch(self, fetch: Fetch) -> None:
        """Have threads fetch what a batch needs."""
        tasks: list[Callable[[], None]] = []
        if fetch.error is None and not fetch.is_left:
            try:
                fetch.arena = Arena(self._source) if self._is_fetched else None
                tasks = fetch.tasks(self._source)
            except BaseException as error:
                fetch.error = error
        if not tasks:
            self._finish(fetch)
        for task in tasks:
            self._put(partial(self._do, fetch, task))

    def _do(self, fetch: Fetch, task: Callable[[], None]) -> None:
        if not self._is_closed:
            task()
        with self._lock:
            is_last = fetch.count_down()
        if is_last:
            self._finish(fetch)

    def _heed(self, fetch: Fetch) -> None:
        """Tell storage less after it had nothing to bring, as this takes time, and else more."""
        if fetch.was_near:
            self._spared = min(2 * self._spared + 1, _MOST_SPARED)
            self._to_spare = self._spared
        else:
            self._spared = self._to_spare = 0
            self._depth = self._window.batches

    def _finish(self, fetch: Fetch) -> None:
        if not self._is_fetched:
            self._heed(fetch)
        with self._lock:
            fetch.is_over = True
            notify, fetch.notify = fetch.notify, None
        if notify is not None and not self._is_closed:
            notify()


def _work(tasks: queue.SimpleQueue[Any], owner: weakref.ref[ReadAhead]) -> None:
    """The life of a thread. Should it end before its time, nobody waits for it."""
    try:
        _serve(tasks)
    except BaseException as cause:
        tasks.put(_STOP)
        read_ahead = owner()
        if read_ahead is not None:
            error = RuntimeError(f"a thread that reads ahead was ended by {type(cause).__name__}")
            error.__cause__ = cause
            read_ahead.fail(error)


def _serve(tasks: queue.SimpleQueue[Any]) -> None:
    while True:
        task = tasks.get()
        if task is _STOP:
            tasks.put(_STOP)  # for the others
            return
        task()
        task = None  # it refers to whom it is for


_all: weakref.WeakSet[ReadAhead] = weakref.WeakSet()


def _stop_all() -> None:
    running = [each for each in _all if each._threads]
    for each in running:
        each.close()
    for each in running:
        each.join(seconds=2.0)


def _register() -> None:
    import atexit

    atexit.register(_stop_all)
    in_forked_children(_all.clear)  # a child has none of the threads


_register()

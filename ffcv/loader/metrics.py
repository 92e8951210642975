"""Counting what a loader does, cheaply enough to do it always."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ffcv.loader.skipping import FinishedBatch

__all__ = ["Counters", "LoaderMetrics", "Stopwatch", "nbytes_of"]


class LoaderMetrics(NamedTuple):
    """What a loader has done since it was made, in all its passes.

    No number ever gets smaller, so the difference of two records says what was done between them.
    ``_asdict()`` gives a dict, as exporters want it.

    Attributes:
        seconds: since the loader was made.
        batches: that were delivered.
        samples: in those batches.
        skipped: samples that were left out of them.
        nbytes: bytes of those batches, wherever they lie.
        wait_seconds: in which the training loop waited for a batch. If these are many, the loader
            is too slow for it.
        full_seconds: in which all batches that may be ahead were ready, and the loader waited for
            the training loop. If these are many, the loop is what takes the time.
        work_seconds: that worker threads worked, all of them together.
        idle_seconds: that worker threads had nothing to do, all of them together, between passes as
            well.

    Example:
        >>> from ffcv import DatasetWriter, Loader
        >>> from ffcv.fields import IntField
        >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
        >>> loader = Loader("ten.beton", batch_size=2)
        >>> before = loader.metrics()
        >>> _ = list(loader)
        >>> done = loader.metrics() - before
        >>> done.batches, done.samples, done.nbytes
        (5, 10, 80)
        >>> waited = done.wait_seconds / done.seconds
    """

    seconds: float
    batches: int
    samples: int
    skipped: int
    nbytes: int
    wait_seconds: float
    full_seconds: float
    work_seconds: float
    idle_seconds: float

    def __sub__(self, earlier: LoaderMetrics) -> LoaderMetrics:
        """What was done between two records."""
        return LoaderMetrics._make(mine - its for mine, its in zip(self, earlier, strict=True))


def nbytes_of(value: Any) -> int:
    """How large an array or a tensor is, or all of them in a container.

    What does not say counts as nothing, such as sparse tensors and objects of other libraries.

    Example:
        >>> import numpy as np
        >>> nbytes_of((np.zeros(3), {"label": [np.int8(1), "one"]}))
        25
    """
    if isinstance(value, tuple):
        return sum(map(nbytes_of, value))
    try:
        return int(value.nbytes)
    except Exception:  # of whatever a step has returned
        pass
    if isinstance(value, Mapping):
        return nbytes_of(tuple(value.values()))
    return nbytes_of(tuple(value)) if isinstance(value, list) else 0


class Stopwatch:
    """How long something has lasted in all, this time included while it still does.

    One thread at a time starts and stops it; any may read it.
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: tuple[float, float | None] = 0.0, None  # one object, so never half new

    def start(self) -> None:
        """It begins."""
        self._state = self._state[0], time.perf_counter()

    def stop(self) -> None:
        """It is over, if it ever began."""
        total, since = self._state
        if since is not None:
            self._state = total + time.perf_counter() - since, None

    def seconds(self) -> float:
        """In all."""
        total, since = self._state
        return total if since is None else total + time.perf_counter() - since


class Counters:
    """What an engine's threads count, under its lock; see :class:`LoaderMetrics`.

    Args:
        num_workers: how many worker threads there are.

    Attributes:
        idle: for each worker, how long it has had nothing to do; its own thread starts and stops
            it, without the lock.
    """

    def __init__(self, num_workers: int) -> None:
        self._made = time.perf_counter()
        self._batches = self._samples = self._skipped = self._nbytes = 0
        self._wait = self._full = self._work = 0.0
        self.idle = [Stopwatch() for _ in range(num_workers)]

    def worked(self, seconds: float) -> None:
        """A worker has done a chunk, or finished a batch."""
        self._work += seconds

    def was_full(self, seconds: float) -> None:
        """A pass is over that waited for the training loop."""
        self._full += seconds

    def received(self, batch: FinishedBatch, seconds: float) -> None:
        """The training loop got a batch, for which it waited so long, or nothing was left of it."""
        self._wait += seconds
        self._skipped += len(batch.skipped)
        if batch.outputs is not None:
            self._batches += 1
            self._samples += batch.size
            self._nbytes += batch.nbytes

    def record(self, full_seconds: float) -> LoaderMetrics:
        """What was counted so far.

        Args:
            full_seconds: those of passes that are under way.
        """
        return LoaderMetrics(
            time.perf_counter() - self._made,
            self._batches,
            self._samples,
            self._skipped,
            self._nbytes,
            self._wait,
            self._full + full_seconds,
            self._work,
            sum(watch.seconds() for watch in self.idle),
        )

"""Encoding with any number of workers, whose failures reach the caller."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import DatasetError, WorkerDiedError, WriteError
from ffcv.writer.chunks import ChunkEncoder, ChunkPlanner
from ffcv.writer.encoding import DatasetEncoder, EncodedSample
from ffcv.writer.shards import EncodedShard, ShardEncoder
from ffcv.writer.watchdog import end_with_parent, watching

__all__ = [
    "available_cores",
    "encoded_samples",
    "encoded_shards",
    "is_worker_death",
    "worker_death",
]

_T = TypeVar("_T")


class _Result(Protocol):
    """What a worker hands over: something, and why that is not all, if so."""

    @property
    def failure(self) -> WriteError | None: ...

    @property
    def trace(self) -> str: ...


_Key = TypeVar("_Key", contravariant=True)
_Done = TypeVar("_Done", bound=_Result, covariant=True)


class _Source(Protocol[_Key, _Done]):
    """Work by key; it may be sent to other processes."""

    def __getitem__(self, key: _Key, /) -> _Done: ...


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def encoded_samples(
    encode: DatasetEncoder, positions: NDArray[np.int64], num_workers: int, chunksize: int
) -> Generator[EncodedSample]:
    """Encode the samples at ``positions``, in that order.

    Processes are used where torch is installed, threads otherwise.

    Args:
        encode: encodes one sample.
        positions: ``(N,)`` positions in the dataset.
        num_workers: 0 encodes in this process; -1 takes every available core.
        chunksize: most samples that a worker hands over at a time.

    Raises:
        DatasetError, SampleEncodingError: see :class:`DatasetEncoder`.
        WorkerDiedError: a process was killed.
    """
    workers = min(_number_of_workers(num_workers), len(positions))
    if workers == 0:
        for position in positions.tolist():
            yield encode(position)
        return
    planner = ChunkPlanner(positions, chunksize)
    with closing(_results(ChunkEncoder(encode), planner, workers)) as chunks:
        for chunk in chunks:
            planner.learn(chunk)
            yield from chunk.samples


def encoded_shards(encode: ShardEncoder, count: int, num_workers: int) -> Generator[EncodedShard]:
    """Encode the shards from 0 to ``count - 1``; they come in the order in which they are done.

    Args:
        encode: encodes one shard.
        count: number of shards.
        num_workers: as in :func:`encoded_samples`.

    Raises:
        DatasetError, SampleEncodingError, DiskFullError: see :class:`ShardEncoder`.
        WorkerDiedError: a process was killed.
    """
    workers = min(_number_of_workers(num_workers), count)
    with closing(_results(encode, range(count), workers, in_order=False)) as shards:
        yield from shards


def _results(
    source: _Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool = True
) -> Generator[_Done]:
    """The results for ``keys``, up to the first that failed, and then its failure."""
    if workers == 0:
        for key in keys:
            result = source[key]
            yield result
            if result.failure is not None:
                raise result.failure
        return
    torch = importlib.util.find_spec("torch")
    how = _from_processes if torch else _from_threads
    with closing(how(source, keys, workers, in_order)) as results:
        for result in results:
            yield result
            if result.failure is not None:
                result.failure.add_note(f"In the worker:\n{result.trace}")
                raise result.failure


def _number_of_workers(asked: int) -> int:
    if asked >= 0:
        return asked
    if multiprocessing.current_process().daemon:
        return 0  # such a process must not have children
    return available_cores()


def _from_processes(
    source: _Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool
) -> Generator[_Done]:
    """Results from the worker processes of a :class:`torch.utils.data.DataLoader`."""
    import torch
    from torch.utils.data import DataLoader

    # A generator of our own: otherwise the loader would draw from torch's global one.
    generator = torch.Generator()
    generator.manual_seed(0)
    loader: DataLoader[Any] = DataLoader(
        source,  # type: ignore[arg-type]
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=end_with_parent,
        generator=generator,
        in_order=in_order,
        # Where the order does not matter, the next work goes to whoever is free.
        prefetch_factor=2 if in_order else 1,
    )
    try:
        iterator = iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"the dataset, its pipeline or a field cannot be sent to worker processes: {error}. "
            "Define its class and functions at the top of a module, or write with num_workers=0"
        ) from error
    with ExitStack() as stack:
        stack.callback(_stop, iterator)
        stack.enter_context(watching(iterator))
        while True:
            try:
                result = next(iterator)
            except StopIteration:
                return
            except (OSError, EOFError) as error:
                raise worker_death(error) from error
            yield result


def _stop(iterator: Any) -> None:
    """End the workers now; left alone, they would live as long as a traceback is held."""
    iterator._shutdown_workers()
    for process in iterator._workers:
        if process.is_alive():
            process.kill()
            process.join()


def is_worker_death(error: RuntimeError) -> bool:
    """Whether ``error`` is how torch says that a worker died.

    It comes from a signal handler too, which means at any point of the main thread.
    """
    return str(error).startswith("DataLoader worker (pid")


def worker_death(error: BaseException) -> WorkerDiedError:
    """The exception for a dead worker, of which ``error`` tells."""
    return WorkerDiedError(
        f"an encoding process died ({error}). Most often the system ran out of memory "
        "(see dmesg); write with fewer workers, a smaller chunksize, or num_workers=0, and see "
        "that the dataset does not keep what it has read"
    )


def _from_threads(
    source: _Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool
) -> Generator[_Done]:
    """Results, always in order, from threads of this process, for installations without torch."""
    with ThreadPoolExecutor(workers, thread_name_prefix="ffcv-writer") as pool:
        waiting: deque[Future[_Done]] = deque()
        try:
            for key in keys:
                waiting.append(pool.submit(source.__getitem__, key))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _unchanged(result: _T) -> _T:
    return result

"""Encoding with any number of workers, whose failures reach the caller."""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ffcv.processors import available_cores
from ffcv.writer.chunks import ChunkEncoder, ChunkPlanner
from ffcv.writer.encoding import DatasetEncoder, EncodedSample
from ffcv.writer.shards import EncodedShard, ShardEncoder
from ffcv.writer.workers import Result, Source, allowed_processes, results_from_processes

__all__ = ["encoded_samples", "encoded_shards", "number_of_workers"]

_Key = TypeVar("_Key")
_Done = TypeVar("_Done", bound=Result, covariant=True)


def number_of_workers(asked: int, most: int) -> int:
    """How many workers to use: processes where torch is installed, threads otherwise.

    Args:
        asked: how many are wanted; -1: one for each available core.
        most: how many there is work for.

    Raises:
        WriteError: this process is a worker that is still importing the main program.
    """
    workers = min(asked if asked >= 0 else available_cores(), most)
    if not importlib.util.find_spec("torch"):
        return workers
    return allowed_processes(workers, said=asked >= 0)


def encoded_samples(
    encode: DatasetEncoder, positions: NDArray[np.int64], workers: int, chunksize: int
) -> Generator[EncodedSample]:
    """Encode the samples at ``positions``, in that order.

    Args:
        encode: encodes one sample.
        positions: ``(N,)`` positions in the dataset.
        workers: see :func:`number_of_workers`; 0 encodes in this thread.
        chunksize: most samples that a worker hands over at a time.

    Raises:
        DatasetError, SampleEncodingError: see :class:`DatasetEncoder`.
        WorkerDiedError: a process was killed.
    """
    if workers == 0:
        for position in positions.tolist():
            yield encode(position)
        return
    planner = ChunkPlanner(positions, chunksize)
    with closing(_results(ChunkEncoder(encode), planner, workers)) as chunks:
        for chunk in chunks:
            planner.learn(chunk)
            yield from chunk.samples


def encoded_shards(encode: ShardEncoder, count: int, workers: int) -> Generator[EncodedShard]:
    """Encode the shards from 0 to ``count - 1``; they come in the order in which they are done.

    Args:
        encode: encodes one shard.
        count: number of shards.
        workers: as in :func:`encoded_samples`.

    Raises:
        DatasetError, SampleEncodingError, DiskFullError: see :class:`ShardEncoder`.
        WorkerDiedError: a process was killed.
    """
    with closing(_results(encode, range(count), workers, in_order=False)) as shards:
        yield from shards


def _results(
    source: Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool = True
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
    how = results_from_processes if torch else _from_threads
    with closing(how(source, keys, workers, in_order)) as results:
        for result in results:
            yield result
            if result.failure is not None:
                result.failure.add_note(f"In the worker:\n{result.trace}")
                raise result.failure


def _from_threads(
    source: Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool
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

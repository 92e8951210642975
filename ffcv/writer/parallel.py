"""Encoding with any number of workers; samples come out in order."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import DatasetError, WorkerDiedError
from ffcv.writer.chunks import Chunk, ChunkEncoder, ChunkPlanner
from ffcv.writer.encoding import EncodedSample, SampleEncoder
from ffcv.writer.watchdog import end_with_parent, watching

__all__ = ["available_cores", "encoded_samples", "is_worker_death", "worker_death"]

_T = TypeVar("_T")


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def encoded_samples(
    encode: SampleEncoder, positions: NDArray[np.int64], num_workers: int, chunksize: int
) -> Generator[EncodedSample]:
    """Encode the samples at ``positions``, in that order.

    Processes are used where torch is installed, threads otherwise.

    Args:
        encode: encodes one sample.
        positions: ``(N,)`` positions in the dataset.
        num_workers: 0 encodes in this process; -1 takes every available core.
        chunksize: most samples that a worker hands over at a time.

    Raises:
        DatasetError, SampleEncodingError: see :class:`SampleEncoder`.
        WorkerDiedError: a process was killed.
    """
    workers = min(_number_of_workers(num_workers), len(positions))
    if workers == 0:
        for position in positions.tolist():
            yield encode(position)
        return
    planner = ChunkPlanner(positions, chunksize)
    source = _from_processes if importlib.util.find_spec("torch") else _from_threads
    with closing(source(ChunkEncoder(encode), planner, workers)) as chunks:
        for chunk in chunks:
            planner.learn(chunk)
            yield from chunk.samples
            if chunk.failure is not None:
                chunk.failure.add_note(f"In the worker:\n{chunk.trace}")
                raise chunk.failure


def _number_of_workers(asked: int) -> int:
    if asked >= 0:
        return asked
    if multiprocessing.current_process().daemon:
        return 0  # such a process must not have children
    return available_cores()


def _from_processes(source: ChunkEncoder, planner: ChunkPlanner, workers: int) -> Generator[Chunk]:
    """Chunks from the worker processes of a :class:`torch.utils.data.DataLoader`."""
    import torch
    from torch.utils.data import DataLoader

    # A generator of our own: otherwise the loader would draw from torch's global one.
    generator = torch.Generator()
    generator.manual_seed(0)
    loader: DataLoader[Any] = DataLoader(
        source,  # type: ignore[arg-type]
        batch_size=None,
        sampler=planner,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=end_with_parent,
        generator=generator,
    )
    try:
        iterator = iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"the dataset or a field cannot be sent to worker processes: {error}. Define its "
            "class and functions at the top of a module, or write with num_workers=0"
        ) from error
    with ExitStack() as stack:
        stack.callback(_stop, iterator)
        stack.enter_context(watching(iterator))
        while True:
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            except (OSError, EOFError) as error:
                raise worker_death(error) from error
            yield chunk


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


def _from_threads(source: ChunkEncoder, planner: ChunkPlanner, workers: int) -> Generator[Chunk]:
    """Chunks from threads of this process, for installations without torch."""
    with ThreadPoolExecutor(workers, thread_name_prefix="ffcv-writer") as pool:
        waiting: deque[Future[Chunk]] = deque()
        try:
            for positions in planner:
                waiting.append(pool.submit(source.__getitem__, positions))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _unchanged(chunk: _T) -> _T:
    return chunk

"""Worker processes: how they are started, what they hand over, and what became of one that died."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import time
import traceback
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from multiprocessing.process import BaseProcess, current_process
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ffcv.errors import DatasetError, WorkerDiedError, WriteError
from ffcv.writer.interrupts import signals_held_back
from ffcv.writer.parcel import Parcel
from ffcv.writer.watchdog import begin_worker, watching

__all__ = ["Result", "Source", "allowed_processes", "results_from_processes"]

_GRACE_SECONDS = 1.0
"""How long workers may take to end when they are asked to: most are amid a chunk."""

_GUARD = (
    "a worker imports the main program anew, so what that does must stand under "
    '`if __name__ == "__main__":`, and the dataset\'s class must not, nor in a notebook. '
    "num_workers=0 needs no processes"
)


class Result(Protocol):
    """What a worker hands over: something, and why that is not all, if so."""

    @property
    def failure(self) -> WriteError | None:
        """Why there is no more, if so."""

    @property
    def trace(self) -> str:
        """The worker's traceback in words, if it failed."""


_T = TypeVar("_T")
_Key = TypeVar("_Key")
_Asked = TypeVar("_Asked", contravariant=True)
_Done = TypeVar("_Done", bound=Result, covariant=True)


class Source(Protocol[_Asked, _Done]):
    """Work by key; it may be sent to other processes."""

    def __getitem__(self, key: _Asked, /) -> _Done: ...

    def describe(self, key: _Asked, /) -> str:
        """What ``key`` stands for, for messages."""
        ...


def allowed_processes(workers: int, said: bool) -> int:
    """How many of ``workers`` processes this one may start: all of them, or none.

    Args:
        workers: how many are wanted.
        said: whether somebody asked for them, who is to be told that there are none.

    Raises:
        WriteError: this is a worker process itself, which is still importing the main program.
    """
    process = current_process()
    if not workers:
        return 0
    if getattr(process, "_inheriting", False):
        raise WriteError(
            "the main program began to write while a worker process was importing it: "
            f"{_GUARD}. This process was started by the start method "
            f"{multiprocessing.get_start_method()!r}"
        )
    if not process.daemon:
        return workers
    if said:
        warnings.warn(
            f"the process {process.name!r} is daemonic and may have no children, so it encodes by "
            f"itself, as with num_workers=0, not with {workers} workers; the file is the same",
            stacklevel=5,
        )
    return 0


def results_from_processes(
    source: Source[_Key, _Done], keys: Iterable[_Key], workers: int, in_order: bool
) -> Generator[_Done]:
    """Results from the worker processes of a :class:`torch.utils.data.DataLoader`.

    Raises:
        DatasetError: the source cannot be sent to other processes.
        WorkerDiedError: one of them ended.
        WriteError: the system starts no further processes.
    """
    import torch
    from torch.utils.data import DataLoader

    # A generator of our own: otherwise the loader would draw from torch's global one.
    generator = torch.Generator()
    generator.manual_seed(0)
    given, parcel = _Remembered(keys), Parcel(source)
    loader: DataLoader[Any] = DataLoader(
        _Unpacked(parcel),  # type: ignore[arg-type]
        batch_size=None,
        sampler=given,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=begin_worker,
        generator=generator,
        in_order=in_order,
        # Where the order does not matter, the next work goes to whoever is free.
        prefetch_factor=2 if in_order else 1,
    )
    with ExitStack() as stack:
        with signals_held_back(), parcel:
            iterator = _started(loader)
            stack.callback(_stop, iterator)
            dead = stack.enter_context(watching(iterator))
        while True:
            try:
                result = next(iterator)
            except StopIteration:
                return
            except (OSError, EOFError, RuntimeError) as error:
                if not dead:
                    raise
                raise _death(iterator, dead, source, given) from error
            if isinstance(result, _Unusable):
                result.failure.add_note(f"In the worker:\n{result.trace}")
                raise result.failure
            given.forget(iterator._task_info)
            yield result


class _Unpacked(Generic[_Key, _Done]):
    """The work in a worker, where the source may have to be unpacked first."""

    def __init__(self, parcel: Parcel[Source[_Key, _Done]]) -> None:
        self._parcel = parcel

    def __getitem__(self, key: _Key) -> _Done | _Unusable:
        try:
            source = self._parcel.open()
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            return _Unusable(_not_sent(error), trace)
        return source[key]


class _Unusable(NamedTuple):
    """The answer of a worker that has no source."""

    failure: WriteError
    trace: str


class _Remembered(Generic[_Key]):
    """Keys, of which those that were given out are kept by their number."""

    def __init__(self, keys: Iterable[_Key]) -> None:
        self._keys = keys
        self._given: dict[int, _Key] = {}

    def __iter__(self) -> Iterator[_Key]:
        for number, key in enumerate(self._keys):
            self._given[number] = key
            yield key

    def __getitem__(self, number: int) -> _Key:
        return self._given[number]

    def forget(self, needed: Iterable[int]) -> None:
        """Keep none but the ``needed``."""
        self._given = {number: self._given[number] for number in needed}


def _started(loader: Any) -> Any:
    """The iterator of a loader, whose workers run; their deaths interrupt nobody."""
    import torch

    try:
        iterator = iter(loader)
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE):
            raise WriteError(
                f"worker processes cannot be started: {error.strerror}; write with fewer workers "
                "or num_workers=0"
            ) from error
        raise WorkerDiedError(f"worker processes cannot be started: {_GUARD}") from error
    except Exception as error:
        if str(error).startswith("DataLoader worker (pid"):
            raise WorkerDiedError(f"an encoding process died while it started: {error}") from error
        raise _not_sent(error) from error
    # torch would raise an error at any point of the main thread. The watch finds more, anywhere.
    torch._C._remove_worker_pids(id(iterator))
    iterator._worker_pids_set = False
    return iterator


def _not_sent(error: Exception) -> DatasetError:
    return DatasetError(
        "the dataset, its pipeline or a field cannot be sent to worker processes: "
        f"{type(error).__name__}: {error}. "
        "Define its class and functions at the top of a module, or write with num_workers=0"
    )


def _stop(iterator: Any) -> None:
    """End the workers now; left alone, they would live as long as a traceback is held.

    torch would wait for one after the other, five seconds each, also while they still start.
    """
    workers = iterator._workers
    # One that died may have held a lock, for which those that are asked to end would wait.
    if not iterator._shutdown and all(process.is_alive() for process in workers):
        iterator._workers_done_event.set()
        for number in range(len(workers)):
            iterator._mark_worker_as_unavailable(number, shutdown=True)
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in workers:
            process.join(max(0.0, deadline - time.monotonic()))
    iterator._shutdown = True
    for process in workers:
        process.kill()
        process.join()
    for queue in iterator._index_queues:
        queue.cancel_join_thread()
        queue.close()


def _death(
    iterator: Any, dead: list[BaseProcess], source: Source[_Key, _Done], given: _Remembered[_Key]
) -> WorkerDiedError:
    """What became of the first of the workers that died, and at which work."""
    numbers = [iterator._workers.index(process) for process in dead]
    tasks = [
        number
        for number, (worker, *done) in iterator._task_info.items()
        if worker in numbers and not done
    ]
    work = ""
    if tasks:
        work = f" while it was at {source.describe(given[min(tasks)])}, or had just done that"
    dead[0].join()
    status = dead[0].exitcode or 0
    method = multiprocessing.get_start_method()
    if status == 1 and not iterator._rcvd_idx and method != "fork":
        return WorkerDiedError(
            "a worker process ended while it started, or at its first samples; what it printed "
            f"says why. With the start method {method!r} {_GUARD}"
        )
    return WorkerDiedError("an encoding process " + _manner(status, work))


def _manner(status: int, work: str) -> str:
    """How a process ended, at what work, and what to do about it."""
    if status >= 0:
        return (
            f"ended with status {status}{work}, as os._exit or KeyboardInterrupt in the dataset "
            "or a library of it would do; write with num_workers=0 to see where"
        )
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    if -status == signal.SIGKILL:
        return (
            f"was killed ({name}){work}. Most often the system ran out of memory (see dmesg); "
            "write with fewer workers, a smaller chunksize, or num_workers=0, and see that the "
            "dataset does not keep what it has read"
        )
    return (
        f"was ended by {name}{work}, most often for a fault in a library that the dataset uses; "
        "write with num_workers=0 and `python -X faulthandler` to see where"
    )


def _unchanged(result: _T) -> _T:
    return result

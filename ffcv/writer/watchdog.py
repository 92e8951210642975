"""Watches over the two deaths after which a process would otherwise wait for ever."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ffcv.kernels import notice
from ffcv.writer.interrupts import forget_held_back

__all__ = ["begin_worker", "watching"]

_POLL_SECONDS = 1.0


@contextmanager
def watching(iterator: Any) -> Iterator[list[BaseProcess]]:
    """End the wait for workers as soon as one of them has died.

    A process that is killed amid a message leaves its reader waiting for the rest, and one that is
    killed amid a lock leaves the others waiting for that. So when a worker is dead, the others are
    killed and the last open end of the pipe is closed: the reader sees its end.

    Args:
        iterator: the iterator of a ``DataLoader`` with worker processes.

    Yields:
        The workers that died by themselves: none, until the reader is told.
    """
    over, wake = multiprocessing.Pipe(duplex=False)
    dead: list[BaseProcess] = []
    watch = threading.Thread(
        target=_watch, args=(iterator, over, dead), name="ffcv-writer-watch", daemon=True
    )
    watch.start()
    try:
        yield dead
    finally:
        wake.send_bytes(b"over")
        watch.join()
        wake.close()
        over.close()


def _watch(iterator: Any, over: Connection, dead: list[BaseProcess]) -> None:
    """Until ``over`` speaks or the iterator is at its end, no worker has a reason to end."""
    workers = list(iterator._workers)
    ready = wait([over, *(process.sentinel for process in workers)])
    if over in ready or iterator._shutdown:
        return
    dead += [process for process in workers if process.sentinel in ready]
    for process in workers:
        process.kill()
    iterator._worker_result_queue._writer.close()


def begin_worker(worker: int) -> None:
    """In a worker, before anything else: end without a word when the writing process is gone.

    Nor does it say that it compiles, as all of the workers would.

    A worker that holds an answer would wait for somebody to take it: the pipe stays open as long
    as other workers live.

    Args:
        worker: number of the worker, which does not matter.
    """
    forget_held_back()
    notice.silence()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    # A process whose parent ended gets another one, which may have happened before this line. Only
    # workers of a fork server are nobody's own; there the pipe to the writing process tells alone,
    # which elsewhere others that were forked from it may hold open.
    own = multiprocessing.get_start_method() != "forkserver"
    while not (own and os.getppid() != parent.pid):
        if wait([parent.sentinel], _POLL_SECONDS):
            break
    os._exit(1)

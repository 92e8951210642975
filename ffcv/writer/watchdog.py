"""Watches over the two deaths after which a process would otherwise wait for ever."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

__all__ = ["end_with_parent", "watching"]

_GRACE_SECONDS = 6.0
_POLL_SECONDS = 1.0


@contextmanager
def watching(iterator: Any) -> Iterator[None]:
    """Break up a wait for data of a worker that died while it was sending them.

    A process that is killed amid a message leaves its reader waiting for the rest. In the main
    thread torch's handler of SIGCHLD interrupts that; elsewhere nothing would. So when a worker is
    dead and the reader has not noticed within a few seconds, the other workers are killed and the
    last open end of the pipe is closed: the reader sees its end.

    Args:
        iterator: the iterator of a ``DataLoader`` with worker processes.
    """
    over, wake = multiprocessing.Pipe(duplex=False)
    watch = threading.Thread(
        target=_watch, args=(iterator, over), name="ffcv-writer-watch", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        wake.send_bytes(b"over")
        watch.join()
        wake.close()
        over.close()


def _watch(iterator: Any, over: Connection) -> None:
    """Until ``over`` speaks, no worker has a reason to end."""
    workers = list(iterator._workers)
    ready = wait([over, *(process.sentinel for process in workers)])
    # Exit codes stay unread: fetching one here would hide the death from torch's handler.
    if over in ready or over.poll(_GRACE_SECONDS):
        return
    for process in workers:
        process.kill()
    iterator._worker_result_queue._writer.close()


def end_with_parent(worker: int) -> None:
    """In a worker: end when the writing process is gone, without a word.

    A worker that holds an answer would wait for somebody to take it: the pipe stays open as long
    as other workers live.

    Args:
        worker: number of the worker, which does not matter.
    """
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)

"""Many requests at once, by threads that all open objects share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ffcv.forking import in_forked_children, keep_across_forks

__all__ = ["MOST_AT_ONCE", "for_each"]

MOST_AT_ONCE = 64
"""Requests of all callers that are under way at once, but for one that each makes itself."""

Item = TypeVar("Item")

_lock = keep_across_forks(threading.Lock())
_pools: list[ThreadPoolExecutor] = []


def for_each(function: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Call a function for all items, several at a time, and wait until all calls are over.

    Args:
        function: is called from several threads, this one among them.
        items: what to call it with. Those behind one that fails may be left out.

    Raises:
        BaseException: the first that a call raised.
    """
    left = deque(items)

    def work() -> None:
        while left:
            try:
                item = left.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                function(item)
            except BaseException:
                left.clear()
                raise

    # Half as many threads as requests: to wake one takes processor time, and loaders have several
    # fetches under way, which keep the pool busy together.
    helpers = min(len(items) // 2, MOST_AT_ONCE)
    futures = [_pool().submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        # None may write into the caller's memory any more; those that have not begun need not.
        running = [future for future in futures if not future.cancel()]
        errors = [future.exception() for future in running]
    for error in errors:
        if error is not None:
            raise error


def _pool() -> ThreadPoolExecutor:
    with _lock:
        if not _pools:
            _pools.append(ThreadPoolExecutor(MOST_AT_ONCE, "ffcv-cloud"))
        return _pools[0]


in_forked_children(_pools.clear)

"""One process at a time compiles a thing; the others then find it in the cache."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ffcv.forking import keep_across_forks
from ffcv.kernels import notice
from ffcv.kernels.cache.store import cache_directory

__all__ = ["compiling", "process_lock"]

_PATIENCE = 600.0
"""Seconds to wait for another process, which may have been stopped, before compiling as well."""

_NO_WORD = 1.0
"""Seconds to wait without a word: another process may only load what is compiled."""

compiling = keep_across_forks(threading.RLock())
"""Of the thread that compiles. It is taken outside of any generator: what a signal handler raises
may leave one where it stands, with all that it holds."""

_held: dict[str, Any] = {}
"""Locks by name, until they are released. What a signal handler raises may come in between. One
that is held still when its turn comes again was left so: nobody compiles a thing within itself."""


@contextlib.contextmanager
def process_lock(name: str) -> Iterator[None]:
    """Let one process at a time compile ``name``, in its thread that holds :data:`compiling`.

    Where that cannot be arranged, such as in a directory of another user, several may do the same
    work at once, which does no harm.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # Timeout is an OSError
            stack.enter_context(_file_lock(name))
        yield


@contextlib.contextmanager
def _file_lock(name: str) -> Iterator[None]:
    import filelock

    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.lock"
    left = _held.pop(name, None)
    if left is not None:
        left.release(force=True)
    lock = _held[name] = filelock.FileLock(path, thread_local=False)
    try:
        try:
            lock.acquire(timeout=_NO_WORD)
        except filelock.Timeout:
            notice.waiting()
            lock.acquire(timeout=_PATIENCE)
        yield
    finally:
        # Whoever waits for it holds it all the same; who comes later makes a new one and finds
        # what this process has compiled.
        if lock.is_locked:
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            lock.release(force=True)
        _held.pop(name, None)

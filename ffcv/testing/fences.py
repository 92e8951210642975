"""Running what may touch foreign memory: between fences, and in a process of its own."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fenced", "first_failure"]

_FENCE = 16 << 20
"""Bytes on either side that must not be touched. They take no memory."""

_NO_ACCESS = 0
_MOST_SECONDS = 60


def fenced(shape: tuple[int, ...], dtype: np.dtype[Any], at_end: bool) -> NDArray[Any]:
    """Zeros, with memory on both sides that ends a process which touches it.

    Args:
        shape: of the array.
        dtype: of the array.
        at_end: whether the array ends right at a fence; otherwise it begins at one. On the other
            side there may be up to a page between.
    """
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    room = max(1, -(-nbytes // mmap.PAGESIZE)) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + 2 * _FENCE)
    library = ctypes.CDLL(None, use_errno=True)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (first, first + _FENCE + room):
        if library.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(_FENCE), _NO_ACCESS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    start = _FENCE + (room - nbytes if at_end else 0)
    return np.frombuffer(memory, np.uint8, nbytes, start).view(dtype).reshape(shape)


def first_failure(cases: Iterable[Callable[[], str | None]]) -> tuple[int, str] | None:
    """Run functions one after the other in a forked process.

    Args:
        cases: each returns what is wrong, in words, or ``None``.

    Returns:
        The number of the first one at which something was wrong, and what: also that it ended the
        process, or that it took more than a minute of computing.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # That other threads exist matters to those who go on; this child only computes.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _run_to_the_end(cases, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode("utf-8", "replace").splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    number = sum(line == "+" for line in lines) - 1
    if lines and lines[-1] != "+":
        return number, lines[-1]
    return None if status == 0 else (number, _ending(status))


def _run_to_the_end(cases: Iterable[Callable[[], str | None]], pipe: int) -> None:
    """What the forked process does; it does not return."""
    status = 1
    try:
        import resource

        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10 * _MOST_SECONDS)  # for those who wait rather than compute
        for case in cases:
            os.write(pipe, b"+\n")
            problem = case()
            if problem is not None:
                os.write(pipe, (" ".join(problem.split()) or "?").encode())
                break
        status = 0
    finally:
        os._exit(status)


def _ending(status: int) -> str:
    if -status in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL):
        return f"it took more than {_MOST_SECONDS} s"
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"it touched memory that is not its own: the process ended with {name}"

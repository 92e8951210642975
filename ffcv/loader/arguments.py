"""Arguments of a loader, checked.

Each function gives what the loader works with, or raises an ``ArgumentError``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import config

from ffcv.errors import ArgumentError
from ffcv.pipeline.compiler import Compiler
from ffcv.whole import whole as as_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compiles", "indices_of", "os_cache_by_default", "skips", "whole", "workers"]


def os_cache_by_default() -> bool:
    """What the environment says, as in FFCV 1.x: any number but 0 is against the system's cache."""
    name = "FFCV_DEFAULT_CACHE_PROCESS"
    value = os.environ.get(name) or "0"
    try:
        return not int(value)
    except ValueError:
        raise ArgumentError(
            f"the environment variable {name} must be 0 (read files through the system's page "
            f"cache) or 1 (into memory of the process), and is {value!r}"
        ) from None


def compiles(jit: bool | None) -> bool:
    """Whether a loader compiles, by its argument ``jit`` or by default."""
    if config.DISABLE_JIT and jit:
        raise ArgumentError(
            "jit=True: Numba has been told to compile nothing, by NUMBA_DISABLE_JIT=1; leave that "
            "away, or run the loader as Python by jit=False or FFCV_JIT=0"
        )
    if jit is not None:
        return bool(jit)
    wanted = Compiler.is_enabled and os.environ.get("FFCV_JIT") != "0"
    return wanted and not config.DISABLE_JIT


def whole(name: str, value: Any, low: int) -> int:
    """A whole number of at least ``low``."""
    try:
        number = as_whole(value)
    except TypeError:
        number = low - 1
    if number < low:
        raise ArgumentError(f"{name}: expected a whole number of at least {low}, got {value!r}")
    return number


def workers(num_workers: int) -> int:
    """How many threads to start."""
    if num_workers == -1:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if num_workers == 0:
        # As other loaders call it: no parallelism. Here one thread does the work.
        return 1
    return whole("num_workers", num_workers, 1)


def indices_of(indices: Any, num_samples: int) -> NDArray[np.int64]:
    """Positions in the file; those of all samples for ``None``."""
    if indices is None:
        return np.arange(num_samples, dtype=np.int64)
    chosen = np.asarray(indices)
    if chosen.size == 0:
        return np.empty(0, np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ArgumentError(
            f"indices: expected a list of positions, got {chosen.dtype} of shape {chosen.shape}"
        )
    low, high = int(chosen.min()), int(chosen.max())
    if low < 0 or high >= num_samples:
        wrong = low if low < 0 else high
        raise ArgumentError(f"indices: {wrong} is no position of the {num_samples} samples")
    return np.ascontiguousarray(chosen, np.int64)


def skips(on_error: Any) -> bool:
    """Whether samples that fail are left out."""
    if on_error not in ("raise", "skip"):
        raise ArgumentError(f'on_error: expected "raise" or "skip", got {on_error!r}')
    return bool(on_error == "skip")

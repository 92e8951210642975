"""Arguments of a loader, checked.

Each function gives what the loader works with, or raises an ``ArgumentError``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numba.core import config

from ffcv.beton.values import unmasked
from ffcv.compat.compiler import Compiler
from ffcv.errors import ArgumentError, EmptyPassError
from ffcv.loader.selection import Selection
from ffcv.processors import available_cores
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Flag",
    "WholeNumber",
    "check_any",
    "compiles",
    "flag",
    "indices_of",
    "os_cache_by_default",
    "selection_of",
    "skips",
    "verifies",
    "workers",
]

Value = TypeVar("Value")


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
        return flag("jit", jit)
    value = os.environ.get("FFCV_JIT") or "1"
    if value not in ("0", "1"):
        raise ArgumentError(
            "the environment variable FFCV_JIT must be 1 (compile) or 0 (run operations as the "
            f"Python that they are), and is {value!r}"
        )
    wanted = Compiler.is_enabled and value == "1"
    return wanted and not config.DISABLE_JIT


def workers(num_workers: int) -> int:
    """How many threads to start."""
    if num_workers == -1:
        return available_cores()
    if num_workers == 0:
        # As other loaders call it: no parallelism. Here one thread does the work.
        return 1
    try:
        return at_least("num_workers", num_workers, 1)
    except ArgumentError:
        raise ArgumentError(
            "num_workers: expected a number of threads from 1 on (0 counts as 1), or -1 for as "
            f"many as there are cores for this process, got {num_workers!r}"
        ) from None


def flag(name: str, value: Any) -> bool:
    """A truth value; 0 and 1 will do, and ``None`` is no."""
    if value is None or (isinstance(value, bool | int | np.bool_) and value in (0, 1)):
        return bool(value)
    raise ArgumentError(f"{name}: expected True or False, got {value!r}")


class _Checked(Generic[Value]):
    """An attribute that is checked whenever it is set."""

    def __init__(self, check: Callable[[str, Any], Value]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        if instance is None:
            return self  # type: ignore[return-value]  # for documentation tools
        return instance.__dict__[self._name]  # type: ignore[no-any-return]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = self._check(self._name, value)


class WholeNumber(_Checked[int]):
    """An attribute that is a whole number of at least ``low``, also when it is set later."""

    def __init__(self, low: int) -> None:
        super().__init__(lambda name, value: at_least(name, value, low))


class Flag(_Checked[bool]):
    """An attribute that is a truth value, also when it is set later."""

    def __init__(self) -> None:
        super().__init__(flag)


def indices_of(indices: Any, num_samples: int, what: str) -> NDArray[np.int64]:
    """Sample indices.

    Args:
        indices: what a user gave.
        num_samples: of the file.
        what: where it comes from, for messages.
    """
    try:
        chosen = np.asarray(unmasked(indices))
    except ValueError as error:  # lists of several lengths, or masked values
        raise ArgumentError(f"{what}: {error}") from error
    if chosen.size == 0 and chosen.ndim == 1:
        return np.empty(0, np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ArgumentError(
            f"{what}: expected a list or an array of whole numbers, the indices of samples, got "
            f"{_described(indices, chosen)}"
        )
    low, high = int(chosen.min()), int(chosen.max())
    if low < 0 or high >= num_samples:
        raise ArgumentError(
            f"{what}: {low if low < 0 else high} is no sample index; the file has "
            f"{num_samples} samples, from 0 on{', and none is counted from the end' * (low < 0)}"
        )
    return np.ascontiguousarray(chosen, np.int64)


def selection_of(indices: Any, num_samples: int) -> Selection:
    """The samples that a user chose; all of them for ``None``."""
    chosen = None if indices is None else indices_of(indices, num_samples, "indices")
    return Selection(num_samples, chosen)


def _described(given: Any, array: NDArray[Any]) -> str:
    if array.ndim == 0:
        ordered = ", which has no order: write sorted(…)" if isinstance(given, set) else ""
        return f"{type(given).__name__} {repr(given)[:80]}{ordered}"
    words = f"{array.dtype} of shape {array.shape}"
    return f"{words}; for a mask, write np.flatnonzero(mask)" if array.dtype == bool else words


def check_any(samples: int, least: int, where: str) -> None:
    """Refuse a pass that would have no batch.

    Args:
        samples: how many it has.
        least: how many a batch needs.
        where: what gives them, for messages.
    """
    if samples == 0:
        raise EmptyPassError(f"{where} none of them, so a pass would have no batch")
    if samples < least:
        raise EmptyPassError(
            f"batch_size is {least}, but there are only {samples} samples and drop_last is true, "
            "so a pass would have no batch; use a smaller batch_size or drop_last=False"
        )


def skips(on_error: Any) -> bool:
    """Whether samples that fail are left out."""
    if on_error not in ("raise", "skip"):
        raise ArgumentError(f'on_error: expected "raise" or "skip", got {on_error!r}')
    return bool(on_error == "skip")


def verifies(verify: Any) -> bool:
    """Whether pages are checked when they are first read."""
    if verify not in (None, "first_read"):
        raise ArgumentError(
            f'verify: expected "first_read" or None, got {verify!r}; to check a file as a whole, '
            "use `ffcv verify`"
        )
    return verify is not None

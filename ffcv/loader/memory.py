"""Batch memory that belongs to the user for as long as he looks at it.

A buffer returns to its pool when the last array, view or tensor that shares it is gone, and not
before; a batch that is kept never changes. The pool never blocks: when it is empty, it allocates.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.kernels.structs import aligned
from ffcv.processors import available_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BufferPool",
    "MemoryBudget",
    "TensorPool",
    "close_gaps",
    "copy_samples",
    "last_level_cache",
]


class MemoryBudget(NamedTuple):
    """Bytes that a loader takes for itself, beside compiled code and the tables of its file.

    Attributes:
        workers: scratch and workspaces of all workers together.
        batches: batches that are on their way, plus the one that the user works on.
        fetched: data that is fetched ahead, from storages that cannot be mapped.
    """

    workers: int
    batches: int
    fetched: int = 0

    @property
    def total(self) -> int:
        """All of it together."""
        return self.workers + self.batches + self.fetched


class _Lease:
    """Owner of a buffer while arrays refer to it.

    NumPy shortens chains of views to the last owner that is no array; this is that owner, so that
    its finalizer runs when the last view of any kind is gone.
    """

    __slots__ = ("__array_interface__", "_buffer", "_free")

    def __init__(self, buffer: NDArray[np.uint8], free: deque[NDArray[np.uint8]]) -> None:
        self.__array_interface__ = buffer.__array_interface__
        self._buffer, self._free = buffer, free

    def __del__(self) -> None:
        # Finalizers run anywhere, also inside a locked section: an append is all that is safe. What
        # a signal handler raises may leave an object half made.
        free = getattr(self, "_free", None)
        if free is not None:
            free.append(self._buffer)


class BufferPool:
    """Buffers of one size, used again and again.

    Args:
        shape: shape of a full batch.
        dtype: its dtype.
        keep: how many free buffers are kept at most.
        pin_for: a CUDA device, with its number, that copies from the memory, which is page-locked
            then; torch's own host allocator is the pool, and keeps what it has locked.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], keep: int, pin_for: Any = None
    ) -> None:
        self.shape, self.dtype, self.pin_for = shape, dtype, pin_for
        self.nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        self._free: deque[NDArray[np.uint8]] = deque(maxlen=keep)

    def take(self, size: int) -> NDArray[Any]:
        """An array of ``size`` samples with undefined content."""
        if self.pin_for is not None:
            memory = self._pinned_buffer()
        else:
            memory = np.asarray(_Lease(self._buffer(), self._free))
        return memory.view(self.dtype).reshape(self.shape)[:size]

    def _buffer(self) -> NDArray[np.uint8]:
        try:
            return self._free.pop()
        except IndexError:
            # Samples can be written past the cache only where they fill whole lines of it.
            return aligned(self.nbytes)

    def _pinned_buffer(self) -> NDArray[np.uint8]:
        import torch

        # Locking memory makes a context on the current device where there is none on any.
        with torch.cuda.device(self.pin_for):
            return torch.empty(self.nbytes, dtype=torch.uint8, pin_memory=True).numpy()


class TensorPool:
    """Tensors of one size; torch's allocators keep their memory for the next ones.

    Args:
        shape: of one sample.
        dtype: a ``torch.dtype``.
        device: where they live.
        is_copied: whether a CUDA device copies from them. In the host's memory they are page-locked
            then.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, device: Any, is_copied: bool) -> None:
        self._shape, self._dtype, self._device = shape, dtype, device
        self._is_pinned = str(device) == "cpu" and is_copied

    def take(self, size: int) -> Any:
        """A tensor of ``size`` samples with undefined content."""
        import torch

        return torch.empty(
            (size, *self._shape),
            dtype=self._dtype,
            device=self._device,
            pin_memory=self._is_pinned,
        )


@functools.cache
def last_level_cache(system: str = "/sys/devices/system/cpu") -> int | None:
    """Bytes of the largest caches of the processors that this process may run on.

    Processors that share a cache count it once. ``None`` where it cannot be learned.

    Args:
        system: where Linux tells about processors.
    """
    sizes = {}
    try:
        for processor in available_processors():
            levels = Path(f"{system}/cpu{processor}/cache").glob("index*")
            last = max(levels, key=lambda level: int((level / "level").read_text()))
            size = (last / "size").read_text().strip()
            sizes[(last / "shared_cpu_list").read_text()] = int(size.removesuffix("K")) << 10
    except (AttributeError, OSError, ValueError):
        return None
    return sum(sizes.values())


def copy_samples(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy samples byte by byte, which for members of structures includes what lies between."""
    target.reshape(-1).view(np.uint8)[:] = source.reshape(-1).view(np.uint8)


def close_gaps(batch: NDArray[Any], kept: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """Move samples to the front of their batch, whose memory stays the pool's.

    Args:
        batch: C-contiguous.
        kept: stretches ``[start, stop)`` of it, in order.

    Returns:
        The part of ``batch`` that they take now.
    """
    size = 0
    for start, stop in kept:
        copy_samples(batch[start:stop], batch[size : size + stop - start])
        size += stop - start
    return batch[:size]

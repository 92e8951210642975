"""Memory for what is fetched, in which compiled code finds it as in a mapped file."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.reserving import reserve
from ffcv.beton.source import SLACK, Source

__all__ = ["Arena"]


class Arena:
    """As many addresses as a file has bytes, of which those have memory that were fetched.

    So a region has the same place in it as in the file, and kernels read it as if the file were
    mapped. Each belongs to one batch, so that nothing is fetched into it that another one still
    reads, and it is dropped with that: tables of pages, which the system keeps for addresses that
    had memory once, would else become as large as for the whole file.

    Args:
        source: where the bytes come from.

    Attributes:
        data: ``(num_bytes,)`` uint8, read-only. :data:`~ffcv.beton.source.SLACK` more bytes behind
            it can be read.

    Raises:
        BetonError: the system does not give so many addresses.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._map = reserve(source.path, source.num_bytes + SLACK)
        self._memory = np.frombuffer(self._map, np.uint8)
        self.data: NDArray[np.uint8] = self._memory[: source.num_bytes]
        self.data.flags.writeable = False
        self._filled: list[tuple[int, int]] = []

    def fill(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Give back what was fetched before, and fetch what is needed now.

        Args:
            ranges: offset and size of each range.

        Raises:
            BetonError: see :meth:`Source.fetch <ffcv.beton.source.Source.fetch>`.
        """
        self.empty()
        self.add(ranges)

    def add(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Fetch what else is needed; raises the same as :meth:`fill`."""
        self._filled += ranges
        self._source.fetch(ranges, self._memory)

    def empty(self) -> None:
        """Give the memory back."""
        for offset, size in self._filled:
            start = offset // mmap.PAGESIZE * mmap.PAGESIZE
            if hasattr(mmap, "MADV_DONTNEED") and size:
                self._map.madvise(mmap.MADV_DONTNEED, start, offset + size - start)
        self._filled = []

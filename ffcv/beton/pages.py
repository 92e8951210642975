"""Where the regions of a sample go, and how pages reach the file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xxhash

__all__ = ["PageAllocator", "PageWriter"]

_GATHER = 1 << 20
_ZEROS = memoryview(bytes(_GATHER))


@dataclass
class PageAllocator:
    """Decides at which file offsets the regions of each sample lie; pure arithmetic.

    Regions follow each other in the order of the samples. All regions of a sample lie in one page
    if they fit in one; otherwise they begin a run of pages that no other sample uses. An empty
    region takes one byte, so that every region has a pointer of its own.

    Attributes:
        start: file offset of the first data page.
        page_size: bytes of a page.
        position: next free byte, counted from ``start``.

    >>> allocator = PageAllocator(start=100, page_size=10)
    >>> allocator.place([4, 0]), allocator.place([6]), allocator.place([15]), allocator.place([1])
    ([100, 104], [110], [120], [140])
    """

    start: int
    page_size: int
    position: int = 0

    def place(self, sizes: Sequence[int]) -> list[int]:
        """Pointers (absolute file offsets) of one sample's regions of ``sizes`` bytes."""
        total = sum(max(size, 1) for size in sizes)
        left = -self.position % self.page_size
        if total > left:
            self.position += left
        pointers = []
        for size in sizes:
            pointers.append(self.start + self.position)
            self.position += max(size, 1)
        if total > self.page_size:
            self.position += -self.position % self.page_size
        return pointers

    @property
    def num_pages(self) -> int:
        """How many pages have been begun."""
        return -(-self.position // self.page_size)


class PageWriter:
    """Writes regions in rising order of their pointers, and takes the checksum of every page.

    What lies between two regions stays a hole of the file, which reads as zeros.

    Attributes:
        checksums: xxh3 of each finished page, of all its bytes.
    """

    def __init__(
        self, start: int, page_size: int, write_at: Callable[[int, memoryview], None]
    ) -> None:
        self.checksums = array("Q")
        self._page_size, self._write_at = page_size, write_at
        self._start = self._end = start
        self._digest = xxhash.xxh3_64()
        self._buffer = bytearray()

    def write(self, pointer: int, data: memoryview) -> None:
        """Put ``data`` (bytes, contiguous) at the file offset ``pointer``."""
        self._skip(pointer)
        # Small regions are gathered into one system call; large ones need no copy.
        if len(data) < _GATHER:
            self._buffer += data
        else:
            self._flush()
            self._write_at(self._end, data)
        self._hash(data)
        if len(self._buffer) >= _GATHER:
            self._flush()

    def finish(self, end: int) -> None:
        """Fill up to the file offset ``end``, where the last page ends."""
        self._flush()
        self._skip(end)

    def _flush(self) -> None:
        if self._buffer:
            self._write_at(self._end - len(self._buffer), memoryview(bytes(self._buffer)))
            self._buffer.clear()

    def _skip(self, pointer: int) -> None:
        if pointer > self._end:
            self._flush()
        while self._end < pointer:
            self._hash(_ZEROS[: pointer - self._end])

    def _hash(self, data: memoryview) -> None:
        """Advance over ``data``, page by page."""
        while len(data):
            left = self._page_size - (self._end - self._start) % self._page_size
            piece, data = data[:left], data[left:]
            self._digest.update(piece)
            self._end += len(piece)
            if len(piece) == left:
                self.checksums.append(self._digest.intdigest())
                self._digest.reset()

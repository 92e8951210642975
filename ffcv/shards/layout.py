"""Where the shards of a dataset lie, and what of it belongs to which."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import BetonError
from ffcv.shards.entry import Entry

__all__ = ["Layout", "firsts"]

_MOST_BYTES = 1 << 62
"""More than any system has addresses."""


class Layout:
    """The places of shards, one behind the other.

    What lies side by side is their data; what is around that in a file, such as its records, has no
    place. So small shards do not need more pages of memory, and entries for these in the
    processor's tables, than one file would. Behind the data of each there is at least a byte that
    belongs to none.

    Args:
        entries: the shards.

    Raises:
        BetonError: their sizes make no sense.

    Attributes:
        entries: the same.
        page_size: the largest of theirs.
        starts: where the data of each begins, ``(K,)`` int64, at a page of memory.
        bases: where each file would begin, ``(K,)`` int64.
        num_bytes: of all of it.
        samples: index of the first sample of each shard, and how many there are, ``(K + 1,)``.
        regions: the same of rows of the region table.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self.page_size = max(entry.page_size for entry in entries)
        if sum(entry.num_bytes for entry in entries) >= _MOST_BYTES:
            raise BetonError(entries[0].path, "with the other files, it is larger than can be read")
        sizes = [entry.data_end - entry.data_start for entry in entries]
        places = firsts((size // mmap.PAGESIZE + 1) * mmap.PAGESIZE for size in sizes)
        data = np.array([entry.data_start for entry in entries], np.int64)
        self.starts = places[:-1] + data.max()
        self.bases = self.starts - data
        ends = self.bases + np.array([entry.num_bytes for entry in entries], np.int64)
        self.num_bytes = int(ends.max())
        self.samples = firsts(entry.num_samples for entry in entries)
        self.regions = firsts(entry.num_regions for entry in entries)

    @property
    def num_samples(self) -> int:
        """How many samples all of them have."""
        return int(self.samples[-1])

    @property
    def regions_per_sample(self) -> int:
        """Of each sample of all shards, or 0."""
        found = {entry.regions_per_sample for entry in self.entries if entry.num_samples}
        return found.pop() if len(found) == 1 else 0

    def place_of(self, sample: int) -> tuple[int, int]:
        """The shard of a sample, and its index there."""
        shard = int(np.searchsorted(self.samples[:-1], sample, side="right")) - 1
        return shard, sample - int(self.samples[shard])

    def shards_at(self, offsets: NDArray[np.int64]) -> NDArray[np.intp]:
        """The shards in whose data some bytes lie."""
        return np.searchsorted(self.starts, offsets, side="right") - 1

    def shard_at(self, offset: int) -> int:
        """The shard in whose data a byte lies."""
        return int(np.searchsorted(self.starts, offset, side="right")) - 1


def firsts(counts: Iterable[int]) -> NDArray[np.int64]:
    """Where each part begins if they lie side by side, and where all end.

    >>> firsts([3, 0, 2]).tolist()
    [0, 3, 3, 5]
    """
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, np.int64))])

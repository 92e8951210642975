"""Where the shards of a dataset lie, and what of it belongs to which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ffcv.shards.entry import Entry

__all__ = ["Layout", "firsts"]

_MOST_BYTES = 1 << 62


class Layout:
    """The places of shards, one behind the other.

    Each begins at a multiple of the largest page size, so that a page of one shard has another
    number than any of another shard. Behind each there is at least a byte that belongs to none.

    Args:
        entries: the shards.

    Attributes:
        entries: the same.
        page_size: the largest of theirs.
        bases: where each begins, ``(K,)`` int64.
        num_bytes: of all of it.
        samples: index of the first sample of each shard, and how many there are, ``(K + 1,)``.
        regions: the same of rows of the region table.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self.page_size = max(entry.page_size for entry in entries)
        bases, end = [], 0
        for entry in entries:
            bases.append(end)
            end += (entry.num_bytes // self.page_size + 1) * self.page_size
        self.num_bytes = min(end, _MOST_BYTES)  # more than any system has addresses
        self.bases = np.minimum(np.array(bases, object), _MOST_BYTES).astype(np.int64)
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

    def shard_at(self, offset: int) -> int:
        """The shard of a byte."""
        return int(np.searchsorted(self.bases, offset, side="right")) - 1


def firsts(counts: Iterable[int]) -> NDArray[np.int64]:
    """Where each part begins if they lie side by side, and where all end.

    >>> firsts([3, 0, 2]).tolist()
    [0, 3, 3, 5]
    """
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, np.int64))])

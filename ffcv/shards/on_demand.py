"""Tables of a dataset whose rows are put there when samples first need them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.regions import RegionTable
from ffcv.beton.tables import Table, table_memory
from ffcv.forking import lazy
from ffcv.shards.layout import firsts

__all__ = ["JoinedRegions", "JoinedTable", "Parts"]

_SHIFT = 12
_PART = 1 << _SHIFT
"""Rows of a shard that are put there together."""

Fill = Callable[[int, int, int], None]
"""``fill(shard, start, stop)`` puts rows there; they are counted from the shard's first."""


class Parts:
    """Which rows are there.

    Several threads may put the same rows there at the same time, as they are the same.

    Args:
        starts: number of the first row of each shard, and of rows in all, ``(K + 1,)``.
        fill: puts some rows there.

    Attributes:
        is_complete: whether all are.
    """

    def __init__(self, starts: NDArray[np.int64], fill: Fill) -> None:
        self._starts, self._fill = starts, fill
        self._parts = firsts(-(-count // _PART) for count in np.diff(starts).tolist())
        self._known = np.zeros(int(self._parts[-1]), np.bool_)
        self.is_complete = not len(self._known)

    def need(self, rows: NDArray[np.int64]) -> None:
        """Make sure that some rows are there; raises what filling raises."""
        if self.is_complete:
            return
        shards = np.searchsorted(self._starts[:-1], rows, side="right") - 1
        parts = self._parts[shards] + ((rows - self._starts[shards]) >> _SHIFT)
        known = self._known[parts]
        if not known.all():
            self._put(np.unique(parts[~known]))

    def need_all(self) -> None:
        """Make sure that all of them are there; raises the same."""
        if not self.is_complete:
            self._put(np.flatnonzero(~self._known))

    def need_shards(self, shards: NDArray[np.int64]) -> None:
        """Make sure that all rows of some shards are there; raises the same."""
        for shard in np.unique(shards).tolist():
            first, stop = self._parts[shard : shard + 2]
            self._put(first + np.flatnonzero(~self._known[first:stop]))

    def _put(self, parts: NDArray[np.int64]) -> None:
        for part in parts.tolist():
            shard = int(np.searchsorted(self._parts[:-1], part, side="right")) - 1
            start = (part - int(self._parts[shard])) << _SHIFT
            count = int(self._starts[shard + 1] - self._starts[shard])
            self._fill(shard, start, min(start + _PART, count))
            self._known[part] = True
        self.is_complete = bool(self._known.all())


class JoinedTable(Table):
    """A table of rows of all shards.

    Args:
        path: the dataset, for messages.
        starts: see :class:`Parts`.
        row_size: bytes of a row.
        read: ``read(shard, start, stop)`` gives rows of a shard as they are in the dataset, uint8.
    """

    is_unchecked = False

    def __init__(
        self,
        path: str,
        starts: NDArray[np.int64],
        row_size: int,
        read: Callable[[int, int, int], NDArray[np.uint8]],
    ) -> None:
        self.length = int(starts[-1]) * row_size
        self._path, self._starts, self._size, self._rows_of = path, starts, row_size, read
        self.parts = Parts(starts, self._put)

    @property
    def is_complete(self) -> bool:  # type: ignore[override]
        """Whether all of it is there."""
        return self.parts.is_complete

    @lazy
    def _memory(self) -> NDArray[np.uint8]:
        return table_memory(self._path, self.length)

    def need(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Make sure that some bytes are there; raises what reading a shard raises."""
        for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self.parts.need(np.arange(first // self._size, -(-end // self._size)))

    def need_rows(self, rows: NDArray[np.int64], size: int) -> None:
        """Make sure that some rows are there; raises the same.

        Args:
            rows: numbers of groups of rows that lie side by side.
            size: bytes of such a group.
        """
        each = size // self._size
        self.parts.need(rows * each)
        if each > 1:
            self.parts.need(rows * each + each - 1)

    def need_all(self) -> None:
        """Make sure that all of it is there; raises the same."""
        self.parts.need_all()

    def _put(self, shard: int, start: int, stop: int) -> None:
        rows = self._rows_of(shard, start, stop)
        first = int(self._starts[shard])
        self._memory[(first + start) * self._size : (first + stop) * self._size] = rows


class JoinedRegions(RegionTable):
    """The region table of a dataset.

    Args:
        table: its rows.
        samples: index of the first sample of each shard, and how many there are, ``(K + 1,)``.
        per_sample: how many regions each sample has, or 0.
    """

    def __init__(self, table: JoinedTable, samples: NDArray[np.int64], per_sample: int) -> None:
        super().__init__(table, int(samples[-1]), None)
        self._known_each, self._samples, self._parts = per_sample, samples, table.parts

    def need_samples(self, ids: NDArray[np.int64]) -> None:
        """Make sure that the rows of some samples are there; raises what reading a shard raises."""
        if self.per_sample:
            super().need_samples(ids)
        elif not self._parts.is_complete:
            shards = np.searchsorted(self._samples[:-1], ids, side="right") - 1
            self._parts.need_shards(shards)

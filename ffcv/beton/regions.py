"""The region table, searched without copying it: it may have hundreds of millions of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.layout import REGION_DTYPE, REGION_SIZE
from ffcv.forking import lazy

if TYPE_CHECKING:
    from ffcv.beton.extension import Extension
    from ffcv.beton.tables import Table

__all__ = [
    "RegionTable",
    "bisect_right",
    "bounded",
    "find_sizes",
    "is_sorted",
    "pointers_in",
    "regions_per_sample",
    "samples_between",
    "sort_rows",
]

_CHUNK_ROWS = 1 << 17
"""Rows that are looked at together: 3 MiB, which stays in cache."""

_SPAN = 8
"""Searching copies the rows between the smallest and the largest pointer if they are at most this
many times as many as the pointers."""


Need = Callable[[NDArray[np.intp]], None]
"""``need(rows)`` makes sure that the rows of these numbers are there."""


class RegionTable:
    """The region table of an open file.

    Args:
        table: its bytes.
        num_samples: how many samples the file has.
        extension: what its writer said about it, or ``None``.

    Attributes:
        rows: ``(R,)`` rows of ``sample_id, ptr, size``, sorted by ``ptr``, then ``size``;
            read-only. Those that nobody needed yet are undefined.
    """

    def __init__(self, table: Table, num_samples: int, extension: Extension | None) -> None:
        self._table, self._num_samples = table, num_samples
        self._known_each = None if extension is None else extension.regions_per_sample
        self.rows = table.content.view(REGION_DTYPE)
        # What has checksums of its blocks is sorted, or else pointers are not found.
        if table.is_unchecked and not is_sorted(self._read_rows, len(self.rows)):
            self.rows = sort_rows(self.rows)

    @lazy
    def per_sample(self) -> int:
        """How many regions each sample has; see :func:`regions_per_sample`."""
        if self._known_each is not None:
            is_possible = self._known_each * self._num_samples == len(self.rows)
            return self._known_each if is_possible else 0
        self.need_all()
        return regions_per_sample(self.rows, self._num_samples)

    def need_all(self) -> None:
        """Make sure that all rows are there.

        Raises:
            ChecksumError: some are not what was written.
        """
        self._table.need_all()

    def need_samples(self, ids: NDArray[np.int64]) -> None:
        """Make sure that the rows of some samples are there; raises the same."""
        if self._table.is_complete:
            return
        size = self.per_sample * REGION_SIZE
        if size:
            self._table.need_rows(ids, size)
        else:
            self._table.need_all()

    def find_sizes(
        self, pointers: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Look up regions by their pointers; see :func:`find_sizes`."""
        return find_sizes(self.rows, pointers, self.need_rows)

    def rows_below(self, pointers: NDArray[np.uint64]) -> NDArray[np.intp]:
        """How many rows have a pointer below each of these; those that it looks at are read.

        Args:
            pointers: ``(K,)``, from 1 on.
        """
        return bisect_right(self.rows["ptr"], pointers - np.uint64(1), self.need_rows)

    def need_rows(self, rows: NDArray[np.intp]) -> None:
        """Make sure that some rows are there; raises the same."""
        self._table.need_rows(rows, REGION_SIZE)

    def _read_rows(self, first: int, buffer: NDArray[np.uint8]) -> None:
        self._table.read_into(first * REGION_SIZE, buffer)


def regions_per_sample(regions: NDArray[Any], num_samples: int) -> int:
    """How many regions each sample has; 0 unless they lie in the file in the order of the samples.

    All files that ffcv writes are like that, with any number of workers; in those of FFCV 1.x the
    pages of several workers may alternate. It is a hint, as nobody vouches for the table.
    """
    if num_samples == 0 or len(regions) % num_samples != 0:
        return 0
    each = len(regions) // num_samples
    if each == 0:
        return 0
    owners = regions["sample_id"]
    for first in range(0, len(regions), _CHUNK_ROWS):
        part = owners[first : first + _CHUNK_ROWS]
        rows = np.arange(first, first + len(part), dtype=np.uint64)
        if not (part == rows // np.uint64(each)).all():
            return 0
    return each


def is_sorted(read_rows: Callable[[int, NDArray[np.uint8]], None], count: int) -> bool:
    """Whether a table is sorted by pointer, and rows of one pointer by size.

    Args:
        read_rows: ``read_rows(first, buffer)`` fills a uint8 buffer with rows from ``first`` on.
            Reading, unlike looking through a map, leaves the memory of the process alone.
        count: number of rows.
    """
    buffer = np.empty(min(count, _CHUNK_ROWS + 1) * REGION_SIZE, np.uint8)
    # Chunks overlap by one row, so that the seams are compared too.
    for first in range(0, max(count - 1, 0), _CHUNK_ROWS):
        raw = buffer[: min(count - first, _CHUNK_ROWS + 1) * REGION_SIZE]
        read_rows(first, raw)
        rows = raw.view(REGION_DTYPE)
        before, after = rows[:-1], rows[1:]
        rising = after["ptr"] > before["ptr"]
        same = (after["ptr"] == before["ptr"]) & (after["size"] >= before["size"])
        if not (rising | same).all():
            return False
    return True


def sort_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """A copy of a table, sorted by pointer and then by size; read-only."""
    ordered = rows[np.lexsort((rows["size"], rows["ptr"]))]
    ordered.flags.writeable = False
    return ordered


def _nothing(rows: NDArray[np.intp]) -> None:
    """All rows are there."""


def find_sizes(
    table: NDArray[Any], pointers: NDArray[np.uint64], need: Need = _nothing
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Look up regions by their pointers.

    FFCV 1.x gives an empty region the pointer of the region behind it; of several rows with one
    pointer, the largest counts.

    Args:
        table: rows sorted by pointer and then by size.
        pointers: ``(K,)``.
        need: called before rows are looked at.

    Returns:
        Sizes ``(K,)`` as stored, and whether there is such a row ``(K,)``.
    """
    if not len(table) or not len(pointers):
        return np.zeros(len(pointers), np.uint64), np.zeros(len(pointers), np.bool_)
    keys = table["ptr"]
    ends = np.array([pointers.min(), pointers.max()], np.uint64)
    low, high = (int(i) for i in bisect_right(keys, ends, need))
    low = max(low - 1, 0)
    if high - low <= _SPAN * len(pointers):
        need(np.arange(low, high))
        rows = low + np.searchsorted(np.ascontiguousarray(keys[low:high]), pointers, side="right")
    else:
        rows = bisect_right(keys, pointers, need)
    rows = np.maximum(rows - 1, 0)
    need(rows)
    return table["size"][rows], keys[rows] == pointers


def samples_between(rows: NDArray[Any], start: int, end: int, num_samples: int) -> list[int]:
    """Samples with a region in a range of bytes, sorted.

    Args:
        rows: the region table, sorted.
        start: where the range begins.
        end: where it ends.
        num_samples: of the file; a damaged table may name others.
    """
    ends = np.array([start - 1, end - 1], np.uint64)
    first, last = (int(i) for i in bisect_right(rows["ptr"], ends))
    # The region before the first may reach into the range.
    hit = rows[max(first - 1, 0) : last]
    hit = hit[(hit["ptr"] >= start) | (hit["size"] > start - np.minimum(hit["ptr"], start))]
    ids = np.unique(hit["sample_id"])
    found: list[int] = ids[ids < num_samples].tolist()
    return found


def pointers_in(records: NDArray[Any], member: str) -> NDArray[np.uint64]:
    """The pointers in a field's records.

    Args:
        records: the field's.
        member: that has them, or ``""`` if the record is nothing else.
    """
    return np.asarray(records[member] if member else records).astype(np.uint64)


def bounded(
    pointers: NDArray[np.uint64],
    sizes: NDArray[np.uint64],
    found: NDArray[np.bool_],
    start: int,
    end: int,
    num_bytes: int,
) -> NDArray[np.int64]:
    """Sizes of those regions that lie in the data pages, -1 of others.

    Unsigned arithmetic, as here, cannot wrap.

    Args:
        pointers: ``(K,)``.
        sizes: ``(K,)``, as :func:`find_sizes` gives them.
        found: ``(K,)``, likewise.
        start: where the records begin.
        end: where the data pages end.
        num_bytes: size of the file.
    """
    first, last = np.uint64(start), np.uint64(end)
    inside = (pointers >= first) & (pointers <= last)
    inside &= sizes <= last - np.minimum(pointers, last)
    # FFCV 1.x gives an empty region a pointer in front of the pages when it comes first.
    inside |= (sizes == 0) & (pointers <= np.uint64(num_bytes))
    return np.where(found & inside, sizes, np.uint64(2**64 - 1)).astype(np.int64)


def bisect_right(
    keys: NDArray[np.uint64], values: NDArray[np.uint64], need: Need = _nothing
) -> NDArray[np.intp]:
    """How many sorted ``keys`` are at most as large as each of ``values``; ``(K,)`` ints.

    ``np.searchsorted(keys, values, side="right")`` gives the same, but copies all of ``keys`` when
    they are a column of a table. ``need`` is called before keys are looked at.
    """
    low = np.zeros(len(values), np.intp)
    high = np.full(len(values), len(keys), np.intp)
    for _ in range(len(keys).bit_length()):
        middle = (low + high) >> 1
        active = low < high
        looked_at = np.minimum(middle, len(keys) - 1)
        need(looked_at)
        right = active & (keys[looked_at] <= values)
        low = np.where(right, middle + 1, low)
        high = np.where(active & ~right, middle, high)
    return low

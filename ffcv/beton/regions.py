"""Searching the region table without copying it: it may have hundreds of millions of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.layout import REGION_DTYPE, REGION_SIZE

__all__ = ["bisect_right", "find_sizes", "is_sorted", "sort_rows"]

_CHUNK_ROWS = 1 << 17
"""Rows that are looked at together: 3 MiB, which stays in cache."""

_SPAN = 8
"""Searching copies the rows between the smallest and the largest pointer if they are at most this
many times as many as the pointers."""


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


def find_sizes(
    table: NDArray[Any], pointers: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Look up regions by their pointers.

    FFCV 1.x gives an empty region the pointer of the region behind it; of several rows with one
    pointer, the largest counts.

    Args:
        table: rows sorted by pointer and then by size.
        pointers: ``(K,)``.

    Returns:
        Sizes ``(K,)`` as stored, and whether there is such a row ``(K,)``.
    """
    if not len(table) or not len(pointers):
        return np.zeros(len(pointers), np.uint64), np.zeros(len(pointers), np.bool_)
    keys = table["ptr"]
    ends = np.array([pointers.min(), pointers.max()], np.uint64)
    low, high = (int(i) for i in bisect_right(keys, ends))
    low = max(low - 1, 0)
    if high - low <= _SPAN * len(pointers):
        rows = low + np.searchsorted(np.ascontiguousarray(keys[low:high]), pointers, side="right")
    else:
        rows = bisect_right(keys, pointers)
    rows = np.maximum(rows - 1, 0)
    return table["size"][rows], keys[rows] == pointers


def bisect_right(keys: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.intp]:
    """How many sorted ``keys`` are at most as large as each of ``values``; ``(K,)`` ints.

    ``np.searchsorted(keys, values, side="right")`` gives the same, but copies all of ``keys`` when
    they are a column of a table.
    """
    low = np.zeros(len(values), np.intp)
    high = np.full(len(values), len(keys), np.intp)
    for _ in range(len(keys).bit_length()):
        middle = (low + high) >> 1
        active = low < high
        right = active & (keys[np.minimum(middle, len(keys) - 1)] <= values)
        low = np.where(right, middle + 1, low)
        high = np.where(active & ~right, middle, high)
    return low

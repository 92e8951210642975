"""What one batch reads: which bytes, in which pieces, and whether they are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import BetonError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.source import Source
    from ffcv.storage.arena import Arena

__all__ = ["Fetch", "merged", "with_samples"]

_LEAST_RANGES = 8
"""Fewer ranges than this are not divided between threads."""

_LONGEST = 4 << 20
"""Bytes of the longest range that is fetched at once."""


class Fetch:
    """What one batch reads, on its way or there.

    Attributes:
        indices: of its samples.
        arena: where it lies, from when it began to come until it is given back.
        error: why some of it could not be fetched.
        was_near: whether storage that was told about it had nothing to bring.
    """

    __slots__ = (
        "_failed_at", "_left", "_pieces", "_ranges", "arena", "error", "indices",
        "is_left", "is_over", "is_planned", "nbytes", "notify", "was_near",
    )  # fmt: skip

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self.indices = indices
        self.arena: Arena | None = None
        self.error: BaseException | None = None
        self.nbytes = 0
        self.is_planned = self.is_over = self.is_left = False
        self.was_near = True
        self.notify: Callable[[], None] | None = None
        self._ranges: NDArray[Any] | None = None
        self._pieces: list[NDArray[np.int64]] = []
        self._left = self._failed_at = 0

    def plan(self, ranges: NDArray[Any], threads: int) -> None:
        """Note what is needed, and divide it between threads."""
        places = merged(ranges)
        self.nbytes = int(places[:, 1].sum())
        self._ranges, self._pieces = ranges, _pieces(places, threads)
        self._left = self._failed_at = len(self._pieces)

    def tasks(self, source: Source) -> list[Callable[[], None]]:
        """What there is to do; any thread may do each of them."""
        get = source.expect if self.arena is None else self.arena.add
        return [partial(self._get, get, number) for number in range(len(self._pieces))]

    def _get(self, get: Callable[[list[tuple[int, int]]], bool | None], number: int) -> None:
        """Get a piece, unless one before it could not be had."""
        if number > self._failed_at:
            return
        piece = self._pieces[number]
        try:
            if get([(offset, size) for offset, size in piece.tolist()]) is False:
                self.was_near = False
        except BaseException as error:
            if number < self._failed_at:  # in a race of two errors, either will do
                self._failed_at, self.error = number, with_samples(error, self._samples(piece))

    def leave(self) -> None:
        """Fetch nothing."""
        self.is_left, self.nbytes = True, 0

    def count_down(self) -> bool:
        """Note that a task is done; says whether it was the last one. Under a lock."""
        self._left -= 1
        return self._left == 0

    def _samples(self, piece: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whose bytes are in a piece."""
        assert self._ranges is not None
        begins, ends = self._ranges["offset"], self._ranges["offset"] + self._ranges["nbytes"]
        hit = (ends > piece[0, 0]) & (begins < piece[-1].sum())
        found: NDArray[np.int64] = self.indices[np.isin(self.indices, self._ranges["sample"][hit])]
        return found


def merged(ranges: NDArray[Any]) -> NDArray[np.int64]:
    """Ranges without what they have in common, those that touch as one.

    Args:
        ranges: rows with members ``offset`` and ``nbytes``, in any order.

    Returns:
        Offset and size of each, ``(n, 2)``, sorted; none is empty.

    Example:
        >>> members = [("offset", np.int64), ("nbytes", np.int64)]
        >>> merged(np.array([(9, 2), (0, 4), (2, 3), (5, 1), (7, 0)], members)).tolist()
        [[0, 6], [9, 2]]
    """
    ranges = ranges[ranges["nbytes"] > 0]
    if not len(ranges):
        return np.empty((0, 2), np.int64)
    order = np.argsort(ranges["offset"], kind="stable")
    begins = ranges["offset"][order]
    ends = np.maximum.accumulate(begins + ranges["nbytes"][order])
    is_first = np.concatenate([[True], begins[1:] > ends[:-1]])
    is_last = np.append(is_first[1:], True)
    return np.stack([begins[is_first], ends[is_last] - begins[is_first]], 1)


def _pieces(places: NDArray[np.int64], threads: int) -> list[NDArray[np.int64]]:
    """Divide offsets and sizes between threads."""
    if not len(places):
        return []
    if (places[:, 1] > _LONGEST).any():
        places = np.concatenate([_cut(*place) for place in places.tolist()])
    count = max(len(places) // _LEAST_RANGES, int(places[:, 1].sum()) // _LONGEST, 1)
    return np.array_split(places, min(count, threads, len(places)))


def _cut(offset: int, size: int) -> NDArray[np.int64]:
    begins = np.arange(offset, offset + size, _LONGEST)
    ends = np.minimum(begins + _LONGEST, offset + size)
    return np.stack([begins, ends - begins], 1)


def with_samples(error: BaseException, indices: NDArray[np.int64]) -> BaseException:
    """The error with words about the samples that were to be read."""
    if not isinstance(error, BetonError):
        return error
    some = ", ".join(map(str, indices[:5])) + (", …" if len(indices) > 5 else "")
    told = type(error)(error.path, f"{error.problem}. It was to be read for samples {some}")
    told.__cause__ = error
    return told

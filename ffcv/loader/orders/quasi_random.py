"""The order that reads a file by pages."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.loader.orders.base import OrderedLoader, SlotOrder, TraversalOrder
from ffcv.loader.orders.pages import places_by_page
from ffcv.loader.permutation import permuted
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QuasiRandom"]


class _Epoch(NamedTuple):
    """The pages of an epoch, in their order. A place in this order is a **number**.

    Attributes:
        asked: seed and epoch, pages at once and groups.
        pages: the pages, ``(P,)``.
        starts: the number of the first sample of each, ``(P,)``.
        groups: the number at which each group begins, ``(G,)``.
        windows: the number at which each window begins, and behind the last one that of all
            samples, ``(W + 1,)``. Within a window samples are mixed.
    """

    asked: tuple[int, int, int, int]
    pages: NDArray[np.int64]
    starts: NDArray[np.int64]
    groups: NDArray[np.int64]
    windows: NDArray[np.int64]


class QuasiRandom(SlotOrder):
    """Random within a few pages at a time.

    The pages of the file come in a random order, ``pages_at_once`` of them together; the samples of
    those are mixed. So a pass reads each page about once, and few of them are in use at any time,
    while each sample still comes exactly once. Samples that have no data in any page, only numbers
    in their records, count as lying in pages of their own.

    Several processes that shared out one such order would each read all pages. So it can be dealt
    to groups: the pages of the epoch are cut into ``order_groups`` pieces of as many samples each,
    and slot ``s`` is of group ``s % order_groups``. Any number of processes that divides it visits
    the same samples at the same slots, and each page is read by one of them, or by two.

    Args:
        loader: the loader that asks.
        pages_at_once: of each group; the more, the more random the order, and the more memory the
            pages take.
        order_groups: to how many groups the order is dealt. A process has
            ``order_groups / world_size`` of them, each with pages of its own in use.

    Warns:
        RuntimeWarning: the number of processes does not divide ``order_groups``.
    """

    visits_all = True

    def __init__(
        self, loader: OrderedLoader, pages_at_once: int = 16, order_groups: int = 1
    ) -> None:
        super().__init__(loader)
        self.pages_at_once = at_least("pages_at_once", pages_at_once, 1)
        self.order_groups = at_least("order_groups", order_groups, 1)
        self._places = places_by_page(self.selection, loader.reader)
        self._latest: _Epoch | None = None
        if self.order_groups % self.world_size:
            _warn_of_groups(self.order_groups, self.world_size)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing that can be drawn again."""
        return super().__getstate__() | {"_latest": None}

    def over(self, loader: OrderedLoader) -> TraversalOrder:
        """The same for a loader of other samples, with as many pages at once as this has now."""
        order = super().over(loader)
        assert isinstance(order, QuasiRandom)
        order.pages_at_once, order.order_groups = self.pages_at_once, self.order_groups
        return order

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch."""
        drawn = self._drawn(epoch)
        group, place = slots % self.order_groups, slots // self.order_groups
        numbers = self._mixed(drawn, drawn.groups[group] + place)
        page = np.searchsorted(drawn.starts, numbers, side="right") - 1
        within = numbers - drawn.starts[page]
        return self.selection.at(self._places.at(self._places.firsts[drawn.pages[page]] + within))

    def _mixed(self, drawn: _Epoch, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the samples that come in place of those with some numbers."""
        window = np.searchsorted(drawn.windows, numbers, side="right") - 1
        by_window = np.argsort(window, kind="stable")
        ends = np.flatnonzero(np.diff(window[by_window], append=-1)) + 1
        mixed, first = np.empty_like(numbers), 0
        for end in ends.tolist():
            places, first = by_window[first:end], end
            which = int(window[places[0]])
            start, stop = drawn.windows[which : which + 2].tolist()
            permutation = permuted(stop - start, *drawn.asked[:2], f"order, window {which}")
            mixed[places] = permutation.at(numbers[places] - start) + start
        return mixed

    def _drawn(self, epoch: int) -> _Epoch:
        """The pages of an epoch; those of the latest one are kept."""
        drawn, asked = self._latest, (self.seed, epoch, self.pages_at_once, self.order_groups)
        if drawn is None or drawn.asked != asked:  # other threads may draw meanwhile
            drawn = self._latest = self._draw(asked)
        return drawn

    def _draw(self, asked: tuple[int, int, int, int]) -> _Epoch:
        sizes = np.diff(self._places.firsts)
        pages = permuted(len(sizes), *asked[:2], "order, pages").at(np.arange(len(sizes)))
        starts = _sums(sizes[pages])[:-1]
        # Of n samples, group g has those of the slots g, g + G, …
        counts = (self.num_slots - np.arange(self.order_groups) - 1) // self.order_groups + 1
        groups = _sums(counts)
        windows = [
            _windows(start, stop, starts, self.pages_at_once)
            for start, stop in zip(groups[:-1].tolist(), groups[1:].tolist(), strict=True)
        ]
        bounds = np.concatenate([*windows, groups[-1:]])
        return _Epoch(asked, pages, starts, groups[:-1], bounds)


def _sums(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many there are before each, and in all."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _windows(start: int, stop: int, starts: NDArray[np.int64], pages: int) -> NDArray[np.int64]:
    """Where the windows of a group begin, each with so many pages or parts of them.

    Args:
        start: where the group begins.
        stop: where it ends.
        starts: where pages begin.
        pages: of a window.
    """
    if start == stop:
        return np.empty(0, np.int64)
    first, last = np.searchsorted(starts, [start, stop - 1], side="right") - 1
    return np.maximum(starts[first : last + 1 : pages], start)


def _warn_of_groups(groups: int, world_size: int) -> None:
    multiple = int(np.lcm(groups, world_size))
    warnings.warn(
        f"order_groups is {groups}, which {world_size} processes cannot share out among them, so "
        "each will read nearly all pages of the file. "
        f'order_kwargs={{"order_groups": {multiple}}} has each page read by one process; it is '
        "another order",
        RuntimeWarning,
        stacklevel=7,
    )

"""The samples of one batch of a pass after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ffcv.errors import ArgumentError
from ffcv.loader.arguments import indices_of
from ffcv.pipeline.raising import Told
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.loader.distribution import Share
    from ffcv.loader.orders import SlotOrder

__all__ = ["Batches", "ListVisit", "SlotVisit", "Visit", "ordered"]

_BLOCK = 8192
"""So many samples of an order are asked for at a time, or a batch if that is more: asking takes
longer than a sample does, and nobody waits for a whole epoch's."""


class Visit(Sized, Protocol):
    """What this process visits in a pass; its length is how many samples that are.

    Attributes:
        draws: by what the samples' draws are keyed, likewise; ``None`` for their indices.
    """

    @property
    def draws(self) -> Visit | None:
        """See above."""

    def samples(self, first: int, stop: int) -> NDArray[np.int64]:
        """Indices of the samples from one place to another."""


class SlotVisit:
    """A part of an epoch, from a slot on, of an order that knows its slots.

    It refers to the order and not to the loader, which would otherwise keep itself.

    Args:
        order: whose slots they are.
        epoch: its number.
        share: this process's.
        start: the first slot that any process visits.
        num_samples: of the file.
    """

    def __init__(
        self, order: SlotOrder, epoch: int, share: Share, start: int, num_samples: int
    ) -> None:
        self._order, self._epoch, self._share, self._start = order, epoch, share, start
        self._num_samples = num_samples
        self._num_slots = at_least(f"{type(order).__name__}.num_slots", order.num_slots, 0)

    def __len__(self) -> int:
        return self._share.count(max(0, self._num_slots - self._start))

    @property
    def draws(self) -> Visit | None:
        """The slots, if samples come several times."""
        return _Slots(self) if self._order.repeats else None

    def slots(self, first: int, stop: int) -> NDArray[np.int64]:
        """The slots from one place to another."""
        return self._share.slots(first, stop, self._num_slots, self._start)

    def samples(self, first: int, stop: int) -> NDArray[np.int64]:
        """Indices of the samples from one place to another."""
        slots = self.slots(first, stop)
        where = f"{type(self._order).__name__}.samples_at, epoch {self._epoch}"
        with Told(where):
            given = self._order.samples_at(self._epoch, slots)
        indices = ordered(given, self._num_samples, where)
        if len(indices) != len(slots):
            raise ArgumentError(f"{where}: gave {len(indices)} samples for {len(slots)} slots")
        return indices


class _Slots:
    """The slots of a visit in place of its samples."""

    draws: Visit | None = None

    def __init__(self, visit: SlotVisit) -> None:
        self._visit = visit

    def __len__(self) -> int:
        return len(self._visit)

    def samples(self, first: int, stop: int) -> NDArray[np.int64]:
        """The slots from one place to another."""
        return self._visit.slots(first, stop)


class ListVisit:
    """Samples that an order has dealt out to this process already."""

    draws: Visit | None = None

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def samples(self, first: int, stop: int) -> NDArray[np.int64]:
        """Indices of the samples from one place to another."""
        return self._indices[first:stop]


def ordered(given: object, num_samples: int, where: str) -> NDArray[np.int64]:
    """The sample indices that an order gave.

    Raises:
        ArgumentError: they are none.
    """
    if given is None:
        raise ArgumentError(f"{where}: gave nothing; return the indices of the samples")
    return indices_of(given, num_samples, where)


class Batches(Iterator["NDArray[np.int64]"]):
    """Cuts what a pass visits into batches; its length is how many there are in all.

    Args:
        visit: what it visits.
        batch_size: samples of a batch.
        drop_last: whether a last batch smaller than the others is left out.

    Attributes:
        draws: by what the draws of their samples are keyed, likewise cut; ``None`` for the indices.

    Example:
        >>> batches = Batches(ListVisit(np.arange(5)), 2, drop_last=False)
        >>> len(batches), [batch.tolist() for batch in batches]
        (3, [[0, 1], [2, 3], [4]])
    """

    def __init__(self, visit: Visit, batch_size: int, drop_last: bool) -> None:
        self._visit, count = visit, len(visit)
        draws = visit.draws
        self.draws = None if draws is None else Batches(draws, batch_size, drop_last)
        self._size, self._next = batch_size, 0
        self._stop = count - count % batch_size if drop_last else count
        self._block_size = max(1, _BLOCK // batch_size) * batch_size
        self._block, self._block_start = np.empty(0, np.int64), 0

    def __len__(self) -> int:
        return -(-self._stop // self._size)

    def __next__(self) -> NDArray[np.int64]:
        first = self._next
        if first >= self._stop:
            raise StopIteration
        if first >= self._block_start + len(self._block):
            stop = min(first + self._block_size, self._stop)
            self._block, self._block_start = self._visit.samples(first, stop), first
        self._next = first + self._size
        place = first - self._block_start
        return self._block[place : place + self._size]

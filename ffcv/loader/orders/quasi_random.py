"""The order that reads a file by pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffcv.loader.orders.base import OrderedLoader, TraversalOrder
from ffcv.loader.orders.drawn import DrawnOrder, generator
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QuasiRandom"]


class QuasiRandom(DrawnOrder):
    """Random within a few pages at a time.

    The pages of the file come in a random order, ``pages_at_once`` of them together; the samples of
    those are mixed. So a pass reads each page about once, and few of them are in use at any time,
    while each sample still comes exactly once. Samples that have no data in any page, only numbers
    in their records, count as lying in pages of their own.

    Args:
        loader: the loader that asks.
        pages_at_once: the more, the more random the order, and the more memory the pages take.
    """

    visits_all = True

    def __init__(self, loader: OrderedLoader, pages_at_once: int = 16) -> None:
        super().__init__(loader)
        self.pages_at_once = at_least("pages_at_once", pages_at_once, 1)
        self._pages = _pages_of_samples(loader)[self.indices]

    def over(self, loader: OrderedLoader) -> TraversalOrder:
        """The same for a loader of other samples, with as many pages at once."""
        return type(self)(loader, self.pages_at_once)

    def draw(self, epoch: int) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch."""
        chance = generator(self.seed, epoch)
        pages, page_of = np.unique(self._pages, return_inverse=True)
        turn = chance.permutation(len(pages)) // self.pages_at_once
        by_chance = chance.permutation(len(self.indices))
        order: NDArray[np.int64] = self.indices[np.lexsort((by_chance, turn[page_of]))]
        return order


def _pages_of_samples(loader: OrderedLoader) -> NDArray[np.int64]:
    """The page in which each sample's first data lies, ``(num_samples,)``."""
    reader = loader.reader
    samples, size = reader.num_samples, reader.page_size
    # Records lie side by side: what is not in a page is grouped as if it were.
    pages = -1 - np.arange(samples, dtype=np.int64) * reader.record_dtype.itemsize // size
    regions = reader.file.regions
    known = regions[regions["sample_id"] < samples][::-1]  # the first region is written last
    pages[known["sample_id"].astype(np.int64)] = (known["ptr"] // np.uint64(size)).astype(np.int64)
    return pages

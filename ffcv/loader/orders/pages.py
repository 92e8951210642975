"""Which samples lie together in the pages of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.loader.selection import Selection
    from ffcv.reader import Reader

__all__ = ["PlacesByPage", "places_by_page"]


class PlacesByPage(NamedTuple):
    """The places of a selection, one page after the other.

    Nothing but how near to each other samples are read depends on it, so that a file may say
    whatever it likes.

    Attributes:
        firsts: for ``P`` pages that have any, which of these places come first in each, and how
            many there are in all, ``(P + 1,)`` int64.
        order: the places, ``(N,)`` int64; ``None`` where they lie in the file as they are numbered,
            as in all files that ffcv writes.
    """

    firsts: NDArray[np.int64]
    order: NDArray[np.int64] | None

    def at(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places that come at some numbers in this order of the pages."""
        return numbers if self.order is None else self.order[numbers]


def places_by_page(selection: Selection, reader: Reader) -> PlacesByPage:
    """Where the samples of a selection lie; a sample lies where its first data does.

    Samples that have no data in any page, only numbers in their records, count as lying in pages of
    their own.
    """
    begins = _page_begins(reader)
    if begins is not None and selection.chosen is None:
        return PlacesByPage(np.append(begins, len(selection)), None)
    if begins is None:
        pages = _pages_of_samples(reader)[selection.indices]
    else:
        pages = np.searchsorted(begins, selection.indices, side="right")
    order = np.argsort(pages, kind="stable")
    changes = np.flatnonzero(np.diff(pages[order])) + 1
    firsts = np.concatenate([[0], changes, [len(order)]]) if len(order) else np.zeros(1, np.int64)
    return PlacesByPage(firsts, order)


def _page_begins(reader: Reader) -> NDArray[np.int64] | None:
    """The first sample of each page; ``None`` if samples do not lie as they are numbered.

    A few rows of the region table are enough to know it.
    """
    samples, size = reader.num_samples, reader.page_size
    table = reader.file.region_table()
    if not len(table.rows):
        return _first_of_pages(samples, reader.record_dtype.itemsize, size)
    each, pages = table.per_sample, reader.file.num_bytes // size
    if not each or pages > samples:
        return None
    ends = np.arange(1, pages + 1, dtype=np.uint64) * np.uint64(size)
    begins = np.unique(-(-table.rows_below(ends) // each))
    begins = begins[(begins > 0) & (begins < samples)]
    return np.concatenate([[0], begins])[: max(samples, 0)].astype(np.int64)


def _first_of_pages(samples: int, record_size: int, page_size: int) -> NDArray[np.int64]:
    """Likewise, of records, which lie side by side, as if they were in pages."""
    starts = np.arange(-(-samples * record_size // page_size), dtype=np.int64) * page_size
    begins = -(-starts // record_size)
    return np.unique(begins[begins < samples])


def _pages_of_samples(reader: Reader) -> NDArray[np.int64]:
    """The page in which each sample's first data lies, ``(num_samples,)``."""
    samples, size = reader.num_samples, reader.page_size
    pages = -1 - np.arange(samples, dtype=np.int64) * reader.record_dtype.itemsize // size
    regions = reader.file.regions
    known = regions[regions["sample_id"] < samples][::-1]  # the first region is written last
    pages[known["sample_id"].astype(np.int64)] = (known["ptr"] // np.uint64(size)).astype(np.int64)
    return pages

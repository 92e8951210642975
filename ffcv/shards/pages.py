"""Checking pages of shards when something in them is first read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ffcv.beton.page_checks import PageChecks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.file import BetonFile
    from ffcv.shards.layout import Layout
    from ffcv.shards.source import ShardsSource

__all__ = ["JoinedPages"]


class JoinedPages(PageChecks):
    """The checksums of the pages of all shards; those of a shard are read when it is needed.

    Args:
        layout: where the shards lie.
        source: where their bytes come from.
        shard: gives one of them.

    Raises:
        ArgumentError: the first shard has no checksums of its pages.
    """

    def __init__(
        self, layout: Layout, source: ShardsSource, shard: Callable[[int], BetonFile]
    ) -> None:
        self._layout, self._source, self._shard = layout, source, shard
        self._parts: dict[int, PageChecks] = {}
        self.is_complete = False
        self._part(0)

    def need(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Make sure that pages are what was written; raises as for one file."""
        shards = self._layout.shards_at(offsets)
        for shard in np.unique(shards).tolist():
            here, part = shards == shard, self._part(shard)
            if not part.is_complete:
                part.need(offsets[here] - self._layout.bases[shard], sizes[here])

    def _part(self, shard: int) -> PageChecks:
        known = self._parts.get(shard)
        if known is None:
            again, read_into = partial(self._shard, shard), partial(self._source.read_shard, shard)
            known = self._parts[shard] = PageChecks(again(), read_into, again)
        return known

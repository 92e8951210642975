"""Which bytes of a stream the decoder reads for a region, said before any of them is there.

A record tells the image's size, and its side index where the scan begins, and each segment of it.
Only the header knows the sampling of chroma, on which it depends which MCUs the region needs; but
the number of the index's entries leaves one or few that it can be. All of them are provided for.

It is the decoder that decides (``segments``): what is asked here is what it asks, by the same
functions. A stream whose header turns out to contradict its index is not entered by that, and the
decoder says so (``IN_PARTS``).

Reads lie in the side index, whose size is compared with the image's first (``segments_a_row``), and
writes in the four words that the caller gives.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import store_i64
from ffcv.pipeline import WHOLE
from ffcv_plugins.images.jpeg.grid import cells, cover, is_inside, is_known_sampling
from ffcv_plugins.images.jpeg.segments import (
    ENTRY_BYTES,
    HEADER_BYTES,
    entry_span,
    index_interval,
    indexed_segment,
    scan_bit,
    segments_a_row,
)

__all__ = ["PARTS_ENTRY", "needed_parts"]


@kernel
def _segments(
    length: Any, full_height: Any, full_width: Any, y: Any, x: Any, height: Any, width: Any,
    index: Any, index_size: Any, h: Any, v: Any,
) -> tuple[int, int]:  # fmt: skip
    """The first and the last segment that a region needs if chroma is sampled so.

    The last one is -1 where the index is of no image that is sampled so.
    """
    columns, rows = cells(full_width, h), cells(full_height, v)
    a_row = segments_a_row(index, index_size, length, columns, rows)
    if a_row == 0:
        return 0, -1
    interval = index_interval(index)
    left, right = cover(x, width, full_width, h)
    top, bottom = cover(y, height, full_height, v)
    first = indexed_segment(top, left, interval, a_row)
    return first, indexed_segment(bottom - 1, right - 1, interval, a_row)


@kernel
def _span(length: Any, index: Any, index_size: Any, first: Any, last: Any) -> tuple[int, int]:
    """Where the bytes of some neighboring segments begin and end.

    It ends at 0 where the decoder would refuse one of them.
    """
    begin, end = length, 0
    segments = (index_size - HEADER_BYTES) // ENTRY_BYTES
    for segment in range(first, last + 1):
        start, stop = entry_span(index + HEADER_BYTES, segment, segments, length)
        if start < scan_bit(index) or start >= stop:
            return length, 0
        begin, end = min(begin, start >> 3), max(end, stop >> 3)
    return begin, end


@kernel
def needed_parts(
    length: Any, full_height: Any, full_width: Any, y: Any, x: Any, height: Any, width: Any,
    index: Any, index_size: Any, target: Any,
) -> int:  # fmt: skip
    """Which parts of a stream decoding a region reads: what is in front of the scan, and its rows.

    Args:
        length: the stream's length in bytes.
        full_height: the image's height in pixels.
        full_width: its width.
        y: the region's first row.
        x: its first column.
        height: its height in pixels.
        width: its width in pixels.
        index: address of the image's side index.
        index_size: its length in bytes, 0 for none.
        target: address of room for four int64, offset and size of each part; 0 to write nothing.

    Returns:
        How many parts there are, 1 or 2, or ``WHOLE`` where the decoder may read anything.
    """
    if not is_inside(y, x, height, width, full_height, full_width):
        return WHOLE
    begin, end = length, 0
    for h in range(1, 5):
        for v in range(1, 3):
            if is_known_sampling(h, v):
                first, last = _segments(
                    length, full_height, full_width, y, x, height, width, index, index_size, h, v
                )
                if first <= last:
                    some = _span(length, index, index_size, first, last)
                    if some[1] == 0:
                        return WHOLE
                    begin, end = min(begin, some[0]), max(end, some[1])
    if end == 0 or scan_bit(index) & 7 != 0:
        return WHOLE
    scan = scan_bit(index) >> 3
    number = 1 if begin <= scan else 2
    if target != 0:
        store_i64(target, 0)
        store_i64(target + 8, end if number == 1 else scan)
        store_i64(target + 16, begin)
        store_i64(target + 24, end - begin)
    return number


PARTS_ENTRY = Entry(needed_parts)

"""What the records of an image field say about sizes, read piecewise and not trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import Stored
from ffcv_plugins.images.jpeg.memory import plane_bytes
from ffcv_plugins.images.layout import JPEG, MOST_PIXELS_PER_BYTE, RAW

__all__ = ["Survey", "is_credible", "sizes_seen", "survey"]

_RECORDS_AT_ONCE = 1 << 18
_RECORDS_TRIED = 1 << 12


@dataclass(frozen=True)
class Survey:
    """The largest images of a field.

    Attributes:
        height: largest height in pixels, at least 1.
        width: largest width in pixels, at least 1.
        jpeg_pixels: pixels of the largest JPEG whose size is credible; 0 where there is none.
        plane_bytes: bytes that the planes of any such JPEG take at most.
    """

    height: int
    width: int
    jpeg_pixels: int
    plane_bytes: int


def survey(stored: Stored) -> Survey:
    """Go through all records once.

    Sizes of 16 bits bound the memory that raw images need. A JPEG must be decoded as a whole, so
    only those count that have enough bytes for as many pixels as their record claims; the others
    fail when they are decoded.
    """
    height = width = 1
    largest = planes = 0
    for start in range(0, len(stored.records), _RECORDS_AT_ONCE):
        part = stored.records[start : start + _RECORDS_AT_ONCE]
        heights, widths = part["height"].astype(np.int64), part["width"].astype(np.int64)
        height, width = max(height, int(heights.max())), max(width, int(widths.max()))
        pixels, needed = heights * widths, plane_bytes(heights, widths)
        is_larger = (pixels > largest) | (needed > planes)
        larger = np.flatnonzero((part["mode"] == JPEG) & is_larger)
        if larger.size:
            stored_bytes = stored.region_sizes(part["data_ptr"][larger].astype(np.uint64))
            credible = pixels[larger] <= MOST_PIXELS_PER_BYTE * np.maximum(stored_bytes, 0)
            largest = max(largest, int(pixels[larger][credible].max(initial=0)))
            planes = max(planes, int(needed[larger][credible].max(initial=0)))
    return Survey(height, width, largest, planes)


def sizes_seen(records: NDArray[Any], most: int) -> list[tuple[int, int]]:
    """The first few different sizes ``(height, width)`` in the records, at most ``most``."""
    seen: list[tuple[int, int]] = []
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        part = records[start : start + _RECORDS_AT_ONCE]
        codes = part["height"].astype(np.int64) << 16 | part["width"]
        for code in np.unique(codes):
            size = int(code) >> 16, int(code) & 0xFFFF
            if size not in seen:
                seen.append(size)
            if len(seen) == most:
                return seen
    return seen


def is_credible(stored: Stored, height: int, width: int) -> bool:
    """Whether at least one of the first few thousand images has bytes enough for this size."""
    part = stored.records[:_RECORDS_TRIED]
    stored_bytes = stored.region_sizes(part["data_ptr"].astype(np.uint64))
    pixels = height * width
    raw = (part["mode"] == RAW) & (stored_bytes == 3 * pixels)
    jpeg = (part["mode"] == JPEG) & (stored_bytes * MOST_PIXELS_PER_BYTE >= pixels)
    return bool((raw | jpeg).any())

"""What the records of an image field say about sizes, read piecewise and not trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import Stored
from ffcv_plugins.images.choice import Codecs
from ffcv_plugins.images.codec import RegionCodec, pixels_per_byte
from ffcv_plugins.images.layout import RAW

__all__ = ["ImageStatistics", "image_statistics", "is_credible", "sizes_seen"]

_RECORDS_AT_ONCE = 1 << 18
_RECORDS_TRIED = 1 << 12


@dataclass
class ImageStatistics:
    """The largest images of a field.

    Attributes:
        height: largest height in pixels, at least 1.
        width: largest width in pixels, at least 1.
        pixels: for each mode whose images a codec decodes, pixels of the largest image whose size
            is credible. Modes of which there is none are missing.
        planes: for each of these modes, bytes that the planes of any such image take at most;
            those are missing whose codec does not say it.
    """

    height: int = 1
    width: int = 1
    pixels: dict[int, int] = field(default_factory=dict)
    planes: dict[int, int] = field(default_factory=dict)

    @property
    def encoded_pixels(self) -> int:
        """Pixels of the largest image that a codec decodes; 0 where there is none."""
        return max(self.pixels.values(), default=0)


def image_statistics(stored: Stored, codecs: Codecs) -> ImageStatistics:
    """Go through all records once.

    Sizes of 16 bits bound the memory that raw images need. What a codec decodes may have to be
    decoded as a whole, so only those images count that have enough bytes for as many pixels as
    their record claims; the others fail when they are decoded.

    Raises:
        PluginError: a codec by which images are stored is missing, or broken.
    """
    seen = ImageStatistics()
    for part in _pieces(stored.records):
        heights, widths = part["height"].astype(np.int64), part["width"].astype(np.int64)
        seen.height = max(seen.height, int(heights.max()))
        seen.width = max(seen.width, int(widths.max()))
        for mode in codecs.encoded_modes:
            found = np.flatnonzero(part["mode"] == mode)
            if found.size:
                _see(seen, stored, codecs, mode, part[found])
    return seen


def _see(
    seen: ImageStatistics, stored: Stored, codecs: Codecs, mode: int, records: NDArray[np.void]
) -> None:
    """Go through records of one mode."""
    choice = codecs[mode]
    heights, widths = records["height"].astype(np.int64), records["width"].astype(np.int64)
    pixels, planes = heights * widths, _plane_bytes(choice.region, heights, widths)
    is_larger = pixels > seen.pixels.get(mode, 0)
    if planes is not None:
        is_larger |= planes > seen.planes.get(mode, 0)
    larger = np.flatnonzero(is_larger)
    if not larger.size:
        return
    stored_bytes = stored.region_sizes(records["data_ptr"][larger].astype(np.uint64))
    most = pixels_per_byte(choice.library) * np.maximum(stored_bytes, 0)
    credible = larger[pixels[larger] <= most]
    if credible.size:
        seen.pixels[mode] = max(seen.pixels.get(mode, 0), int(pixels[credible].max()))
    if credible.size and planes is not None:
        seen.planes[mode] = max(seen.planes.get(mode, 0), int(planes[credible].max()))


def _plane_bytes(
    region: RegionCodec | None, heights: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """What the planes of images take, if their codec says it."""
    count = getattr(region, "plane_bytes", None)
    return None if count is None else np.asarray(count(heights, widths), np.int64)


def _pieces(records: NDArray[np.void]) -> Iterable[NDArray[np.void]]:
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        yield records[start : start + _RECORDS_AT_ONCE]


def sizes_seen(records: NDArray[np.void], most: int) -> list[tuple[int, int]]:
    """The first few different sizes ``(height, width)`` in the records, at most ``most``."""
    seen: list[tuple[int, int]] = []
    for part in _pieces(records):
        codes = part["height"].astype(np.int64) << 16 | part["width"]
        for code in np.unique(codes):
            size = int(code) >> 16, int(code) & 0xFFFF
            if size not in seen:
                seen.append(size)
            if len(seen) == most:
                return seen
    return seen


def is_credible(stored: Stored, codecs: Codecs, height: int, width: int) -> bool:
    """Whether at least one of the first few thousand images has bytes enough for this size."""
    part = stored.records[:_RECORDS_TRIED]
    stored_bytes = stored.region_sizes(part["data_ptr"].astype(np.uint64))
    pixels = height * width
    if ((part["mode"] == RAW) & (stored_bytes == 3 * pixels)).any():
        return True
    for mode in codecs.encoded_modes:
        of_mode = stored_bytes[part["mode"] == mode]
        if of_mode.size and (of_mode * pixels_per_byte(codecs[mode].library) >= pixels).any():
            return True
    return False

"""The grid of MCUs: which of them an image has, and which of them a region needs.

It is arithmetic on sizes, which all go by: the decoder, and what says beforehand which bytes of a
stream the decoder will read (``parts``).
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel

__all__ = ["cells", "cover", "is_inside", "is_known_sampling"]


@kernel
def is_known_sampling(h: Any, v: Any) -> bool:
    """Whether the decoder knows images with ``h`` by ``v`` samples of luma for one of chroma."""
    return (h == 1 or h == 2 or h == 4) and (v == 1 or v == 2) and h * v <= 4


@kernel
def is_inside(y: Any, x: Any, height: Any, width: Any, full_height: Any, full_width: Any) -> bool:
    """Whether a region has a pixel, and lies in an image of ``full_height`` by ``full_width``."""
    if y < 0 or x < 0 or height < 1 or width < 1:
        return False
    return height <= full_height - y and width <= full_width - x


@kernel
def cells(size: Any, factor: Any) -> int:
    """MCUs in a direction in which an image has ``size`` pixels, and an MCU ``factor`` blocks."""
    return (size + 8 * factor - 1) // (8 * factor)


@kernel
def cover(start: Any, length: Any, size: Any, factor: Any) -> tuple[int, int]:
    """The MCUs that a region needs in one direction, with the neighbors of its chroma samples.

    Args:
        start: the region's first pixel.
        length: how many it has.
        size: pixels of the image.
        factor: blocks of an MCU: 1, 2 or 4. Where it is 2, chroma is interpolated from the next
            sample, which is as far away as the next pixel.

    Returns:
        The first one, and the one behind the last.
    """
    margin = 1 if factor == 2 else 0
    first, end = max(start - margin, 0), min(start + length + margin, size)
    return first // (8 * factor), cells(end, factor)

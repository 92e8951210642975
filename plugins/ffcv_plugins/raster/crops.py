"""Which part of an image is kept: small kernels over sizes."""

from __future__ import annotations

import math
from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.random import integer, uniform

__all__ = ["center_crop", "random_resized_crop"]

_ATTEMPTS = 10


@kernel
def _rounded(x: float) -> int:
    """The nearest integer."""
    return math.floor(x + 0.5)


@kernel
def random_resized_crop(
    height: Any,
    width: Any,
    scale_low: float,
    scale_high: float,
    ratio_low: float,
    ratio_high: float,
    key: Any,
) -> tuple[int, int, int, int]:
    """A random part of an image, as torchvision's ``RandomResizedCrop`` draws it.

    Up to ten times an area is drawn uniformly, and an aspect ratio (width / height) uniformly in
    its logarithm. The first pair that fits the image gets a uniform position. If none fits, it is
    the central part whose aspect ratio is as close to the image's as the bounds allow.

    Attempt ``i`` draws from the positions ``4 * i`` to ``4 * i + 3`` of ``key``.

    Args:
        height: the image's height in pixels.
        width: the image's width in pixels.
        scale_low: lower bound of the area, as a fraction of the image's.
        scale_high: its upper bound.
        ratio_low: lower bound of the aspect ratio.
        ratio_high: its upper bound.
        key: the sample's key, see :mod:`ffcv.kernels.random`.

    Returns:
        ``(y, x, height, width)``, inside the image and at least one pixel.
    """
    area = float(height) * float(width)
    log_low, log_high = math.log(ratio_low), math.log(ratio_high)
    for attempt in range(_ATTEMPTS):
        position = 4 * attempt
        target = area * (scale_low + (scale_high - scale_low) * uniform(key, position))
        aspect = math.exp(log_low + (log_high - log_low) * uniform(key, position + 1))
        w, h = _rounded(math.sqrt(target * aspect)), _rounded(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            y = integer(key, position + 2, 0, height - h + 1)
            x = integer(key, position + 3, 0, width - w + 1)
            return y, x, h, w
    w, h = width, height
    if width < ratio_low * height:
        h = min(max(_rounded(width / ratio_low), 1), height)
    elif width > ratio_high * height:
        w = min(max(_rounded(height * ratio_high), 1), width)
    return (height - h) // 2, (width - w) // 2, h, w


@kernel
def center_crop(height: Any, width: Any, ratio: float) -> tuple[int, int, int, int]:
    """The square in the middle of an image.

    Args:
        height: the image's height in pixels.
        width: the image's width in pixels.
        ratio: the square's side as a fraction of the image's shorter one, in ``(0, 1]``.

    Returns:
        ``(y, x, side, side)``, inside the image and at least one pixel.
    """
    side = max(int(ratio * min(height, width)), 1)
    return (height - side) // 2, (width - side) // 2, side, side

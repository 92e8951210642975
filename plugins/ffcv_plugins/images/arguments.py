"""Checking the arguments of image fields, decoders and functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from ffcv.whole import between as as_integer
from ffcv.whole import whole
from ffcv_plugins.images.layout import LARGEST_SIDE

__all__ = [
    "as_choice",
    "as_integer",
    "as_integer_or_none",
    "as_range",
    "as_ratio",
    "as_region",
    "as_size",
]


def as_integer_or_none(name: str, value: Any, low: int) -> int | None:
    """A whole number from ``low`` on, or ``None``."""
    return None if value is None else as_integer(name, value, low, 2**63 - 1)


def as_size(value: Any, name: str = "output_size") -> tuple[int, int]:
    """A size as ``(height, width)``."""
    try:
        height, width = (value, value) if isinstance(value, Real) else value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected (height, width), got {value!r}") from None
    try:
        height, width = whole(height), whole(width)
    except TypeError:
        raise TypeError(f"{name}: expected integers (height, width), got {value!r}") from None
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise ValueError(f"{name}: expected 1 to {LARGEST_SIDE} a side, got {value!r}")
    return height, width


def as_range(name: str, value: Any, most: float) -> tuple[float, float]:
    """Bounds ``(low, high)`` with ``0 < low <= high <= most``."""
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected two numbers (low, high), got {value!r}") from None
    if not (0 < low <= high <= most and math.isfinite(high)):
        limit = "" if math.isinf(most) else f" <= {most:g}"
        raise ValueError(f"{name}: expected (low, high) with 0 < low <= high{limit}, got {value!r}")
    return low, high


def as_ratio(value: Any) -> float:
    """A share above 0 and of at most 1."""
    try:
        ratio = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"ratio: expected a number, got {value!r}") from None
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio: expected more than 0 and at most 1, got {value!r}")
    return ratio


def as_choice(name: str, value: Any, choices: Mapping[str, int]) -> int:
    """What one of several words stands for."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def as_region(value: Any, height: int, width: int) -> tuple[int, int, int, int]:
    """``(y, x, height, width)`` of a part of an image of this size; all of it for ``None``."""
    try:
        y, x, h, w = (whole(n) for n in ((0, 0, height, width) if value is None else value))
    except (TypeError, ValueError):
        message = f"region: expected integers (y, x, height, width), got {value!r}"
        raise ValueError(message) from None
    if y < 0 or x < 0 or h < 1 or w < 1 or y + h > height or x + w > width:
        raise ValueError(
            f"region: expected a part of the image of {width}×{height} pixels, got (y, x, height, "
            f"width) = {(y, x, h, w)}"
        )
    if max(h, w) > LARGEST_SIDE:
        raise ValueError(f"region: expected 1 to {LARGEST_SIDE} a side, got {w}×{h} pixels")
    return y, x, h, w

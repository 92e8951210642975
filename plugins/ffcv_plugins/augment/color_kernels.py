"""Kernels that change the colours of RGB images ``(H, W, 3)`` uint8, in place.

Each blends the image with another one: ``factor * image + (1 - factor) * other``, in float64,
rounded to the nearest integer and held between 0 and 255. Draws: 0 whether, 1 the factor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel
from ffcv.pipeline.random import uniform

__all__ = [
    "ColorParams",
    "ColorWorkspace",
    "brightness",
    "contrast",
    "saturation",
]


class ColorParams(NamedTuple):
    """How far the factor may be from 1, and the probability that it is applied."""

    magnitude: float
    probability: float


class ColorWorkspace(NamedTuple):
    """``table[v]``: what a byte becomes, ``(256,)`` uint8."""

    table: NDArray[np.uint8]


@kernel
def _is_chosen(key: Any, params: ColorParams) -> bool:
    """Whether this image is changed at all."""
    return uniform(key, 0) < params.probability


@kernel
def _factor(key: Any, params: ColorParams) -> float:
    """The image's share, uniform between ``1 - magnitude``, at least 0, and ``1 + magnitude``."""
    low = max(0.0, 1.0 - params.magnitude)
    return low + (1.0 + params.magnitude - low) * uniform(key, 1)


@kernel
def _saturated(value: float) -> int:
    """The nearest byte."""
    return math.floor(min(max(value, 0.0), 255.0) + 0.5)


@kernel
def _grey(values: Any, first: Any) -> int:
    """Luma of the pixel that begins at ``first``: Rec. 601 in 16 bits, as Pillow rounds it."""
    red, green, blue = values[first], values[first + np.uintp(1)], values[first + np.uintp(2)]
    return (19595 * int(red) + 38470 * int(green) + 7471 * int(blue) + 32768) >> 16


@kernel
def _blend_with(other: float, factor: float, values: Any, table: Any) -> None:
    """Blend all values with one grey."""
    rest = (1.0 - factor) * other
    for v in range(256):
        table[v] = _saturated(factor * v + rest)
    for i in range(values.shape[0]):
        values[np.uintp(i)] = table[values[np.uintp(i)]]


@kernel
def brightness(
    source: Any, destination: Any, params: ColorParams, key: Any, workspace: ColorWorkspace
) -> None:
    """Blend with black."""
    if _is_chosen(key, params):
        _blend_with(0.0, _factor(key, params), destination.reshape(-1), workspace.table)


@kernel
def contrast(
    source: Any, destination: Any, params: ColorParams, key: Any, workspace: ColorWorkspace
) -> None:
    """Blend with the mean of the grey image, rounded to an integer."""
    if not _is_chosen(key, params):
        return
    values = destination.reshape(-1)
    pixels = values.shape[0] // 3
    total = 0
    for i in range(pixels):
        total += _grey(values, np.uintp(3 * i))
    mean = (2 * total + pixels) // (2 * pixels)
    _blend_with(float(mean), _factor(key, params), values, workspace.table)


@kernel
def saturation(source: Any, destination: Any, params: ColorParams, key: Any) -> None:
    """Blend with the grey image."""
    if not _is_chosen(key, params):
        return
    factor = _factor(key, params)
    values = destination.reshape(-1)
    for i in range(values.shape[0] // 3):
        first = np.uintp(3 * i)
        rest = (1.0 - factor) * _grey(values, first)
        for c in range(3):
            at = first + np.uintp(c)
            values[at] = _saturated(factor * int(values[at]) + rest)

"""Kernels that change the colours of a row of RGB bytes, and the same in NumPy.

Each value is blended with another one, ``factor * value + (1 - factor) * other`` in float64, held
between 0 and 255 and rounded to the nearest integer, halves upwards. ``other`` is an integer: one
number for all values (black for brightness, a mean for contrast), or the gray of the pixel.

**A quicker way to the same bytes.** That sum is ``other + factor * (value - other)``; ``other`` is
an integer, so only the product needs rounding, and apart from their signs there are 255 products.
:func:`is_quick` looks at all of them: if none is closer to the middle between two integers than
float32 can be wrong, float32 finds the same integers. So it is for 99.6 % of the factors from 0.6
to 1.4; with the others, values are blended one by one.

Kernels that take addresses run compiled only. They read the ``3 * pixels`` bytes of their row and
write those of its result, and no byte besides, as those of ``rows`` do: 16 pixels are done at once
while that many are left; what remains is done with the last 16 of the row, or, in rows of fewer,
one by one. ``target`` may be ``source``: those last pixels are read before anything is written.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import kernel
from ffcv.kernels.vectors import (
    clamp_u8,
    deinterleave3,
    interleave3,
    load_u8,
    load_u8x16,
    load_u8x32,
    load_u8x48,
    narrow,
    round_to_i32,
    signed,
    store,
    store_u8,
    to_f32,
    widen,
)

__all__ = [
    "BRIGHTNESS",
    "SATURATION",
    "blend_array",
    "blend_row",
    "gray_array",
    "gray_of",
    "grays_of",
    "is_quick",
    "saturate_row",
]

BRIGHTNESS, SATURATION = 0, 1
"""Kinds of changes: pixels are blended with black, or with their gray."""

_LARGEST_FACTOR = 64.0
"""With it products are at most 16,320, so that they fit int16 together with any byte."""

_RED, _GREEN, _BLUE = 19595, 38470, 7471
"""Rec. 601 in 16 bits, as Pillow has it."""


@kernel
def is_quick(factor: float) -> bool:
    """Whether float32 gives the bytes of float64, whatever is blended by this factor.

    Float32 has the factor to half a unit in its last place, and rounds the product likewise; the
    last summand is more than float64 is wrong by.
    """
    if not 0.0 <= factor <= _LARGEST_FACTOR:
        return False
    error = abs(np.float64(np.float32(factor)) - factor) + factor * 2.0**-24 + 2.0**-30
    wrong = 0
    for difference in range(1, 256):
        product = factor * difference
        distance = abs(product - math.floor(product) - 0.5)
        wrong += 1 if distance <= difference * error else 0
    return wrong == 0


@kernel
def blend_row(
    source: int, target: int, pixels: int, factor: float, other: int, quick: bool
) -> None:
    """Blend all values with one number.

    Args:
        source: address of the row.
        target: address of the result.
        pixels: how many.
        factor: their share.
        other: what they are blended with, 0 to 255.
        quick: what :func:`is_quick` says of the factor.
    """
    if pixels < 16 or not quick:
        rest = (1.0 - factor) * other
        for i in range(3 * pixels):
            store_u8(target + i, _nearest_byte(factor * load_u8(source + i) + rest))
        return
    end = 3 * pixels - 48
    last = load_u8x32(source + end), load_u8x16(source + end + 32)
    for done in range(0, end + 1, 48):
        # In the parts that 48 bytes consist of for the processor: what comes next reads those at
        # once, and can have them before they reach the cache.
        left, right = load_u8x32(source + done), load_u8x16(source + done + 32)
        store(target + done, _blended(left, other, factor))
        store(target + done + 32, _blended(right, other, factor))
    store(target + end, _blended(last[0], other, factor))
    store(target + end + 32, _blended(last[1], other, factor))


@kernel
def saturate_row(source: int, target: int, pixels: int, factor: float, quick: bool) -> None:
    """Blend each pixel with its gray.

    Args:
        source: address of the row.
        target: address of the result.
        pixels: how many.
        factor: their share.
        quick: what :func:`is_quick` says of the factor.
    """
    if pixels < 16 or not quick:
        for i in range(pixels):
            _saturate_exactly(source + 3 * i, target + 3 * i, factor)
        return
    last = load_u8x48(source + 3 * (pixels - 16))
    for done in range(0, pixels - 15, 16):
        store(target + 3 * done, _saturated(load_u8x48(source + 3 * done), factor))
    store(target + 3 * (pixels - 16), _saturated(last, factor))


@kernel
def _blended(values: Any, others: Any, factor: float) -> Any:
    """Bytes, blended with one number or with int16, in float32."""
    differences = widen(signed(widen(values)) - others)
    return clamp_u8(others + narrow(round_to_i32(to_f32(differences) * factor)))


@kernel
def _saturated(pixels: Any, factor: float) -> Any:
    """16 pixels, blended with their grays."""
    red, green, blue = deinterleave3(pixels)
    gray = narrow(grays_of(red, green, blue))
    return interleave3(
        _blended(red, gray, factor), _blended(green, gray, factor), _blended(blue, gray, factor)
    )


@kernel
def _saturate_exactly(source: int, target: int, factor: float) -> None:
    """One pixel, all of which is read before any of it is written."""
    red, green, blue = load_u8(source), load_u8(source + 1), load_u8(source + 2)
    rest = (1.0 - factor) * gray_of(red, green, blue)
    store_u8(target, _nearest_byte(factor * red + rest))
    store_u8(target + 1, _nearest_byte(factor * green + rest))
    store_u8(target + 2, _nearest_byte(factor * blue + rest))


@kernel
def _nearest_byte(value: float) -> int:
    return math.floor(min(max(value, 0.0), 255.0) + 0.5)


@kernel
def grays_of(red: Any, green: Any, blue: Any) -> Any:
    """Luma of 16 pixels, as int32, rounded as in Pillow."""
    reds, greens, blues = widen(widen(red)), widen(widen(green)), widen(widen(blue))
    return signed((reds * _RED + greens * _GREEN + blues * _BLUE + 32768) >> 16)


@kernel
def gray_of(red: int, green: int, blue: int) -> int:
    """Luma of one pixel, likewise."""
    return (_RED * red + _GREEN * green + _BLUE * blue + 32768) >> 16


def gray_array(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Luma of RGB bytes ``(…, 3)``."""
    luma: NDArray[np.int64] = (image.astype(np.int64) * (_RED, _GREEN, _BLUE)).sum(-1)
    return (luma + 32768) >> 16


def blend_array(image: NDArray[np.uint8], factor: float, other: Any) -> NDArray[np.uint8]:
    """What the kernels make of RGB bytes ``(…, 3)``; ``other`` can be broadcast to them.

    Example:
        >>> blend_array(np.array([[10, 100, 200]], np.uint8), 1.5, 0)
        array([[ 15, 150, 255]], dtype=uint8)
    """
    blended = factor * image.astype(np.float64) + (1.0 - factor) * other
    return np.floor(blended.clip(0, 255) + 0.5).astype(np.uint8)

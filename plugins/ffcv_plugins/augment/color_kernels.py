"""Kernels that change the colours of RGB images ``(H, W, 3)`` uint8, in place.

Each blends the image with another one: ``factor * image + (1 - factor) * other``, in float64,
rounded to the nearest integer and held between 0 and 255. Draws: 0 whether, 1 the factor.

Compiled, images are reached by address, 16 bytes or pixels at a time while that many are left, so
nothing beside the image is touched; the rest of it is done value by value.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernel import is_compiled, kernel, python_only
from ffcv.pipeline.random import uniform
from ffcv.vectors import (
    address_of,
    clamp_u8,
    deinterleave3,
    load_u8x16,
    load_u8x48,
    maximum,
    minimum,
    signed,
    splat_f32x16,
    splat_i32x16,
    store,
    to_f32,
    to_i32,
    widen,
)

__all__ = [
    "ColorParams",
    "ColorWorkspace",
    "allocate",
    "brightness",
    "contrast",
    "saturation",
]


class ColorParams(NamedTuple):
    """How far the factor may be from 1, and the probability that it is applied."""

    magnitude: float
    probability: float


class ColorWorkspace(NamedTuple):
    """Attributes:
    table: ``table[v]``: what a byte becomes, ``(256,)`` uint8.
    trial: what quicker arithmetic makes of it, ``(256,)`` uint8.
    sums: sixteen parts of a sum, ``(16,)`` int64.
    """

    table: NDArray[np.uint8]
    trial: NDArray[np.uint8]
    sums: NDArray[np.int64]


def allocate() -> ColorWorkspace:
    """Scratch of one worker."""
    table, trial = np.zeros((2, 256), np.uint8)
    return ColorWorkspace(table, trial, np.zeros(16, np.int64))


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
def _nearest_byte(value: float) -> int:
    return math.floor(min(max(value, 0.0), 255.0) + 0.5)


@kernel
def brightness(
    source: Any, destination: Any, params: ColorParams, key: Any, workspace: ColorWorkspace
) -> None:
    """Blend with black."""
    if _is_chosen(key, params):
        _blend_with_one(destination, _factor(key, params), 0.0, workspace)


@kernel
def contrast(
    source: Any, destination: Any, params: ColorParams, key: Any, workspace: ColorWorkspace
) -> None:
    """Blend with the mean of the grey image, rounded to an integer."""
    if not _is_chosen(key, params):
        return
    if is_compiled():
        _add_greys(destination, workspace.sums)
    else:
        _add_greys_with_numpy(destination, workspace.sums)
    total, pixels = 0, destination.size // 3
    for i in range(workspace.sums.shape[0]):
        total += workspace.sums[i]
    mean = (2 * total + pixels) // (2 * pixels)
    factor = _factor(key, params)
    _blend_with_one(destination, factor, (1.0 - factor) * mean, workspace)


@kernel
def _blend_with_one(image: Any, factor: float, rest: float, workspace: ColorWorkspace) -> None:
    """Blend all values with one number, of which ``rest`` is the share.

    Float32 is quicker than float64 and than a table, and may be wrong by one where a result lies
    between two integers. A byte has 256 values, so trying all of them tells whether it is right.
    """
    if not is_compiled():
        _blend_with_numpy(image, factor, rest)
        return
    table, trial = workspace.table, workspace.trial
    for v in range(256):
        table[v] = _nearest_byte(factor * v + rest)
        trial[v] = v
    _blend_quickly(address_of(trial), 256, factor, rest)
    is_right = True
    for v in range(256):
        is_right = is_right and table[v] == trial[v]
    values, done = image.reshape(-1), 0
    if is_right:
        done = image.size - image.size % 16
        _blend_quickly(address_of(image), done, factor, rest)
    for i in range(done, image.size):
        values[np.uintp(i)] = table[values[np.uintp(i)]]


@python_only
def _blend_with_numpy(image: Any, factor: float, rest: Any) -> None:
    blended = factor * image.astype(np.float64) + rest
    image[...] = np.floor(blended.clip(0, 255) + 0.5)


@kernel
def _blend_quickly(values: int, count: int, factor: float, rest: float) -> None:
    """Blend ``count`` bytes, a multiple of 16, in float32."""
    scale, offset = splat_f32x16(factor), splat_f32x16(rest + 0.5)
    low, high = splat_f32x16(0.0), splat_f32x16(255.0)
    for i in range(0, count, 16):
        blended = to_f32(load_u8x16(values + i)) * scale + offset
        store(values + i, clamp_u8(to_i32(minimum(maximum(blended, low), high))))


@kernel
def _greys(red: Any, green: Any, blue: Any) -> Any:
    """Luma of 16 pixels, as int32: Rec. 601 in 16 bits, as Pillow rounds it."""
    reds, greens, blues = widen(widen(red)), widen(widen(green)), widen(widen(blue))
    return signed((reds * 19595 + greens * 38470 + blues * 7471 + 32768) >> 16)


@kernel
def _grey(values: Any, first: Any) -> int:
    """Luma of the pixel that begins at ``first``."""
    red, green, blue = values[first], values[first + np.uintp(1)], values[first + np.uintp(2)]
    return (19595 * int(red) + 38470 * int(green) + 7471 * int(blue) + 32768) >> 16


def _greys_with_numpy(image: Any) -> Any:
    return ((image.astype(np.int64) * (19595, 38470, 7471)).sum(-1) + 32768) >> 16


@kernel
def _add_greys(image: Any, sums: Any) -> None:
    """Add the luma of all pixels up, in sixteen parts."""
    pixels, start = image.size // 3, address_of(image)
    whole = pixels - pixels % 16
    total = widen(splat_i32x16(0))
    for i in range(0, whole, 16):
        red, green, blue = deinterleave3(load_u8x48(start + 3 * i))
        total = total + widen(_greys(red, green, blue))
    store(address_of(sums), total)
    values = image.reshape(-1)
    for i in range(whole, pixels):
        sums[0] += _grey(values, np.uintp(3 * i))


@python_only
def _add_greys_with_numpy(image: Any, sums: Any) -> None:
    sums[:] = 0
    sums[0] = _greys_with_numpy(image).sum()


@kernel
def saturation(source: Any, destination: Any, params: ColorParams, key: Any) -> None:
    """Blend with the grey image."""
    if not _is_chosen(key, params):
        return
    factor = _factor(key, params)
    if not is_compiled():
        _saturate_with_numpy(destination, factor)
        return
    values = destination.reshape(-1)
    for i in range(values.shape[0] // 3):
        first = np.uintp(3 * i)
        rest = (1.0 - factor) * _grey(values, first)
        for c in range(3):
            at = first + np.uintp(c)
            values[at] = _nearest_byte(factor * int(values[at]) + rest)


@python_only
def _saturate_with_numpy(image: Any, factor: float) -> None:
    _blend_with_numpy(image, factor, (1.0 - factor) * _greys_with_numpy(image)[..., None])

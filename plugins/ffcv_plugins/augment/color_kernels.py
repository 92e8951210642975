"""Kernels that change the colours of RGB images ``(H, W, 3)`` uint8, in place.

Each blends the image with another one: ``factor * image + (1 - factor) * other``, in float64,
rounded to the nearest integer and held between 0 and 255. Draws: 0 whether, 1 the factor.

Compiled, an image is one long row to ``ffcv_plugins.raster.colors``, whose kernels keep to it. Its
grays are added up 16 pixels at a time while that many are left, and one by one from there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.kernels.random import uniform
from ffcv.kernels.vectors import (
    address_of,
    deinterleave3,
    load_u8,
    load_u8x48,
    splat_i32x16,
    store,
    widen,
)
from ffcv_plugins.raster.colors import (
    BRIGHTNESS,
    SATURATION,
    blend_array,
    blend_row,
    gray_array,
    gray_of,
    grays_of,
    is_quick,
    saturate_row,
)
from ffcv_plugins.raster.epilogue import add_color

__all__ = [
    "ColorParams",
    "ContrastWorkspace",
    "allocate",
    "brightness",
    "contrast",
    "fuse_brightness",
    "fuse_saturation",
    "saturation",
]


class ColorParams(NamedTuple):
    """How far the factor may be from 1, and the probability that it is applied."""

    magnitude: float
    probability: float


class ContrastWorkspace(NamedTuple):
    """Sixteen parts of a sum, ``(16,)`` int64."""

    sums: NDArray[np.int64]


def allocate() -> ContrastWorkspace:
    """Scratch of one worker."""
    return ContrastWorkspace(np.zeros(16, np.int64))


@kernel
def _is_chosen(key: Any, params: ColorParams) -> bool:
    """Whether this image is changed at all."""
    return uniform(key, 0) < params.probability


@kernel
def _draw_factor(key: Any, params: ColorParams) -> float:
    """The image's share, uniform between ``1 - magnitude``, at least 0, and ``1 + magnitude``."""
    low = max(0.0, 1.0 - params.magnitude)
    return low + (1.0 + params.magnitude - low) * uniform(key, 1)


@kernel
def fuse_brightness(epilogue: Any, params: ColorParams, key: Any) -> None:
    """Have the decoder blend with black."""
    if _is_chosen(key, params):
        add_color(epilogue, BRIGHTNESS, _draw_factor(key, params))


@kernel
def fuse_saturation(epilogue: Any, params: ColorParams, key: Any) -> None:
    """Have the decoder blend with the gray image."""
    if _is_chosen(key, params):
        add_color(epilogue, SATURATION, _draw_factor(key, params))


@kernel
def brightness(source: Any, destination: Any, params: ColorParams, key: Any) -> None:
    """Blend with black."""
    if _is_chosen(key, params):
        _blend_with_one(destination, _draw_factor(key, params), 0)


@kernel
def contrast(
    source: Any, destination: Any, params: ColorParams, key: Any, workspace: ContrastWorkspace
) -> None:
    """Blend with the mean of the gray image, rounded to an integer."""
    if not _is_chosen(key, params):
        return
    if is_compiled():
        _add_grays(destination, workspace.sums)
    else:
        _add_grays_with_numpy(destination, workspace.sums)
    total, pixels = 0, destination.size // 3
    for i in range(workspace.sums.shape[0]):
        total += workspace.sums[i]
    mean = (2 * total + pixels) // (2 * pixels)
    _blend_with_one(destination, _draw_factor(key, params), mean)


@kernel
def saturation(source: Any, destination: Any, params: ColorParams, key: Any) -> None:
    """Blend with the gray image."""
    if not _is_chosen(key, params):
        return
    factor = _draw_factor(key, params)
    if is_compiled():
        image = address_of(destination)
        saturate_row(image, image, destination.size // 3, factor, is_quick(factor))
    else:
        _saturate_with_numpy(destination, factor)


@kernel
def _blend_with_one(image: Any, factor: float, other: int) -> None:
    if is_compiled():
        values = address_of(image)
        blend_row(values, values, image.size // 3, factor, other, is_quick(factor))
    else:
        _blend_with_numpy(image, factor, other)


@python_only
def _blend_with_numpy(image: Any, factor: float, other: int) -> None:
    image[...] = blend_array(image, factor, other)


@python_only
def _saturate_with_numpy(image: Any, factor: float) -> None:
    image[...] = blend_array(image, factor, gray_array(image)[..., None])


@kernel
def _add_grays(image: Any, sums: Any) -> None:
    """Add the luma of all pixels up, in sixteen parts."""
    pixels, start = image.size // 3, address_of(image)
    whole = pixels - pixels % 16
    total = widen(splat_i32x16(0))
    for i in range(0, whole, 16):
        red, green, blue = deinterleave3(load_u8x48(start + 3 * i))
        total = total + widen(grays_of(red, green, blue))
    store(address_of(sums), total)
    for at in range(start + 3 * whole, start + 3 * pixels, 3):
        sums[0] += gray_of(load_u8(at), load_u8(at + 1), load_u8(at + 2))


@python_only
def _add_grays_with_numpy(image: Any, sums: Any) -> None:
    sums[:] = 0
    sums[0] = gray_array(image).sum()

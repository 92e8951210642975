"""Kernels of this plugin, and the parameters that they take.

Images arrive as ``(H, W, C)`` or ``(H, W)`` arrays, C-contiguous; a float16 array may arrive as the
uint16 array of its bits, because compiled code has no float16. Each draw has a fixed position.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel
from ffcv.pipeline.random import integer, uniform

__all__ = [
    "CutoutParams",
    "FlipParams",
    "FloatLabelParams",
    "IntegerLabelParams",
    "NormalizeParams",
    "PoisonParams",
    "TranslateParams",
    "cutout",
    "flip_horizontally",
    "normalize",
    "normalize_to_bits",
    "poison",
    "replace_label",
    "translate",
]


class FlipParams(NamedTuple):
    """Probability in ``[0, 1]``."""

    probability: float


class CutoutParams(NamedTuple):
    """Side of the square in pixels; ``fill`` is ``(C,)`` or ``(1,)`` float64."""

    size: int
    fill: NDArray[np.float64]


class TranslateParams(NamedTuple):
    """Largest shift in pixels; ``fill`` is ``(C,)`` or ``(1,)`` float64."""

    padding: int
    fill: NDArray[np.float64]


class NormalizeParams(NamedTuple):
    """``table[c, v]``: the result for a uint8 value, or its bits. ``mean`` and ``std`` hold one
    value or one a channel, as ``table`` does."""

    table: NDArray[Any]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


class PoisonParams(NamedTuple):
    """``indices`` ascend. ``added`` and ``kept`` are ``(H * W * C,)``: the mask times its opacity,
    and the image's share. Results lie from ``low`` to ``high`` and are rounded where that is said.
    """

    indices: NDArray[np.int64]
    added: NDArray[np.float64]
    kept: NDArray[np.float64]
    low: float
    high: float
    is_rounded: bool


class IntegerLabelParams(NamedTuple):
    """``indices`` ascend."""

    indices: NDArray[np.int64]
    label: int


class FloatLabelParams(NamedTuple):
    """``indices`` ascend."""

    indices: NDArray[np.int64]
    label: float


@kernel
def _channels(image: Any) -> int:
    """How many values a pixel of a ``(H, W, C)`` or ``(H, W)`` image has."""
    return image.size // max(image.shape[0] * image.shape[1], 1)


@kernel
def _as_pixels(image: Any) -> Any:
    """A ``(H, W, C)`` view of a ``(H, W, C)`` or ``(H, W)`` image."""
    return image.reshape((image.shape[0], image.shape[1], _channels(image)))


# The kernels that move pixels work on an image's flat values, with unsigned indices: compiled code
# would ask of a signed one whether it counts from the end, and so use no vector instructions.


@kernel
def _fill(values: Any, start: int, stop: int, channels: int, fill: Any) -> None:
    """Give the pixels from ``start`` to ``stop``, counted in the whole image, one colour."""
    step = min(fill.shape[0] - 1, 1)
    for c in range(channels):
        value = fill[c * step]
        for pixel in range(start, stop):
            values[np.uintp(pixel * channels + c)] = value


@kernel
def _copy(source: Any, first: int, destination: Any, position: int, count: int) -> None:
    """Copy ``count`` values, starting at ``first``, to ``position``."""
    for i in range(count):
        destination[np.uintp(position + i)] = source[np.uintp(first + i)]


@kernel
def flip_horizontally(source: Any, destination: Any, params: FlipParams, key: Any) -> None:
    """Mirror the image with the given probability, in place. Draws: 0 whether."""
    if uniform(key, 0) >= params.probability:
        return
    width, channels = destination.shape[1], _channels(destination)
    values = destination.reshape(-1)
    for y in range(destination.shape[0]):
        for c in range(channels):
            first = y * width * channels + c
            last = first + (width - 1) * channels
            for x in range(width // 2):
                left, right = np.uintp(first + x * channels), np.uintp(last - x * channels)
                value = values[left]
                values[left] = values[right]
                values[right] = value


@kernel
def cutout(source: Any, destination: Any, params: CutoutParams, key: Any) -> None:
    """Fill a square that lies inside the image, in place. Draws: 0 its top, 1 its left edge."""
    height, width = destination.shape[0], destination.shape[1]
    size = max(0, min(params.size, height, width))
    top = integer(key, 0, 0, height - size + 1)
    left = integer(key, 1, 0, width - size + 1)
    values, channels = destination.reshape(-1), _channels(destination)
    for y in range(top, top + size):
        start = y * width + left
        _fill(values, start, start + size, channels, params.fill)


@kernel
def translate(source: Any, destination: Any, params: TranslateParams, key: Any) -> None:
    """Shift the image by up to ``padding`` pixels each way. Draws: 0 vertically, 1 sideways."""
    height, width, channels = source.shape[0], source.shape[1], _channels(source)
    image, result = source.reshape(-1), destination.reshape(-1)
    # Where the window begins in the image, which lies in the middle of its border.
    down = integer(key, 0, 0, 2 * params.padding + 1) - params.padding
    right = integer(key, 1, 0, 2 * params.padding + 1) - params.padding
    start = min(max(-right, 0), width)
    stop = max(min(width - right, width), start)
    for y in range(height):
        row = y * width
        if y + down < 0 or y + down >= height:
            _fill(result, row, row + width, channels, params.fill)
            continue
        _fill(result, row, row + start, channels, params.fill)
        first = ((y + down) * width + start + right) * channels
        _copy(image, first, result, (row + start) * channels, (stop - start) * channels)
        _fill(result, row + stop, row + width, channels, params.fill)


@kernel
def normalize(source: Any, destination: Any, params: NormalizeParams, key: Any) -> None:
    """``(source - mean) / std`` by channel, in float64; for bytes the table holds the same."""
    image, result = _as_pixels(source), _as_pixels(destination)
    height, width, channels = image.shape
    step = min(params.mean.shape[0] - 1, 1)
    for c in range(channels):
        table = params.table[c * step]
        mean, std = params.mean[c * step], params.std[c * step]
        for y in range(height):
            for x in range(width):
                # The size of an item is known to the compiler, which keeps one branch only.
                if source.itemsize == 1:
                    result[y, x, c] = table[int(image[y, x, c])]
                else:
                    result[y, x, c] = (np.float64(image[y, x, c]) - mean) / std


@kernel
def normalize_to_bits(source: Any, destination: Any, params: NormalizeParams, key: Any) -> None:
    """:func:`normalize` of uint8 to float16, where the table holds the bits of the results."""
    image, result = _as_pixels(source), _as_pixels(destination.view(np.uint16))
    height, width, channels = image.shape
    step = min(params.mean.shape[0] - 1, 1)
    for c in range(channels):
        table = params.table[c * step]
        for y in range(height):
            for x in range(width):
                result[y, x, c] = table[image[y, x, c]]


@kernel
def _is_among(indices: Any, index: Any) -> bool:
    """Whether ``index`` is one of the ascending ``indices``."""
    low, high = 0, indices.shape[0]
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < index:
            low = middle + 1
        else:
            high = middle
    return low < indices.shape[0] and indices[low] == index


@kernel
def poison(source: Any, destination: Any, params: PoisonParams, key: Any, index: Any) -> None:
    """Blend the mask into the image if the sample is one of those, in place."""
    if not _is_among(params.indices, index):
        return
    values = destination.reshape(-1)
    for i in range(min(values.shape[0], params.added.shape[0])):
        value = params.kept[i] * np.float64(values[i]) + params.added[i]
        value = min(max(value, params.low), params.high)
        values[i] = math.floor(value + 0.5) if params.is_rounded else value


@kernel
def replace_label(source: Any, destination: Any, params: Any, key: Any, index: Any) -> None:
    """Give the sample the new label if it is one of those, in place."""
    if _is_among(params.indices, index):
        values = destination.reshape(-1)
        for i in range(values.shape[0]):
            values[i] = params.label

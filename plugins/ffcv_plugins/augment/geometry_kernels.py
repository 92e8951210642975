"""Kernels that move and cover pixels, and the parameters that they take.

Images are ``(H, W, C)`` or ``(H, W)`` arrays of any number type, C-contiguous; float16 and bfloat16
arrive as uint16 arrays of their bits, because compiled code has no such numbers. Each draw has a
fixed position, and is made by one function for both ways in which an operation is done: by its own
kernel, or by a decoder whose epilogue it is fused into.

Compiled, pixels are moved as bytes, by address. No address leaves its image: a place is named by a
row and a column that were held within the image's height and width before, the last byte that is
touched belongs to the pixel before the stop that is named, and the shift from one image to the
other maps the rows and columns of the part that both share onto each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.kernels.random import integer, uniform
from ffcv.kernels.vectors import address_of
from ffcv_plugins.raster.epilogue import (
    fill_rectangle,
    sample_height,
    sample_width,
    set_mirror,
)
from ffcv_plugins.raster.rows import copy_row, fill_row, mirror_row

__all__ = [
    "CutoutParams",
    "FlipParams",
    "TranslateParams",
    "cutout",
    "flip_horizontally",
    "fuse_cutout",
    "fuse_flip",
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


@kernel
def _channels(image: Any) -> int:
    """How many values a pixel has."""
    return image.size // max(image.shape[0] * image.shape[1], 1)


@kernel
def _is_mirrored(params: FlipParams, key: Any) -> bool:
    """Draws: 0 whether."""
    return uniform(key, 0) < params.probability


@kernel
def fuse_flip(epilogue: Any, params: FlipParams, key: Any) -> None:
    """Have the decoder mirror the image with the given probability."""
    set_mirror(epilogue, _is_mirrored(params, key))


@kernel
def flip_horizontally(source: Any, destination: Any, params: FlipParams, key: Any) -> None:
    """Mirror the image with the given probability, in place."""
    if not _is_mirrored(params, key):
        return
    if not is_compiled():
        _mirror_with_numpy(destination)
    elif destination.itemsize == 1 and _channels(destination) == 3:
        _mirror_rgb_bytes(destination)
    else:
        _mirror_values(destination)


@python_only
def _mirror_with_numpy(image: Any) -> None:
    image[...] = image[:, ::-1].copy()


@kernel
def _mirror_rgb_bytes(image: Any) -> None:
    row, width = address_of(image), image.shape[1]
    for _ in range(image.shape[0]):
        mirror_row(row, row, width)
        row += 3 * width


@kernel
def _mirror_values(image: Any) -> None:
    """Mirror pixels of any kind, one channel after the other.

    Indices are unsigned: compiled code would ask of signed ones whether they count from the end,
    and so use no vector instructions.
    """
    width, channels = image.shape[1], _channels(image)
    values = image.reshape(-1)
    for y in range(image.shape[0]):
        for c in range(channels):
            first = y * width * channels + c
            last = first + (width - 1) * channels
            for x in range(width // 2):
                left, right = np.uintp(first + x * channels), np.uintp(last - x * channels)
                value = values[left]
                values[left] = values[right]
                values[right] = value


@kernel
def _draw_square(height: int, width: int, params: CutoutParams, key: Any) -> tuple[int, int, int]:
    """Top, left edge and side of a square inside an image. Draws: 0 its top, 1 its left edge."""
    size = max(0, min(params.size, height, width))
    top = integer(key, 0, 0, height - size + 1)
    return top, integer(key, 1, 0, width - size + 1), size


@kernel
def fuse_cutout(epilogue: Any, params: CutoutParams, key: Any) -> None:
    """Have the decoder fill a square."""
    top, left, size = _draw_square(sample_height(epilogue), sample_width(epilogue), params, key)
    red, green, blue = _rgb(params.fill)
    fill_rectangle(epilogue, top, left, top + size, left + size, red, green, blue)


@kernel
def cutout(source: Any, destination: Any, params: CutoutParams, key: Any) -> None:
    """Fill a square that lies inside the image, in place."""
    height, width = destination.shape[0], destination.shape[1]
    top, left, size = _draw_square(height, width, params, key)
    if is_compiled():
        _fill(destination, top * width + left, size, size, params.fill)
    else:
        _fill_with_numpy(destination, (top, top + size, left, left + size), params.fill)


@kernel
def _rgb(fill: Any) -> tuple[int, int, int]:
    """A fill of one or three values as bytes of a pixel."""
    step = min(fill.shape[0] - 1, 1)
    return int(fill[0]), int(fill[step]), int(fill[2 * step])


@kernel
def _fill(image: Any, start: int, count: int, rows: int, fill: Any) -> None:
    """Give ``count`` pixels one color, and as many in each of the next rows.

    Args:
        image: the image.
        start: the first of these pixels, counted in the whole image.
        count: how many; they may go on in the next row.
        rows: in how many rows.
        fill: ``(C,)`` or ``(1,)`` float64.
    """
    width, channels, step = image.shape[1], _channels(image), min(fill.shape[0] - 1, 1)
    if image.itemsize == 1 and channels == 3:
        red, green, blue = _rgb(fill)
        for y in range(rows):
            fill_row(address_of(image) + 3 * (start + y * width), count, red, green, blue)
        return
    values = image.reshape(-1)
    for y in range(rows):
        for c in range(channels):
            value = fill[c * step]
            first = (start + y * width) * channels + c
            for i in range(count):
                values[np.uintp(first + i * channels)] = value


@python_only
def _fill_with_numpy(image: Any, part: Any, fill: Any) -> None:
    top, bottom, left, right = part
    image[top:bottom, left:right] = fill


@kernel
def translate(source: Any, destination: Any, params: TranslateParams, key: Any) -> None:
    """Shift the image by up to ``padding`` pixels each way. Draws: 0 vertically, 1 sideways."""
    height, width = source.shape[0], source.shape[1]
    # Where the window begins in the image, which lies in the middle of its border.
    down = integer(key, 0, 0, 2 * params.padding + 1) - params.padding
    right = integer(key, 1, 0, 2 * params.padding + 1) - params.padding
    # The part of the window that shows the image.
    top, bottom = min(max(-down, 0), height), max(min(height - down, height), 0)
    left, stop = min(max(-right, 0), width), max(min(width - right, width), 0)
    if not is_compiled():
        part = (top, bottom, left, stop)
        _translate_with_numpy(source, destination, part, down, right, params.fill)
        return
    if top >= bottom or left >= stop:
        _fill(destination, 0, height * width, 1, params.fill)
        return
    first, last = top * width + left, (bottom - 1) * width + stop
    _copy_shifted(source, destination, first, last, down * width + right)
    # All that is not shown: also from the end of what a row shows to where the next row begins to.
    _fill(destination, 0, first, 1, params.fill)
    between = width - stop + left
    _fill(destination, first + stop - left, between, bottom - top - 1, params.fill)
    _fill(destination, last, height * width - last, 1, params.fill)


@kernel
def _copy_shifted(source: Any, destination: Any, first: int, last: int, shift: int) -> None:
    """Copy all pixels from ``first`` to ``last``, which lie ``shift`` further in the source.

    That is one copy for the part of an image that stays visible, because all its pixels move by one
    distance; what it writes between the end of a row and the start of the next is filled later.
    """
    pixel = _channels(source) * source.itemsize
    place = address_of(destination) + first * pixel
    copy_row(address_of(source) + (first + shift) * pixel, place, (last - first) * pixel)


@python_only
def _translate_with_numpy(
    source: Any, destination: Any, part: Any, down: int, right: int, fill: Any
) -> None:
    top, bottom, left, stop = part
    destination[...] = fill
    window = source[top + down : bottom + down, left + right : stop + right]
    destination[top:bottom, left:stop] = window

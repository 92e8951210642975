"""What the entry points do, in NumPy: the same bits, for pipelines that run without compilation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.raster.colors import SATURATION, blend_array, gray_array
from ffcv_plugins.raster.epilogue.record import Epilogue, check
from ffcv_plugins.raster.normalization import FLOAT16, FLOAT32, TABLE
from ffcv_plugins.raster.resizing.planes import BLUE_CB, COLOR_BITS, GREEN_CB, GREEN_CR, RED_CR
from ffcv_plugins.raster.resizing.weights import (
    FILTERS,
    WIDE_BITS,
    Axis,
    make_axis,
    rows_come_first,
)

__all__ = ["Plane", "epilogue_array", "plane_table", "resize_array", "resize_planes_array"]


class Plane(NamedTuple):
    """A window of one component of an image.

    Attributes:
        samples: ``(rows, columns)`` uint8, whose rows may be parts of longer ones.
        left: the window's first column in the component.
        top: its first row.
    """

    samples: NDArray[np.uint8]
    left: int = 0
    top: int = 0


def plane_table(planes: Sequence[Plane]) -> NDArray[np.int64]:
    """``(n, 8)``: the tables that ``resize_planes`` takes; the samples must outlive it."""
    return np.array(
        [
            (
                plane.samples.ctypes.data,
                plane.samples.strides[0],
                plane.left,
                plane.top,
                plane.samples.shape[1],
                plane.samples.shape[0],
                plane.left + plane.samples.shape[1],
                plane.top + plane.samples.shape[0],
            )
            for plane in planes
        ],
        np.int64,
    )


def resize_array(
    image: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    output_size: tuple[int, int],
    method: str = "bilinear",
    epilogue: Epilogue | None = None,
) -> NDArray[Any]:
    """Resize a region of an RGB image, as ``resize_rgb`` does.

    Args:
        image: ``(H, W, 3)`` uint8.
        box: the region's first row, first column, height and width.
        output_size: ``(height, width)`` of the result.
        method: name of a filter, see ``weights.FILTERS``.
        epilogue: what happens to the pixels in the end; nothing where it is not given.

    Returns:
        ``(height, width, 3)`` or ``(3, height, width)``, uint8, float16, float32, or uint16 with
        the bits of bfloat16.

    Example:
        >>> image = np.full((4, 4, 3), 7, np.uint8)
        >>> resize_array(image, (0, 0, 4, 4), (1, 2)).tolist()
        [[[7, 7, 7], [7, 7, 7]]]
    """
    epilogue = epilogue or Epilogue()
    y, x, height, width = box
    pixels = image[y : y + height, x : x + width]
    if (height, width) == tuple(output_size):
        pixels = pixels[:, :: -1 if epilogue.mirror else 1]
    else:
        code = FILTERS[method]
        columns = make_axis(code, output_size[1], 0, width, mirror=epilogue.mirror)
        rows = make_axis(code, output_size[0], 0, height)
        if rows_come_first(code, height, width, *output_size):
            pixels = _rounded(_rounded(pixels, rows).swapaxes(0, 1), columns).swapaxes(0, 1)
        else:
            pixels = _rounded(_rounded(pixels.swapaxes(0, 1), columns).swapaxes(0, 1), rows)
    return epilogue_array(pixels, epilogue)


def resize_planes_array(
    planes: Sequence[Plane],
    factors: tuple[int, int],
    scale: int,
    box: tuple[int, int, int, int],
    output_size: tuple[int, int],
    method: str = "bilinear",
    epilogue: Epilogue | None = None,
) -> NDArray[Any]:
    """Resize a region of a JPEG's planes, as ``resize_planes`` does.

    Args:
        planes: one, or luma, blue and red chroma.
        factors: luma samples for each chroma sample, horizontally and vertically.
        scale: pixels of the image for each luma sample, both ways.
        box: first row, first column, height and width of the region in the image.
        output_size: ``(height, width)`` of the result.
        method: name of a filter, see ``weights.FILTERS``.
        epilogue: what happens to the pixels in the end; nothing where it is not given.

    Returns:
        as :func:`resize_array`.
    """
    epilogue = epilogue or Epilogue()
    fine = []
    for index, plane in enumerate(planes):
        across, down = (scale * factor if index else scale for factor in factors)
        columns = _plane_axis(method, output_size[1], box[1], box[3], across, epilogue.mirror)
        rows = _plane_axis(method, output_size[0], box[0], box[2], down, False)
        samples = plane.samples[box[0] // down - plane.top :, box[1] // across - plane.left :]
        fine.append(_fine(_rounded(samples.T, columns).T, rows))
    return epilogue_array(_gray(fine[0]) if len(fine) == 1 else _color(*fine), epilogue)


def _plane_axis(
    method: str, outputs: int, start: int, length: int, step: int, mirror: bool
) -> Axis:
    """All samples that the region touches may be used; it counts from the first of them."""
    low, high = start // step, -(-(start + length) // step)
    return make_axis(FILTERS[method], outputs, start, length, step, low, high, mirror)


def _rounded(samples: NDArray[np.uint8], axis: Axis) -> NDArray[np.uint8]:
    """Weighted means along the first axis, rounded to bytes."""
    if axis.is_wide:
        sums = _wide_sums(samples, axis) + (1 << (WIDE_BITS - 1))
        return (sums >> WIDE_BITS).clip(0, 255).astype(np.uint8)
    return ((_narrow_sums(samples, axis) + 128) >> 8).astype(np.uint8)


def _fine(samples: NDArray[np.uint8], axis: Axis) -> NDArray[np.int64]:
    """Weighted means along the first axis, with 8 bits behind the point."""
    if axis.is_wide:
        return (_wide_sums(samples, axis) >> (WIDE_BITS - 8)).clip(0, 0xFF00)
    return _narrow_sums(samples, axis)


def _wide_sums(samples: NDArray[np.uint8], axis: Axis) -> NDArray[np.int64]:
    taps = axis.weights.shape[1]
    weights = axis.weights.T.reshape(taps, -1, *[1] * (samples.ndim - 1))
    sums = np.zeros((len(axis.first), *samples.shape[1:]), np.int64)
    for tap in range(taps):
        sums += samples[axis.first + tap] * weights[tap]
    return sums


def _narrow_sums(samples: NDArray[np.uint8], axis: Axis) -> NDArray[np.int64]:
    """Each product is cut to 8 bits behind the point; half of that for each tap makes up for it."""
    taps = axis.weights.shape[1]
    weights = axis.weights.T.reshape(taps, -1, *[1] * (samples.ndim - 1))
    sums = np.full((len(axis.first), *samples.shape[1:]), taps // 2, np.int64)
    for tap in range(taps):
        sums += (samples[axis.first + tap] * weights[tap]) >> 8
    return sums


def _gray(luma: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.repeat((luma[:, :, None] + 128) >> 8, 3, axis=2).astype(np.uint8)


def _color(
    luma: NDArray[np.int64], cb: NDArray[np.int64], cr: NDArray[np.int64]
) -> NDArray[np.uint8]:
    y = (luma >> (8 - COLOR_BITS)) + (1 << (COLOR_BITS - 1))
    blue, red = cb - 0x8000, cr - 0x8000
    r = y + (red * RED_CR >> 16)
    g = y - (blue * GREEN_CB >> 16) - (red * GREEN_CR >> 16)
    b = y + (blue * BLUE_CB >> 16)
    return (np.stack([r, g, b], axis=2) >> COLOR_BITS).clip(0, 255).astype(np.uint8)


def epilogue_array(pixels: NDArray[np.uint8], epilogue: Epilogue) -> NDArray[Any]:
    """What ``apply_epilogue`` does to each row of ``(H, W, 3)`` uint8, which is mirrored already.

    Raises:
        ValueError: see ``epilogue.record.check``.
    """
    check(epilogue)
    if epilogue.table is not None:
        pixels = epilogue.table[np.arange(3), pixels]
    pixels = pixels.copy()
    for kind, factor in epilogue.colors:
        gray = gray_array(pixels)[..., None]
        pixels = blend_array(pixels, factor, gray if kind == SATURATION else 0)
    for top, left, bottom, right, *color in epilogue.rectangles:
        pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = color
    if epilogue.constants is not None:
        pixels = _normalized(pixels, epilogue.kind, epilogue.constants)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if epilogue.planar else pixels


def _normalized(pixels: NDArray[np.uint8], kind: int, constants: NDArray[np.uint8]) -> NDArray[Any]:
    bits = constants[TABLE:].view(np.uint32).reshape(3, 256)[np.arange(3), pixels]
    if kind == FLOAT32:
        return bits.view(np.float32)
    halves = bits.astype(np.uint16)
    return halves.view(np.float16) if kind == FLOAT16 else halves

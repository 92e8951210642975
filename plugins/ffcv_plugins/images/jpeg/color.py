"""From planes to RGB pixels (JFIF, section 7), as libjpeg-turbo computes them.

Red is ``y + 1.402 cr``, blue ``y + 1.772 cb``, green ``y - 0.34414 cb - 0.71414 cr``, where cb and
cr are reduced by 128, constants have 16 bits behind the point, and what is added to y is rounded
once. All of it is done in vectors of 16-bit numbers.

**Memory.** Rows of luma and chroma are read 16 by 16 from their first pixel on, and the last 16 end
with the row; only of a row of fewer than 16 pixels are bytes behind it read, at most 15, and those
are there: see ``upsample``. Of a row of the target exactly ``3 * width`` bytes are written: a row
of fewer than 16 pixels is made in ``work`` and copied. There lie 48 bytes for that, and then two
row buffers, see ``upsample``.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.vectors import (
    clamp_u8,
    interleave3,
    load_u8,
    load_u8x16,
    narrow,
    signed,
    store,
    store_u8,
    widen,
)
from ffcv_plugins.images.jpeg.state import PLANE_WORDS
from ffcv_plugins.images.jpeg.upsample import holds, row_buffer_bytes, upsample_row

__all__ = ["region_to_rgb", "rgb_work_bytes"]

_STEP = 16
"""Pixels that are converted at once."""

_BITS = 16


def _fixed(number: float) -> int:
    return round(number * (1 << _BITS))


_RED_CR = _fixed(1.402) - (1 << _BITS)
_BLUE_CB = _fixed(1.772) - (2 << _BITS)
"""The constants without a whole multiple, which is added apart: so they have 16 bits."""

_GREEN_CB, _GREEN_CR = -_fixed(0.34414) // 2, -_fixed(0.71414) // 2
_GREEN_CB_256, _GREEN_CR_256 = round(_GREEN_CB / 256), round(_GREEN_CR / 256)
_GREEN_CB_REST, _GREEN_CR_REST = _GREEN_CB - 256 * _GREEN_CB_256, _GREEN_CR - 256 * _GREEN_CR_256


@kernel
def rgb_work_bytes(width: Any) -> int:
    """Bytes of scratch memory that :func:`region_to_rgb` needs for rows of ``width`` pixels."""
    return 2 * row_buffer_bytes(width) + 3 * _STEP


@kernel
def region_to_rgb(
    planes: Any, components: Any, h: Any, v: Any, smooth: Any, y: Any, x: Any, height: Any,
    width: Any, target: Any, pitch: Any, work: Any,
) -> int:  # fmt: skip
    """Make RGB pixels of a region from the planes of its components.

    Args:
        planes: address of the components' planes, eight words each, see ``state``. The first one
            has the resolution of the image.
        components: 1 for grey or 3 for luma and chroma.
        h: pixels for each sample of chroma, horizontally: 1, 2 or 4.
        v: the same vertically: 1 or 2.
        smooth: 1 where libjpeg interpolates chroma, 0 at 1/8 of the size.
        y: the region's first row, in pixels of the image that the planes give.
        x: its first column.
        height: its rows.
        width: its columns.
        target: address of the region's first pixel; pixels have 3 bytes.
        pitch: bytes from one row to the next there.
        work: address of :func:`rgb_work_bytes` of ``width``.

    Returns:
        1, or 0 if the planes do not have what the region needs; nothing is written then.
    """
    blue, red = planes + 8 * PLANE_WORDS, planes + 16 * PLANE_WORDS
    if height < 1 or width < 1 or not holds(planes, 1, 1, 0, y, x, height, width):
        return 0
    if components == 3 and not (
        holds(blue, h, v, smooth, y, x, height, width)
        and holds(red, h, v, smooth, y, x, height, width)
    ):
        return 0
    pixels = work + 3 * _STEP
    more = pixels + row_buffer_bytes(width)
    for row in range(height):
        place = target + row * pitch
        out = work if width < _STEP else place
        luma = upsample_row(planes, 1, 1, 0, y + row, x, width, pixels)
        if components == 3:
            cb = upsample_row(blue, h, v, smooth, y + row, x, width, pixels)
            cr = upsample_row(red, h, v, smooth, y + row, x, width, more)
            _color_row(luma, cb, cr, width, out)
        else:
            _gray_row(luma, width, out)
        if width < _STEP:
            _copy(work, place, 3 * width)
    return 1


@kernel
def _centered(address: Any) -> Any:
    return signed(widen(load_u8x16(address))) - 128


@kernel
def _rounded_product(value: Any, constant: Any) -> Any:
    """``value`` times a constant, rounded.

    The upper halves of twice the products, with 1 added and halved, are what rounding the products
    would give; and most processors have an instruction for upper halves.
    """
    return (narrow((widen(value + value) * constant) >> _BITS) + 1) >> 1


@kernel
def _green_offset(cb: Any, cr: Any) -> Any:
    """What green adds to luma, rounded once.

    The constants are even; their halves are split into multiples of 256 and a rest. The sums of
    both fit into 16 bits, and so nothing has to be widened.
    """
    rest = cb * _GREEN_CB_REST + cr * _GREEN_CR_REST
    return (cb * _GREEN_CB_256 + cr * _GREEN_CR_256 + (rest >> 8) + 64) >> 7


@kernel
def _convert(luma: Any, cb: Any, cr: Any, target: Any) -> None:
    """Sixteen pixels."""
    y, blue, red = signed(widen(load_u8x16(luma))), _centered(cb), _centered(cr)
    r = clamp_u8(y + red + _rounded_product(red, _RED_CR))
    g = clamp_u8(y + _green_offset(blue, red))
    b = clamp_u8(y + blue + blue + _rounded_product(blue, _BLUE_CB))
    store(target, interleave3(r, g, b))


@kernel
def _color_row(luma: Any, cb: Any, cr: Any, width: Any, target: Any) -> None:
    """Steps of 16 pixels, of which the last one ends with the row, if it is that long."""
    last = max(width - _STEP, 0)
    for i in range(0, width, _STEP):
        place = min(i, last)
        _convert(luma + place, cb + place, cr + place, target + 3 * place)


@kernel
def _gray_row(luma: Any, width: Any, target: Any) -> None:
    last = max(width - _STEP, 0)
    for i in range(0, width, _STEP):
        place = min(i, last)
        gray = load_u8x16(luma + place)
        store(target + 3 * place, interleave3(gray, gray, gray))


@kernel
def _copy(source: Any, target: Any, count: Any) -> None:
    for i in range(count):
        store_u8(target + i, load_u8(source + i))

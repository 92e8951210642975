"""Entry point that makes finished samples of the planes of a JPEG, converting colour at the end.

Each component is resized from its own resolution to the sample's, and only then do luma and chroma
become RGB: less work than converting the region first, for an image that looks the same. Sums keep
8 bits behind the point until the colour is rounded.

A sample of a plane covers some pixels of the image and lies in their middle, as JFIF has it.

**Memory.** A plane's table says which window of the component lies in memory; the entry point
refuses a region whose samples are not in it, and reads no further than to the end of the window's
last row. Buffers of the workspace: see ``ring`` and ``vertical``. Lines have room for whole blocks
of 64 pixels: one of RGB, and behind it one of 16-bit numbers for each component.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels.entry import Entry, call_entry
from ffcv.kernels.structs import places
from ffcv.kernels.vectors import (
    clamp_u8,
    interleave3,
    load_i64,
    load_u16x32,
    narrow,
    signed,
    store,
    widen,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.epilogue.words import APPLY, HEIGHT, MIRROR, WIDTH, word
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.axis import prepare_axis
from ffcv_plugins.raster.resizing.rgb import (
    BAD_REGION,
    BAD_SIZE,
    NOT_COMPILED,
    TOO_SMALL,
    are_sides,
)
from ffcv_plugins.raster.resizing.ring import prepare
from ffcv_plugins.raster.resizing.vertical import find_rows, sum_rows_finely

__all__ = [
    "BLUE_CB",
    "COLOR_BITS",
    "GREEN_CB",
    "GREEN_CR",
    "PLANE",
    "RED_CR",
    "resize_planes",
    "resize_planes_entry",
]

PLANE = np.dtype(
    [
        ("address", "<i8"),
        ("pitch", "<i8"),
        ("left", "<i8"),
        ("top", "<i8"),
        ("columns", "<i8"),
        ("rows", "<i8"),
        ("width", "<i8"),
        ("height", "<i8"),
    ]
)
"""A plane: a window of a component in memory. Its address and the bytes from one row to the next,
where the window begins in the component, how large it is, and how large the whole component is."""

_PLANE_BYTES = PLANE.itemsize
_ADDRESS, _PITCH, _LEFT, _TOP, _COLUMNS, _ROWS = places(
    PLANE, "address", "pitch", "left", "top", "columns", "rows"
)

COLOR_BITS = 6
"""Bits behind the point of a colour before it is rounded."""

_UNIT = 1 << (8 + COLOR_BITS)
RED_CR, GREEN_CB, GREEN_CR, BLUE_CB = (
    round(factor * _UNIT) for factor in (1.402, 0.344136, 0.714136, 1.772)
)
"""JFIF's factors, such that the upper half of a product with a sample of 8 bits behind the point
has ``COLOR_BITS`` of them."""


@kernel
def resize_planes(
    planes: int,
    components: int,
    h: int,
    v: int,
    scale: int,
    y: int,
    x: int,
    height: int,
    width: int,
    work: int,
    epilogue: int,
) -> int:
    """Resize a region of a JPEG's planes into a sample.

    Args:
        planes: address of the planes, a record :data:`PLANE` each.
        components: 1 for grey, 3 for luma and chroma.
        h: luma samples for each chroma sample, horizontally.
        v: the same vertically.
        scale: pixels of the image for each luma sample, both ways: 1, or 2, 4, 8 where planes
            were decoded at a lower resolution.
        y: the region's first row, in pixels of the image.
        x: its first column.
        height: its rows.
        width: its columns.
        work: address of a workspace's table.
        epilogue: address of the sample's record, see ``raster.epilogue``.

    Returns:
        0, ``TOO_SMALL``, ``BAD_SIZE``, ``BAD_REGION`` or ``NOT_COMPILED``; other than 0, the sample
        is not complete.
    """
    out_height, out_width = word(epilogue, HEIGHT), word(epilogue, WIDTH)
    if not are_sides(height, width) or not are_sides(out_height, out_width):
        return BAD_SIZE
    if components not in (1, 3) or h < 1 or v < 1 or scale < 1:
        return BAD_REGION
    apply, advance = word(epilogue, APPLY), load_i64(work + w.ADVANCE)
    if not apply or not advance:
        return NOT_COMPILED
    for index in range(components):
        code = _prepare(work, planes, index, h, v, scale, y, x, height, width, epilogue)
        if code:
            return code
    row_bytes = w.round_up(out_width, 64)
    if 9 * row_bytes > load_i64(work + w.LINE + 8):
        return TOO_SMALL
    tap_rows, line = load_i64(work + w.TAP_ROWS), load_i64(work + w.LINE)
    for row in range(out_height):
        for index in range(components):
            component = work + w.COMPONENTS + w.COMPONENT_BYTES * index
            if call_entry(advance, (work, component, row)):
                return TOO_SMALL
            find_rows(component, row, tap_rows)
            sum_rows_finely(component, row, tap_rows, line + (3 + 2 * index) * row_bytes)
        if components == 1:
            _to_gray(line, row_bytes)
        else:
            _to_color(line, row_bytes)
        call_entry(apply, (epilogue, line, line, row))
    return 0


@kernel
def _prepare(
    work: int,
    planes: int,
    index: int,
    h: int,
    v: int,
    scale: int,
    y: int,
    x: int,
    height: int,
    width: int,
    epilogue: int,
) -> int:
    """Set up one component."""
    plane, across, down = planes + _PLANE_BYTES * index, scale, scale
    if index > 0:
        across, down = scale * h, scale * v
    low_y, low_x = y // down, x // across
    high_y, high_x = (y + height + down - 1) // down, (x + width + across - 1) // across
    if not _holds(plane, low_y, low_x, high_y, high_x):
        return BAD_REGION
    out_width, mirror = word(epilogue, WIDTH), word(epilogue, MIRROR)
    if index < 2:  # both components of chroma have the same axes
        axis, out_height = 2 * index, word(epilogue, HEIGHT)
        code = prepare_axis(work, axis, out_width, x, width, across, low_x, high_x, mirror)
        code |= prepare_axis(work, axis + 1, out_height, y, height, down, low_y, high_y, 0)
        if code:
            return TOO_SMALL
    address, pitch = load_i64(plane + _ADDRESS), load_i64(plane + _PITCH)
    top, left = load_i64(plane + _TOP), load_i64(plane + _LEFT)
    source = address + (low_y - top) * pitch + low_x - left
    end = address + load_i64(plane + _ROWS) * pitch
    code = prepare(work, index, source, pitch, high_y - low_y, end, 1, out_width)
    return TOO_SMALL if code else 0


@kernel
def _holds(plane: int, low_y: int, low_x: int, high_y: int, high_x: int) -> bool:
    """Whether the window of a plane has these samples, and there are any."""
    top, left = load_i64(plane + _TOP), load_i64(plane + _LEFT)
    columns = load_i64(plane + _COLUMNS)
    return (
        top <= low_y < high_y <= top + load_i64(plane + _ROWS)
        and left <= low_x < high_x <= left + columns
        and columns <= load_i64(plane + _PITCH)
    )


@kernel
def _to_gray(line: int, row_bytes: int) -> None:
    """Round luma, and write it three times."""
    for offset in range(0, row_bytes, 32):
        luma = load_u16x32(line + 3 * row_bytes + 2 * offset)
        gray = narrow((luma + 128) >> 8)
        store(line + 3 * offset, interleave3(gray, gray, gray))


@kernel
def _to_color(line: int, row_bytes: int) -> None:
    """Convert a row of luma and chroma to RGB."""
    for offset in range(0, row_bytes, 32):
        place = line + 3 * row_bytes + 2 * offset
        luma, cb = load_u16x32(place), load_u16x32(place + 2 * row_bytes)
        cr = load_u16x32(place + 4 * row_bytes)
        y = signed(luma >> (8 - COLOR_BITS)) + (1 << (COLOR_BITS - 1))
        blue, red = signed(cb ^ 0x8000), signed(cr ^ 0x8000)  # 128 less
        r = clamp_u8((y + _scaled(red, RED_CR)) >> COLOR_BITS)
        g = clamp_u8((y - _scaled(blue, GREEN_CB) - _scaled(red, GREEN_CR)) >> COLOR_BITS)
        b = clamp_u8((y + _scaled(blue, BLUE_CB)) >> COLOR_BITS)
        store(line + 3 * offset, interleave3(r, g, b))


@kernel
def _scaled(samples: Any, factor: int) -> Any:
    """The upper halves of products."""
    return narrow((widen(samples) * factor) >> 16)


resize_planes_entry = Entry(resize_planes)

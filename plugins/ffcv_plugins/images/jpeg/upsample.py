"""Rows of chroma at the resolution of luma, as libjpeg-turbo makes them ("fancy upsampling").

A component with half the resolution is interpolated: a pixel has 3/4 of the nearest sample and 1/4
of the next one in each direction, and at the edges of the component, where there is no next one,
the nearest sample takes its place. What libjpeg-turbo does not interpolate is repeated here too:
factors of 4, everything at 1/8 of the size, and components of at most two columns whose columns
would have to be interpolated.

A component is described by the eight words of a plane (see ``state``): the window of it that lies
in memory. The window is wholly inside of the component.

**Memory.** :func:`holds` says whether a plane's window has all samples that the pixels of a region
depend on; :func:`upsample_row` must only be called for parts of regions of which it said so. Then
reading begins at a sample of the window and goes 16 by 16, at most 15 bytes beyond the last sample
of a row that is needed: :data:`PLANE_SLACK`.

The row buffer has two halves of at least ``count + 128`` bytes. The first one has weighted sums, of
2 bytes: one for each of at most ``count // 2 + 1`` samples, one for the neighbours on both sides,
and up to 15 more, since they are made 16 by 16; ``count + 36`` bytes. They are read 32 bytes at a
time, from at most ``count + 4`` on. The second half has pixels, written in steps of 16 * h that
begin at one of the first ``count + 3``: at most ``count + 66`` bytes.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.vectors import (
    interleave,
    load_u8x16,
    load_u16,
    load_u16x16,
    narrow,
    store,
    store_u16,
    widen,
)
from ffcv_plugins.images.jpeg.state import (
    P_ADDRESS,
    P_COLUMNS,
    P_HEIGHT,
    P_LEFT,
    P_PITCH,
    P_ROWS,
    P_TOP,
    P_WIDTH,
    get,
)

__all__ = ["PLANE_SLACK", "holds", "row_buffer_bytes", "upsample_row"]

PLANE_SLACK = 16
"""Readable bytes that a plane must have behind its last sample."""


@kernel
def row_buffer_bytes(count: Any) -> int:
    """Bytes that :func:`upsample_row` works in, for rows of at most ``count`` pixels."""
    return 2 * _half_buffer(count)


@kernel
def _half_buffer(count: Any) -> int:
    return (count + 191) // 64 * 64


@kernel
def _sample(pixel: Any, factor: Any) -> int:
    """``pixel // factor`` for 1, 2 and 4, without a division."""
    return pixel >> (factor >> 1)


@kernel
def _is_smooth_across(plane: Any, h: Any, smooth: Any) -> bool:
    return smooth != 0 and h == 2 and get(plane, P_WIDTH) > 2


@kernel
def _is_smooth_down(plane: Any, h: Any, v: Any, smooth: Any) -> bool:
    return smooth != 0 and v == 2 and (h == 1 or _is_smooth_across(plane, h, smooth))


@kernel
def holds(plane: Any, h: Any, v: Any, smooth: Any, y: Any, x: Any, height: Any, width: Any) -> bool:
    """Whether a plane has all samples that the pixels of a region depend on.

    Args:
        plane: address of its eight words.
        h: pixels for each sample of the component, horizontally.
        v: the same vertically.
        smooth: 1 where libjpeg interpolates, 0 at 1/8 of the size.
        y: the region's first row, in pixels of the whole image.
        x: its first column.
        height: its rows, at least 1.
        width: its columns, at least 1.
    """
    across = 1 if _is_smooth_across(plane, h, smooth) else 0
    down = 1 if _is_smooth_down(plane, h, v, smooth) else 0
    left, columns, full_width = get(plane, P_LEFT), get(plane, P_COLUMNS), get(plane, P_WIDTH)
    top, rows, full_height = get(plane, P_TOP), get(plane, P_ROWS), get(plane, P_HEIGHT)
    return _covers(left, columns, x, x + width - 1, h, across, full_width) and _covers(
        top, rows, y, y + height - 1, v, down, full_height
    )


@kernel
def _covers(
    start: Any, length: Any, first: Any, last: Any, factor: Any, margin: Any, size: Any
) -> bool:
    """Whether a window has the samples of pixels ``first`` to ``last``, and neighbours.

    A neighbour is the sample of the pixel that is ``margin`` further on either side. Those that the
    component, of ``size`` samples, does not have either are not missed.
    """
    begin = max(_sample(first - margin, factor), 0)
    end = min(_sample(last + margin, factor), size - 1)
    return (
        start <= _sample(first, factor)
        and start <= begin
        and _sample(last, factor) < start + length
        and end < start + length
    )


@kernel
def upsample_row(
    plane: Any, h: Any, v: Any, smooth: Any, y: Any, x: Any, count: Any, buffer: Any
) -> int:
    """Make pixels ``[x, x + count)`` of row ``y``.

    Args:
        plane: address of the component's eight words.
        h: pixels for each of its samples horizontally: 1, 2 or 4.
        v: the same vertically: 1 or 2.
        smooth: 1 where libjpeg interpolates, 0 at 1/8 of the size.
        y: row in pixels of the whole image.
        x: column likewise.
        count: how many pixels.
        buffer: address of :func:`row_buffer_bytes` of ``count``.

    Returns:
        Address of the first pixel. It is in the buffer, or, where every sample is a pixel, in the
        plane. 15 bytes behind the last pixel may be read.
    """
    near = _sample(y, v)
    row = _row(plane, near)
    pixels = buffer + _half_buffer(count)
    if _is_smooth_down(plane, h, v, smooth):
        other = _row(plane, _next_row(plane, y))
        if h == 1:
            _blend_rows(row + x, other + x, count, 1 + (y & 1), pixels)
            return pixels
        _sum_rows(plane, row, other, x, count, buffer)
        _blend_columns(x, count, buffer, 8, 7, pixels)
    elif _is_smooth_across(plane, h, smooth):
        # Four times the sample, and four times the rounding, as there are no rows to blend.
        _sum_rows(plane, row, row, x, count, buffer)
        _blend_columns(x, count, buffer, 4, 8, pixels)
    elif h == 1:
        return row + x
    else:
        _repeat(row + _sample(x, h), h, (x & (h - 1)) + count, pixels)
    return pixels + (x & (h - 1))


@kernel
def _row(plane: Any, row: Any) -> int:
    """Where the row's sample of column 0 is, or would be if the window had it."""
    place = (row - get(plane, P_TOP)) * get(plane, P_PITCH) - get(plane, P_LEFT)
    return get(plane, P_ADDRESS) + place


@kernel
def _next_row(plane: Any, y: Any) -> int:
    """The row of samples next to pixel row ``y`` after the nearest one; v = 2."""
    row = (y >> 1) - 1 + 2 * (y & 1)
    return min(max(row, 0), get(plane, P_HEIGHT) - 1)


@kernel
def _weighted(near: Any, far: Any) -> Any:
    return widen(load_u8x16(near)) * 3 + widen(load_u8x16(far))


@kernel
def _blend_rows(near: Any, far: Any, count: Any, rounding: Any, pixels: Any) -> None:
    for i in range(0, count, 16):
        store(pixels + i, narrow((_weighted(near + i, far + i) + rounding) >> 2))


@kernel
def _sum_rows(plane: Any, near: Any, far: Any, x: Any, count: Any, sums: Any) -> None:
    """Weighted sums of two rows: of the samples that pixels ``[x, x + count)`` depend on.

    The first place is for the neighbour to the left of ``x // 2``. Where there is none, or where it
    is not needed because ``x`` is odd, the sample itself takes it.
    """
    end, origin = get(plane, P_WIDTH), (x >> 1) - 1
    start, stop = max((x - 1) >> 1, 0), ((x + count) >> 1) + 1
    for i in range(start, min(stop, end), 16):
        store(sums + 2 * (i - origin), _weighted(near + i, far + i))
    if start > origin:
        store_u16(sums, load_u16(sums + 2))
    if stop > end:
        store_u16(sums + 2 * (end - origin), load_u16(sums + 2 * (end - origin) - 2))


@kernel
def _blend_columns(
    x: Any, count: Any, sums: Any, even_rounding: Any, odd_rounding: Any, pixels: Any
) -> None:
    """Interpolate between the sums; the first pixel is the one of column ``x // 2 * 2``.

    Sums have 4 bits behind the point. An even pixel is the lower byte of a 16-bit lane, and the odd
    one that follows it the upper byte.
    """
    for i in range(0, x % 2 + count, 32):
        middle = load_u16x16(sums + i + 2) * 3
        even = middle + load_u16x16(sums + i) + even_rounding
        odd = middle + load_u16x16(sums + i + 4) + odd_rounding
        store(pixels + i, (even >> 4) | ((odd << 4) & 0xFF00))


@kernel
def _repeat(samples: Any, h: Any, count: Any, pixels: Any) -> None:
    """Repeat each sample ``h`` times, 2 or 4."""
    for i in range(0, _sample(count + h - 1, h), 16):
        some = load_u8x16(samples + i)
        pair = interleave(some, some)
        if h == 2:
            store(pixels + 2 * i, pair)
        else:
            store(pixels + 4 * i, interleave(pair, pair))

"""The decoder's entry points.

Their arguments are int64: addresses of memory that the caller vouches for, and numbers. Each of
them returns 0 or says why not: ``UNSUPPORTED`` (another decoder may know the stream, or a buffer is
too small for it), ``BROKEN``, or ``OUTSIDE`` (the region is not in the image).
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.color import region_to_rgb, rgb_work_bytes
from ffcv_plugins.images.jpeg.grid import cells, cover, is_inside
from ffcv_plugins.images.jpeg.markers import UNSUPPORTED, parse
from ffcv_plugins.images.jpeg.region import decode_region
from ffcv_plugins.images.jpeg.segments import choose_access, is_indexed
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["OUTSIDE", "PLANES_ENTRY", "RGB_ENTRY", "begin", "decode_planes", "decode_rgb"]

OUTSIDE = 3


@kernel
def begin(state: Any, data: Any, length: Any) -> int:
    """Read the segments in front of the scan, and count the image's MCUs."""
    put(state, s.DATA, data)
    put(state, s.LENGTH, length)
    problem = parse(state)
    if problem == 0:
        put(state, s.MCU_COLUMNS, cells(get(state, s.WIDTH), get(state, s.H_FACTOR)))
        put(state, s.MCU_ROWS, cells(get(state, s.HEIGHT), get(state, s.V_FACTOR)))
    return problem


@kernel
def _choose_region(state: Any, y: Any, x: Any, height: Any, width: Any) -> int:
    """Set the MCUs that cover a region, and the neighbours that chroma is interpolated from."""
    full_height, full_width = get(state, s.HEIGHT), get(state, s.WIDTH)
    if not is_inside(y, x, height, width, full_height, full_width):
        return OUTSIDE
    first, end = cover(x, width, full_width, get(state, s.H_FACTOR))
    put(state, s.FIRST_COLUMN, first)
    put(state, s.END_COLUMN, end)
    first, end = cover(y, height, full_height, get(state, s.V_FACTOR))
    put(state, s.FIRST_ROW, first)
    put(state, s.END_ROW, end)
    return 0


@kernel
def decode_planes(
    state: Any, data: Any, length: Any, y: Any, x: Any, height: Any, width: Any, size: Any,
    index: Any, index_size: Any,
) -> int:  # fmt: skip
    """Decode the planes of a region.

    Args:
        state: address of the state's words; ``PLANES`` in it tells where the planes are then.
        data: address of the stream.
        length: its length in bytes.
        y: the region's first row.
        x: its first column.
        height: its height in pixels.
        width: its width in pixels.
        size: pixels a side that each block is decoded to: 8, or 4, 2 or 1 for an image of half, a
            quarter or an eighth of the size.
        index: address of the image's side index.
        index_size: its length in bytes, 0 for none.
    """
    problem = begin(state, data, length)
    if problem == 0:
        problem = _choose_region(state, y, x, height, width)
    if problem != 0:
        return problem
    put(state, s.SIZE, size)
    choose_access(state, index, index_size)
    put(state, s.IN_PARTS, 1 if is_indexed(state) else 0)
    return decode_region(state)


@kernel
def decode_rgb(
    state: Any, data: Any, length: Any, y: Any, x: Any, height: Any, width: Any, target: Any,
    pitch: Any, index: Any, index_size: Any,
) -> int:  # fmt: skip
    """Decode a region to RGB.

    Args:
        state: address of the state's words.
        data: address of the stream.
        length: its length in bytes.
        y: the region's first row.
        x: its first column.
        height: its height in pixels.
        width: its width in pixels.
        target: where the region's pixels go; ``3 * width`` bytes of each of its rows are written.
        pitch: bytes from one row to the next there.
        index: address of the image's side index.
        index_size: its length in bytes, 0 for none.
    """
    problem = decode_planes(state, data, length, y, x, height, width, 8, index, index_size)
    if problem != 0:
        return problem
    if rgb_work_bytes(width) > get(state, s.N_ROWS):
        return UNSUPPORTED
    done = region_to_rgb(
        state + 8 * s.PLANES, get(state, s.COMPONENTS), get(state, s.H_FACTOR),
        get(state, s.V_FACTOR), 1, y, x, height, width, target, pitch, get(state, s.B_ROWS),
    )  # fmt: skip
    return 0 if done == 1 else UNSUPPORTED


PLANES_ENTRY = Entry(decode_planes)
RGB_ENTRY = Entry(decode_rgb)

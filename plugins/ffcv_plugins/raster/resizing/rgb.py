"""Entry points that make finished samples of a region of an RGB image.

**Memory.** Of the source no byte is read in front of the region's first one or behind its last one,
``source + (y + height - 1) * pitch + 3 * (x + width)``; between them rows may be read beyond the
region's sides. ``horizontal`` says how, for the buffers of the workspace see ``ring`` and
``vertical``, and for the sample ``raster.epilogue``.
"""

from __future__ import annotations

from ffcv.kernels.entry import Entry, call_entry
from ffcv.kernels.vectors import load_i64
from ffcv.pipeline import kernel
from ffcv_plugins.raster.epilogue.words import (
    APPLY,
    DESTINATION,
    HEIGHT,
    MIRROR,
    PAST_CACHE,
    WIDTH,
    is_plain,
    word,
)
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.axis import prepare_axis
from ffcv_plugins.raster.resizing.band import fill_band, prepare_band
from ffcv_plugins.raster.resizing.ring import prepare
from ffcv_plugins.raster.resizing.vertical import find_rows, sum_rows
from ffcv_plugins.raster.resizing.weights import rows_come_first
from ffcv_plugins.raster.rows import copy_row, mirror_row, stream_row

__all__ = [
    "BAD_REGION",
    "BAD_SIZE",
    "LARGEST_SIDE",
    "NOT_COMPILED",
    "TOO_SMALL",
    "are_sides",
    "copy_rgb",
    "copy_rgb_entry",
    "resize_rgb",
    "resize_rgb_entry",
]

TOO_SMALL, BAD_SIZE, BAD_REGION, NOT_COMPILED = 1, 2, 3, 4
"""What entry points return: the workspace is too small for this region and sample; a side is not
from 1 to ``LARGEST_SIDE``, or not what it should be; there are no such planes, or one does not hold
the region; workspace or record were made where nothing is compiled."""

LARGEST_SIDE = 65535


@kernel
def resize_rgb(
    source: int, pitch: int, y: int, x: int, height: int, width: int, work: int, epilogue: int
) -> int:
    """Resize a region of an interleaved RGB image into a sample.

    Args:
        source: address of the image, whose pixels have three bytes.
        pitch: bytes from one row to the next, at least three for each of the region's columns.
        y: the region's first row.
        x: its first column.
        height: its rows.
        width: its columns.
        work: address of a workspace's table.
        epilogue: address of the sample's record, see ``raster.epilogue``.

    Returns:
        0, ``TOO_SMALL``, ``BAD_SIZE`` or ``NOT_COMPILED``; other than 0, the sample is not
        complete.
    """
    out_height, out_width = word(epilogue, HEIGHT), word(epilogue, WIDTH)
    if not are_sides(height, width) or not are_sides(out_height, out_width):
        return BAD_SIZE
    if pitch < 3 * width:
        return BAD_SIZE
    if height == out_height and width == out_width:
        return copy_rgb(source, pitch, y, x, height, width, work, epilogue)
    apply, advance = word(epilogue, APPLY), load_i64(work + w.ADVANCE)
    if not apply or not advance:
        return NOT_COMPILED
    begin = source + y * pitch + 3 * x
    if _prepare(work, begin, pitch, height, width, epilogue):
        return TOO_SMALL
    component, method = work + w.COMPONENTS, load_i64(work + w.METHOD)
    if rows_come_first(method, height, width, out_height, out_width):
        return _resize_in_bands(begin, pitch, width, work, epilogue)
    tap_rows, line = load_i64(work + w.TAP_ROWS), load_i64(work + w.LINE)
    for row in range(out_height):
        if call_entry(advance, (work, component, row)):
            return TOO_SMALL
        find_rows(component, row, tap_rows)
        sum_rows(component, row, tap_rows, line)
        call_entry(apply, (epilogue, line, line, row))
    return 0


@kernel
def _resize_in_bands(begin: int, pitch: int, width: int, work: int, epilogue: int) -> int:
    """Make output rows of the source's width first; returns the entry point's code."""
    if prepare_band(work, width):
        return TOO_SMALL
    component, line = work + w.COMPONENTS, load_i64(work + w.LINE)
    apply, advance = word(epilogue, APPLY), load_i64(work + w.ADVANCE)
    ring, ring_pitch = load_i64(component + w.RING), load_i64(component + w.RING_PITCH)
    out_height = word(epilogue, HEIGHT)
    for start in range(0, out_height, w.STRIP_ROWS):
        count = min(w.STRIP_ROWS, out_height - start)
        fill_band(work, begin, pitch, width, start, count)
        if call_entry(advance, (work, component, 0)):
            return TOO_SMALL
        for row in range(count):
            call_entry(apply, (epilogue, ring + row * ring_pitch, line, start + row))
    return 0


@kernel
def _prepare(work: int, begin: int, pitch: int, height: int, width: int, epilogue: int) -> int:
    """Set up the axes and the ring, and see that a line fits."""
    out_width, mirror = word(epilogue, WIDTH), word(epilogue, MIRROR)
    code = prepare_axis(work, 0, out_width, 0, width, 1, 0, width, mirror)
    code |= prepare_axis(work, 1, word(epilogue, HEIGHT), 0, height, 1, 0, height, 0)
    if code:
        return code
    end = begin + (height - 1) * pitch + 3 * width
    code = prepare(work, 0, begin, pitch, height, end, 3, out_width)
    return code | (w.round_up(3 * out_width, 64) > load_i64(work + w.LINE + 8))


@kernel
def copy_rgb(
    source: int, pitch: int, y: int, x: int, height: int, width: int, work: int, epilogue: int
) -> int:
    """Make a sample of a region that has its size. Arguments and codes are ``resize_rgb``'s."""
    if height != word(epilogue, HEIGHT) or width != word(epilogue, WIDTH):
        return BAD_SIZE
    if not are_sides(height, width):
        return BAD_SIZE
    if 3 * width > load_i64(work + w.LINE + 8):
        return TOO_SMALL
    apply = word(epilogue, APPLY)
    if not apply:
        return NOT_COMPILED
    line, target = load_i64(work + w.LINE), word(epilogue, DESTINATION)
    pixels = source + y * pitch + 3 * x
    plain, mirror = is_plain(epilogue), word(epilogue, MIRROR)
    past_cache = word(epilogue, PAST_CACHE)
    for row in range(height):
        if plain and past_cache:
            stream_row(pixels, target + 3 * width * row, 3 * width)
        elif plain:
            copy_row(pixels, target + 3 * width * row, 3 * width)
        elif mirror:
            mirror_row(pixels, line, width)
            call_entry(apply, (epilogue, line, line, row))
        else:
            call_entry(apply, (epilogue, pixels, line, row))
        pixels += pitch
    return 0


@kernel
def are_sides(height: int, width: int) -> bool:
    """Whether an image may have this size."""
    return 1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE


resize_rgb_entry = Entry(resize_rgb)
copy_rgb_entry = Entry(copy_rgb)

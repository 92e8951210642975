"""The other order of the passes: rows first, then columns, 32 output rows at a time.

Filters with negative weights overshoot at edges, and what leaves 0 to 255 between the passes is cut
off there. So the order shows in the result, and ``weights.rows_come_first`` says which one it is.
A band of output rows is made of source rows; then it goes through the horizontal pass as a source
of 32 rows, into the first rows of the ring.

**Memory.** :func:`sum_band_rows` reads source rows whose numbers ``fill_axis`` has kept inside of
the region, and of each no byte outside of its ``3 * width``: the last 16 of them are read again
where the length is no multiple of 16, and shorter rows byte by byte. It writes as many to the band,
whose size :func:`prepare_band` compares with what the rows need. The band's own axis says that its
first output row begins at row 0 and is made of all rows, so that ``ring.advance`` brings in just
these; an axis of chroma, which an RGB image has not, holds it.
"""

from __future__ import annotations

from ffcv.kernels.vectors import (
    clamp_u8,
    load_i32,
    load_i64,
    load_u8,
    store,
    store_i32,
    store_i64,
    store_u8,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.vertical import sum_wide
from ffcv_plugins.raster.resizing.weights import WIDE_BITS

__all__ = ["fill_band", "prepare_band"]

_HALF = 1 << (WIDE_BITS - 1)


@kernel
def prepare_band(work: int, width: int) -> int:
    """See that a band of rows of ``width`` pixels fits; returns 0, or 1 if it does not."""
    spare = work + w.AXES + 2 * w.AXIS_BYTES
    too_small = w.STRIP_ROWS * w.round_up(3 * width, 16) > load_i64(work + w.BAND + 8)
    return too_small or load_i64(spare + w.FIRST + 8) < 4


@kernel
def fill_band(work: int, source: int, pitch: int, width: int, start: int, count: int) -> None:
    """Make output rows of the source's width, and let the horizontal pass find them.

    Args:
        work: address of the workspace's table, whose axes and ring are set up.
        source: address of the region's first pixel.
        pitch: bytes from one source row to the next.
        width: the region's columns.
        start: the first output row.
        count: how many, at most 32.
    """
    component, band = work + w.COMPONENTS, load_i64(work + w.BAND)
    rows, spare = work + w.AXES + w.AXIS_BYTES, work + w.AXES + 2 * w.AXIS_BYTES
    band_pitch = w.round_up(3 * width, 16)
    for row in range(count):
        _find_source_rows(work, rows, source, pitch, start + row)
        _sum_band_row(work, rows, start + row, band + row * band_pitch, 3 * width)
    store_i32(load_i64(spare + w.FIRST), 0)
    store_i64(spare + w.TAPS, count)
    store_i64(component + w.ROWS, spare)
    store_i64(component + w.SOURCE, band)
    store_i64(component + w.PITCH, band_pitch)
    store_i64(component + w.HEIGHT, count)
    store_i64(component + w.END, band + w.STRIP_ROWS * band_pitch)
    store_i64(component + w.DONE, 0)


@kernel
def _find_source_rows(work: int, rows: int, source: int, pitch: int, row: int) -> None:
    """Write the addresses of the source rows that output row ``row`` is made of."""
    tap_rows = load_i64(work + w.TAP_ROWS)
    first = load_i32(load_i64(rows + w.FIRST) + 4 * row)
    for tap in range(load_i64(rows + w.TAPS)):
        store_i64(tap_rows + 8 * tap, source + (first + tap) * pitch)


@kernel
def _sum_band_row(work: int, rows: int, row: int, target: int, count: int) -> None:
    """Make ``count`` bytes of an output row, rounded."""
    tap_rows = load_i64(work + w.TAP_ROWS)
    taps, spacing = load_i64(rows + w.TAPS), load_i64(rows + w.SPACING)
    weights, done = load_i64(rows + w.WEIGHTS) + 4 * row, 0
    if count < 16:
        for offset in range(count):
            total = _HALF
            for tap in range(taps):
                sample = load_u8(load_i64(tap_rows + 8 * tap) + offset)
                total += int(sample) * load_i32(weights + spacing * tap)
            store_u8(target + offset, min(max(total >> WIDE_BITS, 0), 255))
        return
    while done < count:
        done = min(done, count - 16)
        total16 = sum_wide(tap_rows, taps, weights, spacing, done)
        store(target + done, clamp_u8((total16 + _HALF) >> WIDE_BITS))
        done += 16

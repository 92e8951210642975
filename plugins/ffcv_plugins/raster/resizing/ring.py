"""From a source to rows of the output's width, as they are needed.

:func:`prepare` sets up one component. From then on :func:`advance` brings in source rows, a strip
of 32 at a time, until the ring has those that the next output row is made of; a source row goes
through the horizontal pass once, and strips that no output row needs do not.

**Memory.** A ring has room for a strip and the rows that an output row needs, so that a strip that
comes in replaces no row that is still needed: those begin less than ``taps`` rows in front of it.
Its rows have whole blocks of 64 bytes, and so of 16, in which strips are written. :func:`prepare`
compares what the ring and ``SUMS`` must hold with their sizes.
"""

from __future__ import annotations

from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import load_i32, load_i64, store_i64
from ffcv.pipeline import kernel
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.horizontal import resize_strip

__all__ = ["advance", "advance_entry", "prepare"]


@kernel
def prepare(
    work: int,
    index: int,
    source: int,
    pitch: int,
    height: int,
    end: int,
    channels: int,
    width: int,
) -> int:
    """Begin with a source whose axes are filled in.

    Args:
        work: address of the workspace's table.
        index: which component, 0 to 2.
        source: address of the first sample, from which the axes count.
        pitch: bytes from one row to the next.
        height: rows.
        end: address behind the last byte that may be read.
        channels: samples of a pixel that lie side by side: 3, or 1.
        width: output pixels in a row.

    Returns:
        0, or 1 if a buffer is too small.
    """
    component = work + w.COMPONENTS + w.COMPONENT_BYTES * index
    columns = work + w.AXES + 2 * w.AXIS_BYTES * min(index, 1)
    rows = columns + w.AXIS_BYTES
    ring_rows, ring_pitch = w.ring_rows(load_i64(rows + w.TAPS)), w.round_up(channels * width, 64)
    sums = w.STRIP_ROWS * w.round_up(channels * min(width, w.TILE), 16)
    if ring_rows * ring_pitch > load_i64(component + w.RING + 8):
        return 1
    if sums > load_i64(work + w.SUMS + 8):
        return 1
    store_i64(component + w.RING_PITCH, ring_pitch)
    store_i64(component + w.RING_MASK, ring_rows - 1)
    store_i64(component + w.SOURCE, source)
    store_i64(component + w.PITCH, pitch)
    store_i64(component + w.HEIGHT, height)
    store_i64(component + w.END, end)
    store_i64(component + w.DONE, 0)
    store_i64(component + w.CHANNELS, channels)
    store_i64(component + w.WIDTH, width)
    store_i64(component + w.COLUMNS, columns)
    store_i64(component + w.ROWS, rows)
    return 0


@kernel
def advance(work: int, component: int, row: int) -> int:
    """Bring in source rows until there are those that output row ``row`` is made of.

    Args:
        work: address of the workspace's table.
        component: address of the component's words in it.
        row: which output row; not one before that of the last call.

    Returns:
        0, or 1 if a buffer is too small.
    """
    rows = load_i64(component + w.ROWS)
    first = load_i32(load_i64(rows + w.FIRST) + 4 * row)
    done = max(load_i64(component + w.DONE), first // w.STRIP_ROWS * w.STRIP_ROWS)
    while done < first + load_i64(rows + w.TAPS):
        store_i64(component + w.DONE, done)
        if resize_strip(work, component):
            return 1
        done += w.STRIP_ROWS
    store_i64(component + w.DONE, done)
    return 0


advance_entry = Entry(advance)

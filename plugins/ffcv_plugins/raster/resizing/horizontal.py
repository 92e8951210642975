"""The horizontal pass: 32 rows become 32 rows of the output's width.

Samples of one column lie side by side after a transposition, so that the rows are lanes of vectors,
whatever samples an output column needs. The work goes by tiles of output columns, whose samples
stay in the first-level cache.

Narrow weights multiply samples that stand in the upper bytes of 16-bit lanes; of the product the
upper half is kept, which has 8 bits behind the point. It is rounded downwards; half a unit for each
tap makes up for that, and half of 256 rounds the sum. All of it fits into 16 bits, because weights
add up to 65536 at most, and narrow ones are so few that their halves do not make another half.

**Memory.** Source bytes are read as they are asked for, 16 at a time: 32 rows from the tile's first
sample on, up to 15 bytes more than it has. Where these would not all lie in front of ``end``, or
where there are fewer than 32 rows, the bytes of the tile's samples alone are copied to ``EDGE`` and
read there. A tile needs ``512 * blocks`` bytes of ``STRIP`` and of ``EDGE``, which is compared with
their sizes; ``ring.prepare`` compares those of ``SUMS`` and of the ring. Columns that are read
from ``STRIP`` lie between the tile's lowest first sample and its highest plus the taps, because
first samples ascend or descend.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels.vectors import (
    clamp_u8,
    load_i32,
    load_i64,
    load_u8x16,
    load_u16,
    load_u16x16,
    narrow,
    signed,
    splat_i32x16,
    splat_u16x16,
    store,
    transpose,
    widen,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.weights import WIDE_BITS
from ffcv_plugins.raster.rows import copy_row

__all__ = ["high_product", "resize_strip"]

_BLOCK_BYTES = 16 * w.STRIP_ROWS


@kernel
def resize_strip(work: int, component: int) -> int:
    """Resize the next 32 rows of a source into its ring, or those that are left.

    What is written to the ring for rows behind the last has no meaning.

    Args:
        work: address of the workspace's table.
        component: address of the component's words in it.

    Returns:
        0, or 1 if a buffer is too small.
    """
    axis, sums = load_i64(component + w.COLUMNS), load_i64(work + w.SUMS)
    channels, width = load_i64(component + w.CHANNELS), load_i64(component + w.WIDTH)
    pitch = load_i64(component + w.RING_PITCH)
    slot = load_i64(component + w.DONE) & load_i64(component + w.RING_MASK)
    target = load_i64(component + w.RING) + slot * pitch
    for tile in range(0, width, w.TILE):
        stop = min(tile + w.TILE, width)
        left = _gather(work, component, tile, stop)
        if left < 0:
            return 1
        if load_i64(axis + w.IS_WIDE):
            _sum_wide(work, axis, left, channels, tile, stop)
        else:
            _sum_narrow(work, axis, left, channels, tile, stop)
        for block in range((channels * (stop - tile) + 15) >> 4):
            place = target + channels * tile + 16 * block
            _restore_block(sums + _BLOCK_BYTES * block, place, pitch)
    return 0


@kernel
def _gather(work: int, component: int, tile: int, stop: int) -> int:
    """Transpose what output columns from ``tile`` to ``stop`` are made of into ``STRIP``.

    Returns:
        the first pixel that it holds, or -1 if there is no room.
    """
    axis, channels = load_i64(component + w.COLUMNS), load_i64(component + w.CHANNELS)
    firsts = load_i64(axis + w.FIRST)
    head, tail = load_i32(firsts + 4 * tile), load_i32(firsts + 4 * (stop - 1))
    left = min(head, tail)
    count = channels * (max(head, tail) + load_i64(axis + w.TAPS) - left)
    blocks = (count + 15) >> 4
    if blocks * _BLOCK_BYTES > min(load_i64(work + w.STRIP + 8), load_i64(work + w.EDGE + 8)):
        return -1
    done, pitch = load_i64(component + w.DONE), load_i64(component + w.PITCH)
    rows = load_i64(component + w.HEIGHT) - done
    begin = load_i64(component + w.SOURCE) + done * pitch + channels * left
    reached = begin + (w.STRIP_ROWS - 1) * pitch + 16 * blocks
    if rows < w.STRIP_ROWS or reached > load_i64(component + w.END):
        edge = load_i64(work + w.EDGE)
        for row in range(min(rows, w.STRIP_ROWS)):
            copy_row(begin + row * pitch, edge + row * 16 * blocks, count)
        begin, pitch = edge, 16 * blocks
    strip = load_i64(work + w.STRIP)
    for block in range(blocks):
        _transpose_block(begin + 16 * block, pitch, strip + _BLOCK_BYTES * block)
    return left


@kernel
def _transpose_block(source: int, pitch: int, target: int) -> None:
    """16 bytes of 32 rows become 16 columns of 32 bytes."""
    for half in range(2):
        transpose(source + 16 * half * pitch, pitch, target + 16 * half, w.STRIP_ROWS)


@kernel
def _restore_block(source: int, target: int, pitch: int) -> None:
    """16 columns of 32 bytes become 16 bytes of 32 rows."""
    for half in range(2):
        transpose(source + 16 * half, w.STRIP_ROWS, target + 16 * half * pitch, pitch)


@kernel
def high_product(samples: Any, weight: Any) -> Any:
    """The upper halves of the products of two vectors of uint16."""
    return narrow((widen(samples) * widen(weight)) >> 16)


@kernel
def _sum_narrow(work: int, axis: int, left: int, channels: int, tile: int, stop: int) -> None:
    """Weighted sums of the tile's columns, 32 rows at once, from ``STRIP`` to ``SUMS``."""
    firsts, weights = load_i64(axis + w.FIRST), load_i64(axis + w.WEIGHTS)
    taps, spacing = load_i64(axis + w.TAPS), load_i64(axis + w.SPACING)
    strip, sums = load_i64(work + w.STRIP), load_i64(work + w.SUMS)
    size = w.STRIP_ROWS * channels
    for index in range(tile, stop):
        column = strip + size * (load_i32(firsts + 4 * index) - left)
        weight = weights + 2 * index
        for _ in range(channels):
            even = splat_u16x16(128 + (taps >> 1))
            odd = even
            for tap in range(taps):
                samples = load_u16x16(column + size * tap)
                factor = splat_u16x16(load_u16(weight + spacing * tap))
                even = even + high_product(samples << 8, factor)
                odd = odd + high_product(samples & 0xFF00, factor)
            store(sums, (even >> 8) | (odd & 0xFF00))
            sums += w.STRIP_ROWS
            column += w.STRIP_ROWS


@kernel
def _sum_wide(work: int, axis: int, left: int, channels: int, tile: int, stop: int) -> None:
    """The same with wide weights, 16 rows at once."""
    firsts, weights = load_i64(axis + w.FIRST), load_i64(axis + w.WEIGHTS)
    taps, spacing = load_i64(axis + w.TAPS), load_i64(axis + w.SPACING)
    strip, sums = load_i64(work + w.STRIP), load_i64(work + w.SUMS)
    size = w.STRIP_ROWS * channels
    for index in range(tile, stop):
        column = strip + size * (load_i32(firsts + 4 * index) - left)
        weight = weights + 4 * index
        for half in range(2 * channels):
            total = splat_i32x16(1 << (WIDE_BITS - 1))
            for tap in range(taps):
                samples = signed(widen(widen(load_u8x16(column + 16 * half + size * tap))))
                total = total + samples * splat_i32x16(load_i32(weight + spacing * tap))
            store(sums + 16 * half, clamp_u8(total >> WIDE_BITS))
        sums += size

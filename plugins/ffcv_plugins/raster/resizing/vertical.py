"""The vertical pass: rows of the ring become one row of the output.

Samples of a row lie side by side already. They are multiplied as in ``horizontal``. Where the
result is rounded to bytes, the even and the odd ones are each brought to the upper bytes of 16-bit
lanes, and put together again in the end.

**Memory.** :func:`find_rows` writes the addresses of the rows that an output row is made of, 8
bytes for each tap; ``fill_axis`` has made sure that more than these fit. They lie in the ring,
whose rows have a pitch of whole blocks of 64 bytes, and so blocks that begin before ``pitch`` are
inside of them, and inside of a line of ``pitch`` bytes.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels.vectors import (
    clamp_u8,
    load_i32,
    load_i64,
    load_u8x16,
    load_u8x32,
    load_u16,
    load_u16x32,
    maximum,
    minimum,
    narrow,
    signed,
    splat_i32x16,
    splat_u16x32,
    store,
    store_i64,
    widen,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.horizontal import high_product
from ffcv_plugins.raster.resizing.weights import WIDE_BITS

__all__ = ["find_rows", "sum_rows", "sum_rows_finely", "sum_wide"]

_HALF = 1 << (WIDE_BITS - 1)


@kernel
def find_rows(component: int, row: int, tap_rows: int) -> None:
    """Write the addresses of the ring's rows that output row ``row`` is made of."""
    axis, ring = load_i64(component + w.ROWS), load_i64(component + w.RING)
    pitch, mask = load_i64(component + w.RING_PITCH), load_i64(component + w.RING_MASK)
    first = load_i32(load_i64(axis + w.FIRST) + 4 * row)
    for tap in range(load_i64(axis + w.TAPS)):
        store_i64(tap_rows + 8 * tap, ring + ((first + tap) & mask) * pitch)


@kernel
def sum_rows(component: int, row: int, tap_rows: int, line: int) -> None:
    """Make output row ``row``, rounded to bytes.

    Args:
        component: address of the component's words in the workspace's table.
        row: which one.
        tap_rows: address of what :func:`find_rows` wrote.
        line: address of the result, as long as a row of the ring.
    """
    axis, pitch = load_i64(component + w.ROWS), load_i64(component + w.RING_PITCH)
    taps, spacing = load_i64(axis + w.TAPS), load_i64(axis + w.SPACING)
    if load_i64(axis + w.IS_WIDE):
        weights = load_i64(axis + w.WEIGHTS) + 4 * row
        for offset in range(0, pitch, 16):
            total = sum_wide(tap_rows, taps, weights, spacing, offset)
            store(line + offset, clamp_u8((total + _HALF) >> WIDE_BITS))
        return
    weights = load_i64(axis + w.WEIGHTS) + 2 * row
    for offset in range(0, pitch, 64):
        even = splat_u16x32(128 + (taps >> 1))
        odd = even
        for tap in range(taps):
            samples = load_u16x32(load_i64(tap_rows + 8 * tap) + offset)
            factor = splat_u16x32(load_u16(weights + spacing * tap))
            even = even + high_product(samples << 8, factor)
            odd = odd + high_product(samples & 0xFF00, factor)
        store(line + offset, (even >> 8) | (odd & 0xFF00))


@kernel
def sum_rows_finely(component: int, row: int, tap_rows: int, line: int) -> None:
    """Make output row ``row`` in 16 bits, of which 8 are behind the point.

    Args:
        component: address of the component's words in the workspace's table.
        row: which one.
        tap_rows: address of what :func:`find_rows` wrote.
        line: address of the result, twice as long as a row of the ring.
    """
    axis, pitch = load_i64(component + w.ROWS), load_i64(component + w.RING_PITCH)
    taps, spacing = load_i64(axis + w.TAPS), load_i64(axis + w.SPACING)
    if load_i64(axis + w.IS_WIDE):
        weights = load_i64(axis + w.WEIGHTS) + 4 * row
        for offset in range(0, pitch, 16):
            total = sum_wide(tap_rows, taps, weights, spacing, offset) >> (WIDE_BITS - 8)
            total = minimum(maximum(total, splat_i32x16(0)), splat_i32x16(0xFF00))
            store(line + 2 * offset, narrow(total))
        return
    weights = load_i64(axis + w.WEIGHTS) + 2 * row
    for offset in range(0, pitch, 32):
        total = splat_u16x32(taps >> 1)
        for tap in range(taps):
            samples = widen(load_u8x32(load_i64(tap_rows + 8 * tap) + offset)) << 8
            factor = splat_u16x32(load_u16(weights + spacing * tap))
            total = total + high_product(samples, factor)
        store(line + 2 * offset, total)


@kernel
def sum_wide(tap_rows: int, taps: int, weights: int, spacing: int, offset: int) -> Any:
    """Weighted sums of 16 samples from ``offset`` on, with ``WIDE_BITS`` behind the point."""
    total = splat_i32x16(0)
    for tap in range(taps):
        samples = signed(widen(widen(load_u8x16(load_i64(tap_rows + 8 * tap) + offset))))
        total = total + samples * splat_i32x16(load_i32(weights + spacing * tap))
    return total

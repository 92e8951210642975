"""Decoding the coefficients of blocks (T.81, section F.2.2).

A block's coefficients go to ``base + offset`` where the table of zigzag offsets says so: sixteen
blocks lie side by side, so neighbouring coefficients of one block are 32 bytes apart.

Every write lies inside of the buffer of coefficients, :data:`COEFFICIENT_BYTES`: ``base`` is at
most ``DISCARDED + 5 * 2048 + 30`` from its beginning (see ``scan``), an offset at most
:data:`DISCARDED`, and a coefficient has two bytes. Every offset is read inside of its table: a step
is taken from a place of at most 62, and leads 1 to 16 places further, or 256 for the end of the
block; an entry holds one or two steps and at most one end, so the place is below 62 + 16 + 256 + 1.
Each step leads on, so a block ends after 63 of them, whatever the data are.

The bits that select an entry are looked at before more of them are read, so that both go on at the
same time. There are enough of them: of 64, two symbols have used at most 52.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import inlined_kernel
from ffcv.kernels.vectors import load_i32, load_i64, load_u32, store_i16, store_i64
from ffcv_plugins.images.jpeg.bits import refill, skip_bits
from ffcv_plugins.images.jpeg.huffman import (
    END,
    ENTRY_SHIFT,
    IS_SHORT,
    LAST,
    end_length,
    find_symbol,
    signed_value,
)
from ffcv_plugins.images.jpeg.state import FAILED, put

__all__ = [
    "COEFFICIENT_BYTES",
    "DISCARDED",
    "ENDED",
    "PLACES",
    "ZIGZAG",
    "begin_block",
    "finish_block",
    "look_up",
    "take_entry",
    "zigzag_offsets",
]

DISCARDED = 6 * 2048
"""Distance from a block's place to where coefficients go that nobody wants."""

COEFFICIENT_BYTES = 3 * DISCARDED
PLACES = 384
_RUN_OVER = 64
"""A place in a block with this bit says that the coefficients went beyond the 63rd."""

ENDED = 64

ZIGZAG = np.array(
    [8 * i + j for d in range(15) for i, j in
     sorted(((k, d - k) for k in range(8) if 0 <= d - k < 8), reverse=d % 2 == 0)],
    np.int64,
)  # fmt: skip
"""Place in the stream to place in the block, row by row (T.81, figure A.6)."""


def zigzag_offsets() -> Any:
    """The table of offsets in bytes, ``(384,)`` int32, by place as ``huffman`` counts them."""
    offsets = np.full(PLACES, DISCARDED, np.int32)
    offsets[:64] = offsets[128:192] = ZIGZAG * 32
    return offsets


@inlined_kernel
def _value_behind(bits: Any, length: Any, size: Any) -> int:
    """The value whose ``size`` bits, 1 to 11, follow a code of ``length`` bits."""
    raw = (bits << np.uint64(length & 63)) >> np.uint64((64 - size) & 63)
    return signed_value(np.int64(raw), size)


@inlined_kernel
def _complete(entry: Any, bits: Any, table: Any, state: Any) -> int:
    """An AC entry whose value was not in the table, made from the bits of the stream."""
    length, size, step = (entry >> 32) & 31, (entry >> 40) & 15, (entry >> 7) & 1023
    if length == 0:
        length, symbol = find_symbol(bits, table)
        size = symbol & 15
        step = END if symbol == 0 else (symbol >> 4) + 1
        if length == 0:
            put(state, FAILED, 1)
            length = 1
    value = 0
    if size > 0:
        value = _value_behind(bits, length, size)
    both, half = length + size, value & 0xFFFF
    return both | (step << 7) | (both << 17) | (half << 32) | (half << 48)


@inlined_kernel
def _difference(entry: Any, bits: Any, table: Any, state: Any) -> tuple[int, int]:
    """Difference to the DC value of the block before, and how many bits it took."""
    if entry & IS_SHORT == 0:
        return (entry << 32) >> 48, entry & 63
    length, size = (entry >> 16) & 31, (entry >> 24) & 15
    if length == 0:
        length, size = find_symbol(bits, table)
        if length == 0:
            put(state, FAILED, 1)
            length = 1
    value = 0
    if size > 0:
        value = _value_behind(bits, length, size)
    return value, length + size


@inlined_kernel
def _keep(entry: Any, place: Any, base: Any, zigzag: Any) -> tuple[int, int]:
    """Store one or two coefficients, and tell the places of the first one and of the last.

    Where there is one only, it is stored twice; the end of a block is stored where nobody looks.
    """
    first = place + ((entry >> 7) & 1023)
    last = first + ((entry >> 22) & 1023)
    store_i16(base + load_i32(zigzag + 4 * first), entry >> 48)
    store_i16(base + load_i32(zigzag + 4 * last), entry >> 32)
    return first, last


@inlined_kernel
def look_up(bits: Any, ac: Any) -> int:
    """The AC table's entry for the next bits."""
    return load_i64(ac + 8 * np.int64(bits >> ENTRY_SHIFT))


@inlined_kernel
def take_entry(
    entry: Any, bits: Any, count: Any, base: Any, place: Any, ac: Any, zigzag: Any, state: Any
) -> Any:
    """Decode the one or two coefficients of an AC entry.

    Args:
        entry: what :func:`look_up` gave.
        bits: the reader's, of which 26 may be used at least.
        count: likewise.
        base: where the block's first coefficient goes.
        place: that of the coefficient before, at most 62.
        ac: address of the AC table.
        zigzag: address of the table of offsets.
        state: where a failure is noted.

    Returns:
        bits, count, and the place of the last coefficient; or at the end of the block
        :data:`ENDED` and the last place in zigzag order that is not zero.
    """
    if entry & IS_SHORT != 0:
        entry = _complete(entry, bits, ac, state)
    bits_before, count_before = bits, count
    bits, count = skip_bits(bits, count, entry)
    first, place = _keep(entry, place, base, zigzag)
    if place > 62:
        if first == 63:
            # The block was complete with the first coefficient; what followed is the next one's.
            bits, count = skip_bits(bits_before, count_before, (entry >> 17) & 31)
            place = 63
        elif place == 63 + LAST:
            # The second coefficient was the last; the "end of block" behind it was none.
            bits, count = skip_bits(bits_before, count_before, (entry & 63) - end_length(ac))
            place = 63
        elif place & _RUN_OVER != 0:
            put(state, FAILED, 1)
        place = ENDED + (place & 63)
    return bits, count, place


@inlined_kernel
def begin_block(
    bits: Any, count: Any, position: Any, base: Any, dc: Any, predictor: Any, state: Any
) -> Any:
    """Decode a block's DC value.

    Args:
        bits: the reader, see ``bits``; with ``count`` and ``position``.
        count: likewise.
        position: likewise.
        base: where the block's first coefficient goes.
        dc: address of its DC table.
        predictor: address of the DC value before, which becomes this block's.
        state: where a failure is noted.

    Returns:
        bits, count and position.
    """
    entry = load_u32(dc + 4 * np.int64(bits >> ENTRY_SHIFT))
    bits, count, position = refill(bits, count, position)
    value, length = _difference(entry, bits, dc, state)
    bits, count = skip_bits(bits, count, length)
    value += load_i64(predictor)
    store_i64(predictor, value)
    store_i16(base, value)
    return bits, count, position


@inlined_kernel
def finish_block(
    bits: Any, count: Any, position: Any, base: Any, place: Any, ac: Any, zigzag: Any, state: Any
) -> Any:
    """Decode a block's AC coefficients behind ``place``. Arguments are those of the other two.

    Returns:
        bits, count, position, and the last place in zigzag order that is not zero.
    """
    while True:
        entry = look_up(bits, ac)
        bits, count, position = refill(bits, count, position)
        bits, count, place = take_entry(entry, bits, count, base, place, ac, zigzag, state)
        if place >= ENDED:
            break
        # The second one of two needs no refill.
        entry = look_up(bits, ac)
        bits, count, place = take_entry(entry, bits, count, base, place, ac, zigzag, state)
        if place >= ENDED:
            break
    return bits, count, position, place - ENDED

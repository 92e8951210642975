"""Going through the code of a scan of any kind, without decoding what it means (T.81, F.2 and G.2).

Where every access lies:

* Data: eight bytes are read at a bit's byte, which is at most :data:`WALK_SLACK` - 8 bytes behind
  the last one: places are compared with the end before each symbol, and what is read without that
  follows a symbol of at most 16 bits.
* Tables have an entry for each of the numbers that 16 bits can be.
* Seen coefficients: one word for each block of the component, of which there are ``first + number``
  at least.

The loops end when the data do, or when the blocks do, which the caller has counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import load_i64, load_u16, load_u64_big_endian, store_i64

__all__ = ["AC_FIRST", "AC_NEXT", "DC_FIRST", "DC_NEXT", "SEQUENTIAL", "WALK_ENTRY", "WALK_SLACK"]

SEQUENTIAL, DC_FIRST, DC_NEXT, AC_FIRST, AC_NEXT = range(5)
"""What a scan codes: all of a block, or the first or a further bit of a progressive one's DC or AC
coefficients."""

WALK_SLACK = 16
_MEANINGLESS = -1
_SIXTEEN_ZEROS = 15


@kernel
def _next_bits(data: Any, at: Any, number: Any) -> Any:
    """The next 0 to 16 bits as a number."""
    word = load_u64_big_endian(data + (at >> 3)) << np.uint64(at & 7)
    return np.int64((word >> np.uint64(1)) >> np.uint64(63 - number))


@kernel
def _entry(data: Any, at: Any, table: Any) -> int:
    """The next symbol, and 256 times the length of its code; 0 for a code that means nothing."""
    return load_u16(table + 2 * _next_bits(data, at, 16))


@kernel
def _over_dc(data: Any, at: Any, table: Any) -> int:
    """The place behind a DC value."""
    entry = _entry(data, at, table)
    return at + (entry >> 8) + (entry & 15) if entry != 0 else _MEANINGLESS


@kernel
def _over_ac(data: Any, end: Any, at: Any, table: Any) -> int:
    """The place behind the AC coefficients of a sequential block."""
    place = 1
    while place < 64:
        entry = _entry(data, at, table) if at <= end else 0
        if entry == 0:
            return _MEANINGLESS
        run, size = (entry >> 4) & 15, entry & 15
        at += (entry >> 8) + size
        if size == 0 and run != _SIXTEEN_ZEROS:
            return at
        place += run + 1
    return at if place == 64 else _MEANINGLESS


@kernel
def _over_run(data: Any, at: Any, run: Any) -> tuple[int, int]:
    """How many blocks end here, this one among them, and the place behind that number."""
    return (1 << run) + _next_bits(data, at, run), at + run


@kernel
def _over_first(
    data: Any, end: Any, at: Any, table: Any, low: Any, high: Any, seen: Any
) -> tuple[int, int]:
    """The place behind a block of a scan of AC coefficients, and how many blocks end there."""
    coefficients, place, ended = load_i64(seen), low, 0
    while place <= high and ended == 0:
        entry = _entry(data, at, table) if at <= end else 0
        if entry == 0:
            return _MEANINGLESS, 0
        run, size = (entry >> 4) & 15, entry & 15
        at += (entry >> 8) + size
        if size != 0 or run == _SIXTEEN_ZEROS:
            place += run
            if place > high:
                return _MEANINGLESS, 0
            if size != 0:
                coefficients |= np.int64(1) << place
            place += 1
        else:
            ended, at = _over_run(data, at, run)
    store_i64(seen, coefficients)
    return at, ended


@kernel
def _over_next(
    data: Any, end: Any, at: Any, table: Any, low: Any, high: Any, seen: Any, ended: Any
) -> tuple[int, int]:
    """The place behind a block of a scan of further bits, and how many blocks end there."""
    coefficients, place = load_i64(seen), low
    while place <= high and ended == 0:
        entry = _entry(data, at, table) if at <= end else 0
        run, size = (entry >> 4) & 15, entry & 15
        if entry == 0 or size > 1:
            return _MEANINGLESS, 0
        at += (entry >> 8) + size
        if size == 0 and run != _SIXTEEN_ZEROS:
            ended, at = _over_run(data, at, run)
            break
        while place <= high and (run > 0 or (coefficients >> place) & 1 == 1):
            if (coefficients >> place) & 1 == 1:
                at += 1
            else:
                run -= 1
            place += 1
        if place > high:
            return _MEANINGLESS, 0
        if size == 1:
            coefficients |= np.int64(1) << place
        place += 1
    while place <= high:
        at += (coefficients >> place) & 1
        place += 1
    store_i64(seen, coefficients)
    return at, ended


@kernel
def _over_mcu(data: Any, end: Any, at: Any, kind: Any, tables: Any, blocks: Any) -> int:
    """The place behind an MCU, unless it has AC coefficients of a progressive image."""
    for block in range(blocks):
        if kind == DC_NEXT:
            at += 1
            continue
        if at > end:
            return _MEANINGLESS
        at = _over_dc(data, at, load_i64(tables + 16 * block))
        if kind == SEQUENTIAL and at >= 0:
            at = _over_ac(data, end, at, load_i64(tables + 16 * block + 8))
        if at < 0:
            return at
    return at


@kernel
def walk(
    data: Any, size: Any, kind: Any, low: Any, high: Any, tables: Any, blocks: Any, number: Any,
    seen: Any,
) -> int:  # fmt: skip
    """Go through MCUs between two restart markers.

    Args:
        data: address of their unstuffed bytes, with :data:`WALK_SLACK` more behind them.
        size: how many they are.
        kind: what the scan codes.
        low: the first coefficient that it codes.
        high: the last one, 63 at most.
        tables: addresses of the DC and of the AC table, two for each block of an MCU.
        blocks: blocks of an MCU; 1 where there are AC coefficients of progressive images.
        number: how many MCUs there must be.
        seen: address of words whose bits say which coefficients of a block are not zero, one for
            each MCU, where there are such coefficients.

    Returns:
        How many of the MCUs are there.
    """
    at, end, ended = 0, 8 * size, 0
    for mcu in range(number):
        if kind == AC_NEXT:
            word = seen + 8 * mcu
            at, ended = _over_next(data, end, at, load_i64(tables + 8), low, high, word, ended)
        elif kind == AC_FIRST and ended == 0:
            at, ended = _over_first(data, end, at, load_i64(tables + 8), low, high, seen + 8 * mcu)
        elif kind != AC_FIRST:
            at = _over_mcu(data, end, at, kind, tables, blocks)
        if at < 0 or at > end:
            return mcu
        ended = max(ended - 1, 0)
    return number


WALK_ENTRY = Entry(walk)

"""Huffman tables for decoding (T.81, annex C and sections F.2.2.1 to F.2.2.4).

The next 10 bits of the stream select an entry that says everything about the symbols they begin
with, also the coefficients' values, where the bits suffice. An AC entry holds up to two
coefficients and the end of the block behind them:

    ======  =====================================================================
    bits    meaning
    ======  =====================================================================
    0–5     how many bits of the stream the entry stands for
    6       set when the value is not in the entry: its bits must be read
    7–16    how far the first coefficient lies from the one before, in zigzag order
    17–21   how many bits the first coefficient takes
    22–31   how far the second one lies from the first
    32–47   value of the second coefficient
    48–63   value of the first coefficient
    ======  =====================================================================

The end of a block is a step of :data:`END` from the last coefficient, or of :data:`LAST` more where
it follows a second coefficient; so a place below 64 says that the block goes on, and a place with
the bit of weight 64 that its coefficients ran over. With the flag of bit 6 the second coefficient's
fields hold the length of the code and the size of the value; both are 0 for codes of over 10 bits,
which are searched for as in T.81, figure F.16. Only one code may mean "end of block", because its
length is taken back where no block ends (see ``entropy``); ``markers`` sees to that.

DC entries are 32 bits: bits 0–5 and 6 likewise, and the value in bits 16–31, or the length of the
code in bits 16–20 and the size in bits 24–27.

A table takes :data:`TABLE_BYTES`: 1024 entries of 8 bytes (the DC ones use half of that), then for
each code length 0–17 the largest code and the place of its symbols (int64), then the symbols, then
the length of the code for "end of block". All addresses in it come from a code of a bounded length,
masked to its bits, or from a symbol's place masked to 0–255.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.vectors import load_i64, load_u8, store_i32, store_i64, store_u8

__all__ = [
    "END",
    "ENTRY_SHIFT",
    "IS_SHORT",
    "LAST",
    "TABLE_BYTES",
    "build_table",
    "end_length",
    "find_symbol",
    "signed_value",
]

LOOKUP_BITS = 10
"""The tables of luma and chroma share the first level of cache with the coefficients. With one bit
more or less, decoding takes a tenth longer."""
_ENTRIES = 1 << LOOKUP_BITS
ENTRY_SHIFT = np.uint64(64 - LOOKUP_BITS)
END = 256
LAST = 128
IS_SHORT = 64
"""Flag: the entry does not hold the value."""

_LARGEST = 8 * _ENTRIES
_PLACES = _LARGEST + 8 * 18
_SYMBOLS = _PLACES + 8 * 18
_END_LENGTH = _SYMBOLS + 256
TABLE_BYTES = _END_LENGTH + 64


@kernel
def signed_value(raw: Any, size: Any) -> int:
    """A value from its ``size`` bits (T.81, table F.1): the upper half is positive."""
    return raw if raw >> (size - 1) != 0 else raw - (1 << size) + 1


@kernel
def end_length(table: Any) -> int:
    """How many bits the code for "end of block" takes; 0 where the table has none."""
    return load_i64(table + _END_LENGTH)


@kernel
def find_symbol(bits: Any, table: Any) -> tuple[int, int]:
    """Length and symbol of a code of more than 10 bits; length 0 if there is no such code."""
    for length in range(LOOKUP_BITS + 1, 17):
        code = np.int64(bits >> np.uint64(64 - length))
        if code <= load_i64(table + _LARGEST + 8 * length):
            place = code + load_i64(table + _PLACES + 8 * length)
            return length, load_u8(table + _SYMBOLS + (place & 255))
    return 0, 0


@kernel
def _store_symbols(table: Any, definition: Any) -> Any:
    """Fill in what :func:`find_symbol` needs."""
    code, place = 0, 0
    store_i64(table + _END_LENGTH, 0)
    for i in range(256):
        store_u8(table + _SYMBOLS + i, load_u8(definition + 16 + i))
    for length in range(1, 17):
        count = load_u8(definition + length - 1)
        store_i64(table + _PLACES + 8 * length, place - code)
        store_i64(table + _LARGEST + 8 * length, code + count - 1 if count > 0 else -1)
        for i in range(count):
            if load_u8(definition + 16 + ((place + i) & 255)) == 0:
                store_i64(table + _END_LENGTH, length)
        code, place = (code + count) << 1, place + count


@kernel
def _single(length: Any, step: Any, value: Any) -> int:
    """An AC entry of one symbol, whose second half repeats the first without moving on."""
    half = value & 0xFFFF
    return length | (step << 7) | (length << 17) | (half << 32) | (half << 48)


@kernel
def _fill(
    table: Any, is_ac: Any, first: Any, last: Any, length: Any, step: Any, value: Any
) -> None:
    """Write the entries ``[first, last)`` for one symbol with its value."""
    if is_ac:
        for i in range(first, last):
            store_i64(table + 8 * (i & (_ENTRIES - 1)), _single(length, step, value))
    else:
        for i in range(first, last):
            at = table + 4 * (i & (_ENTRIES - 1))
            store_i32(at, length | ((value & 0xFFFF) << 16))


@kernel
def _fill_short(table: Any, is_ac: Any, code: Any, length: Any, step: Any, size: Any) -> None:
    """Write the entries of a symbol whose value goes beyond the 10 bits."""
    spare = LOOKUP_BITS - length
    both = length + size
    for i in range(code << spare, (code + 1) << spare):
        place = i & (_ENTRIES - 1)
        if is_ac:
            entry = both | IS_SHORT | (step << 7) | (both << 17) | (length << 32) | (size << 40)
            store_i64(table + 8 * place, entry)
        else:
            store_i32(table + 4 * place, both | IS_SHORT | (length << 16) | (size << 24))


@kernel
def _fill_symbol(table: Any, is_ac: Any, code: Any, length: Any, symbol: Any) -> None:
    """Write all entries that begin with one code."""
    size = symbol & 15
    step = END if symbol == 0 else (symbol >> 4) + 1
    spare = LOOKUP_BITS - length - size
    if spare < 0:
        _fill_short(table, is_ac, code, length, step, size)
        return
    for raw in range(1 << size):
        value = signed_value(raw, size) if size else 0
        first = ((code << size) | raw) << spare
        _fill(table, is_ac, first, first + (1 << spare), length + size, step, value)


@kernel
def _paired(first: Any, second: Any) -> int:
    """An AC entry with the coefficient of a second one behind its own."""
    length = (first & 63) + (second & 63)
    step = (second >> 7) & 1023
    kept = (first & ~0xFFFF_FFC0_003F) | (((second >> 48) & 0xFFFF) << 32)
    return kept | length | (step << 22)


@kernel
def _pair_entries(table: Any) -> None:
    """Let each AC entry tell of the symbols behind its first one, as far as its bits go.

    From the largest index down to 0 would overwrite entries that are still needed as single ones;
    what an entry needs of another is its first symbol only, which pairing leaves as it is.
    """
    for i in range(_ENTRIES):
        entry = load_i64(table + 8 * i)
        length, step = entry & 63, (entry >> 7) & 1023
        if entry & IS_SHORT != 0 or length == 0 or step == END:
            continue
        second = _first_of(load_i64(table + 8 * ((i << length) & (_ENTRIES - 1))))
        room = LOOKUP_BITS - length
        if second & IS_SHORT != 0 or (second & 63) == 0 or (second & 63) > room:
            continue
        paired = _paired(entry, second)
        length = paired & 63
        if (second >> 7) & 1023 != END:
            third = _first_of(load_i64(table + 8 * ((i << length) & (_ENTRIES - 1))))
            ends = third & IS_SHORT == 0 and (third >> 7) & 1023 == END
            if ends and (third & 63) <= LOOKUP_BITS - length:
                paired += (third & 63) + (LAST << 22)
        store_i64(table + 8 * i, paired)


@kernel
def _first_of(entry: Any) -> int:
    """The entry of the first symbol alone."""
    if entry & IS_SHORT != 0:
        return entry
    return _single((entry >> 17) & 31, (entry >> 7) & 1023, (entry >> 48) & 0xFFFF)


@kernel
def build_table(table: Any, definition: Any, is_ac: Any) -> None:
    """Make a table from its definition.

    Args:
        table: address of :data:`TABLE_BYTES`.
        definition: address of 16 counts, which are those of a prefix code, and 256 symbols.
        is_ac: whether the symbols are those of AC coefficients.
    """
    _store_symbols(table, definition)
    for i in range(_ENTRIES):
        if is_ac:
            store_i64(table + 8 * i, IS_SHORT)
        else:
            store_i32(table + 4 * i, IS_SHORT)
    code, place = 0, 0
    for length in range(1, LOOKUP_BITS + 1):
        for _ in range(load_u8(definition + length - 1)):
            symbol = load_u8(definition + 16 + (place & 255))
            _fill_symbol(table, is_ac, code, length, symbol)
            code, place = code + 1, place + 1
        code <<= 1
    if is_ac:
        _pair_entries(table)

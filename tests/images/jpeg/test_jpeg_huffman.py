"""Lookup tables against codes as text; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_bits_reference import BitReader, DamagedError, code_words
from jpeg_tables import EXTREME_AC, EXTREME_DC, ac_tables, dc_tables, definition
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg import huffman
from ffcv_plugins.images.jpeg.markers import DEFINITION_BYTES

BUILD = njit(**JIT_OPTIONS)(huffman.build_table)
FIND = njit(**JIT_OPTIONS)(huffman.find_symbol)
SIGNED = njit(**JIT_OPTIONS)(huffman.signed_value)
END_LENGTH = njit(**JIT_OPTIONS)(huffman.end_length)
BITS = huffman.LOOKUP_BITS


def build(counts, symbols, is_ac, align_end=True):
    """A table in fenced memory, which held another one before."""
    table = guarded(huffman.TABLE_BYTES, align_end)
    table[:] = 0xEE
    content = guarded(DEFINITION_BYTES, align_end)
    content[: 16 + len(symbols)] = list(definition(counts, symbols))
    BUILD(table.ctypes.data, content.ctypes.data, is_ac)
    return table


def symbols_in(bits, words):
    """The symbols whose codes and values lie in a few bits: symbol, value, and bits until then."""
    reader, result = BitReader(bits), []
    try:
        while True:
            symbol = reader.symbol(words)
            value = reader.value(symbol & 15)
            result.append((symbol, value, reader.at))
    except DamagedError:
        return result


def first_symbol(bits, words):
    """The first code in the bits, and its length; zeros if there is none."""
    reader = BitReader(bits)
    try:
        return reader.symbol(words), reader.at
    except DamagedError:
        return 0, 0


def expected_ac(bits, words):
    """An entry's fields: bits, short, first step, its bits, second step, and both values."""
    found = symbols_in(bits, words)
    if not found:
        symbol, length = first_symbol(bits, words)
        if not length:
            return 0, 1, 0, 0, 0, 0, 0
        both = length + (symbol & 15)
        return both, 1, (symbol >> 4) + 1, both, 0, length | (symbol & 15) << 8, 0
    symbol, value, used = found[0]
    if symbol == 0:
        return used, 0, huffman.END, used, 0, 0, 0
    step = (symbol >> 4) + 1
    if len(found) == 1:
        return used, 0, step, used, 0, value, value
    second, other, both = found[1]
    if second == 0:
        return both, 0, step, used, huffman.END, 0, value
    further = (second >> 4) + 1
    if len(found) > 2 and found[2][0] == 0:
        return found[2][2], 0, step, used, further + huffman.LAST, other, value
    return both, 0, step, used, further, other, value


def ac_fields(entry):
    second, first = (int(np.int16(np.uint16(entry >> at & 0xFFFF))) for at in (32, 48))
    return (
        entry & 63, entry >> 6 & 1, entry >> 7 & 1023, entry >> 17 & 31, entry >> 22 & 1023,
        second, first,
    )  # fmt: skip


def check_ac(counts, symbols, align_end=True):
    table = build(counts, symbols, 1, align_end)
    words = dict(code_words(counts, symbols))
    entries = table[: 8 << BITS].view(np.int64).tolist()
    for i, entry in enumerate(entries):
        assert ac_fields(entry) == expected_ac(f"{i:0{BITS}b}", words)
    ends = [len(bits) for bits, symbol in words.items() if symbol == 0]
    assert END_LENGTH(table.ctypes.data) == (ends[0] if ends else 0)
    check_long_codes(table, words)


def check_dc(counts, symbols, align_end=True):
    table = build(counts, symbols, 0, align_end)
    words = dict(code_words(counts, symbols))
    entries = table[: 4 << BITS].view(np.int32).tolist()
    for i, entry in enumerate(entries):
        bits = f"{i:0{BITS}b}"
        found = symbols_in(bits, words)
        if found:
            assert (entry & 127, entry >> 16) == (found[0][2], found[0][1])
        else:
            size, length = first_symbol(bits, words)
            fields = entry & 127, entry >> 16 & 31, entry >> 24 & 15
            assert fields == ((length + size) | huffman.IS_SHORT, length, size)
    check_long_codes(table, words)


def check_long_codes(table, words):
    """All codes of more than the lookup's bits, and what no code begins with."""
    for code, symbol in words.items():
        if len(code) > BITS:
            for rest in ("0", "1"):
                bits = np.uint64(int(code.ljust(64, rest), 2))
                assert FIND(bits, table.ctypes.data) == (len(code), symbol)
    assert FIND(np.uint64(2**64 - 1), table.ctypes.data) == (0, 0)


@given(ac_tables, st.booleans())
def test_ac_tables(table, align_end):
    check_ac(*table, align_end)


@given(dc_tables, st.booleans())
def test_dc_tables(table, align_end):
    check_dc(*table, align_end)


@pytest.mark.parametrize("name", EXTREME_AC)
def test_extreme_ac_tables(name):
    check_ac(*EXTREME_AC[name])


@pytest.mark.parametrize("name", EXTREME_DC)
def test_extreme_dc_tables(name):
    check_dc(*EXTREME_DC[name])


@pytest.mark.parametrize("is_ac", [0, 1])
@given(st.binary(min_size=DEFINITION_BYTES, max_size=DEFINITION_BYTES), st.booleans())
def test_what_is_no_code_stays_inside_of_the_table(is_ac, content, align_end):
    table = guarded(huffman.TABLE_BYTES, align_end)
    content = guarded_copy(np.frombuffer(content, np.uint8), align_end)
    BUILD(table.ctypes.data, content.ctypes.data, is_ac)


@pytest.mark.parametrize("size", range(1, 12))
def test_signed_values(size):
    numbers = [SIGNED(raw, size) for raw in range(1 << size)]
    half = 1 << (size - 1)
    assert numbers == [*range(1 - 2 * half, 1 - half), *range(half, 2 * half)]

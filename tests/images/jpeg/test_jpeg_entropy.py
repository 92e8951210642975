"""Decoding of blocks against codes as text; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_bits_reference import (
    BitReader,
    DamagedError,
    bit_string,
    code_words,
    decode_block,
    encode_block,
    padded,
    value_bits,
)
from jpeg_reference import ZIGZAG
from jpeg_tables import EXTREME_AC, EXTREME_DC, ac_tables, dc_tables, definition
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv.kernels.vectors import load_i64, store_i64
from ffcv_plugins.images.jpeg import bits as b
from ffcv_plugins.images.jpeg import entropy, huffman
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.markers import DEFINITION_BYTES

LANES = 16
STANDARD = EXTREME_DC["all of 16 bits"], EXTREME_AC["all of 8 bits"]


@njit(**JIT_OPTIONS)
def make_table(table, content, is_ac):
    huffman.build_table(table, content, is_ac)


@njit(**JIT_OPTIONS)
def decode_lanes(start, skipped, number, base, dc, ac, state, zigzag, report):
    """Decode up to 16 blocks into lanes; note how many bits each used, and its last place."""
    bits, count, position = b.refill(np.uint64(0), 0, start)
    bits, count = b.skip_bits(bits, count, skipped)
    predictor = state + 8 * s.PREDICTORS
    for lane in range(number):
        place = base + 2 * lane
        bits, count, position = entropy.begin_block(
            bits, count, position, place, dc, predictor, state
        )
        bits, count, position, last = entropy.finish_block(
            bits, count, position, place, 0, ac, zigzag, state
        )
        store_i64(report + 24 * lane, b.bits_used(count, position, start))
        store_i64(report + 24 * lane + 8, last)
        store_i64(report + 24 * lane + 16, load_i64(state + 8 * s.FAILED))


class Blocks:
    """What decoding gave.

    Attributes:
        coefficients: ``(number, 64)`` in zigzag order.
        used: bits until behind each block.
        last: each block's last place.
        failed: whether decoding had failed then.
    """

    def __init__(self, data, number, tables, before=0, skipped=0, align_end=True):
        dc, ac = (self._table(*table, is_ac, align_end) for is_ac, table in enumerate(tables))
        source = guarded_copy(np.frombuffer(data + bytes(b.SLACK), np.uint8), align_end)
        memory = guarded(entropy.COEFFICIENT_BYTES, align_end)
        state = guarded(8 * s.WORDS, align_end).view(np.int64)
        state[s.PREDICTORS] = before
        zigzag = guarded_copy(entropy.zigzag_offsets(), align_end)
        report = guarded(24 * LANES, align_end).view(np.int64).reshape(LANES, 3)
        parts = memory, dc, ac, state, zigzag, report
        decode_lanes(source.ctypes.data, skipped, number, *(part.ctypes.data for part in parts))
        lanes = memory[: 128 * LANES].view(np.int16).reshape(64, LANES).T
        # Between the blocks and what nobody wants, nothing is written.
        assert not memory[128 * LANES : entropy.DISCARDED].any()
        self.coefficients = lanes[:, ZIGZAG][:number].tolist()
        self.used, self.last, self.failed = report[:number].T.tolist()

    @staticmethod
    def _table(counts, symbols, is_ac, align_end):
        table = guarded(huffman.TABLE_BYTES, align_end)
        content = guarded(DEFINITION_BYTES, align_end)
        content[: 16 + len(symbols)] = list(definition(counts, symbols))
        make_table(table.ctypes.data, content.ctypes.data, is_ac)
        return table


def check(bits, tables, number=LANES, before=0, skipped=0, align_end=True):
    """Decode up to ``number`` blocks from bits with both decoders."""
    words = [dict(code_words(*table)) for table in tables]
    reader, expected, used, predictor = BitReader("0" * skipped + bits), [], [], before
    reader.at = skipped
    damaged = False
    try:
        while len(expected) < number:
            expected.append(decode_block(reader, *words, predictor))
            predictor = expected[-1][0]
            used.append(reader.at)
    except DamagedError as error:
        # What comes behind the end is not the same for both.
        damaged = "too early" not in str(error)
    count = len(expected)
    blocks = Blocks(padded(reader.bits), count + damaged, tables, before, skipped, align_end)
    assert blocks.failed == [0] * count + [1] * damaged
    assert blocks.used[:count] == used
    for block, coefficients in zip(expected, blocks.coefficients, strict=False):
        assert coefficients[1:] == block[1:]
        assert (coefficients[0] - block[0]) % 65536 == 0
    lasts = [max(i for i in range(64) if i == 0 or block[i]) for block in expected]
    # Sixteen zeros may be the last symbol; then the place is larger than it must be.
    assert all(last >= least for last, least in zip(blocks.last, lasts, strict=False))
    return expected


@given(dc_tables, ac_tables, st.binary(max_size=300), st.integers(0, 7), st.booleans())
def test_random_bits_in_random_tables(dc, ac, data, skipped, align_end):
    check(bit_string(data), (dc, ac), skipped=skipped, align_end=align_end)


@pytest.mark.parametrize("ac", EXTREME_AC)
@pytest.mark.parametrize("dc", EXTREME_DC)
def test_extreme_tables(dc, ac):
    rng = np.random.default_rng(0)
    for density in (0.5, 0.1, 0.9):
        bits = "".join(rng.choice(["0", "1"], 3000, p=[1 - density, density]))
        check(bits, (EXTREME_DC[dc], EXTREME_AC[ac]))


@st.composite
def symbol_runs(draw):
    """Symbols of one block that end with "end of block" or the 63rd coefficient, and their bits."""
    tables = draw(dc_tables), draw(ac_tables)
    (dc_code, size), codes = draw(st.sampled_from(code_words(*tables[0]))), code_words(*tables[1])
    bits, place = dc_code + value_bits(draw(st.integers(1 << size >> 1, (1 << size) - 1)), size), 0
    while place < 63:
        fitting = [pair for pair in codes if place + (pair[1] >> 4) + 1 <= 63]
        if not fitting:
            break
        code, symbol = draw(st.sampled_from(fitting))
        size = symbol & 15
        bits += code + value_bits(draw(st.integers(1 << size >> 1, (1 << size) - 1)), size)
        place = place + (symbol >> 4) + 1 if symbol else 64
    return bits, tables


@given(symbol_runs(), st.integers(-3000, 3000))
def test_random_symbols_in_random_tables(case, before):
    bits, tables = case
    check(bits + "01" * 16, tables, 1, before)


def standard_codes():
    return [{symbol: bits for bits, symbol in code_words(*table)} for table in STANDARD]


@pytest.mark.parametrize("size", range(1, 11))
@pytest.mark.parametrize("place", [1, 2, 15, 16, 17, 32, 33, 48, 62, 63])
def test_coefficients_of_all_sizes_at_any_place(place, size):
    largest = (1 << size) - 1
    blocks = []
    for number in (largest, -largest, 1 << (size - 1), -(1 << (size - 1))):
        block = [0] * 64
        block[0], block[place] = 2047 * (-1) ** len(blocks), number
        blocks.append(block)
    bits, before = "", 0
    for block in blocks:
        # The largest difference, 4094, would take more than 11 bits.
        block[0] = max(min(block[0], before + 2047), before - 2047)
        bits += encode_block(block, before, *standard_codes())
        before = block[0]
    assert check(bits, STANDARD) == blocks


# Few bits a symbol, so that one entry holds two coefficients and the end of the block.
SHORT_CODES = ([0, 1, *[0] * 14], [0]), ([1, 1, 1, 1, *[0] * 12], [0x01, 0x00, 0x11, 0xF0])


@pytest.mark.parametrize("dc", [SHORT_CODES[0], EXTREME_DC["one symbol of 16 bits"]])
@pytest.mark.parametrize("twos", [0, 1, 2, 3, 4, 5, 28, 29, 30, 31])
@pytest.mark.parametrize("after", ["0", "1", "10", "110", "1110", "11110"])
def test_the_last_coefficient_ends_the_block(dc, twos, after):
    """At 63 it may be an entry's first or second coefficient, with anything behind it."""
    codes = {symbol: bits for bits, symbol in code_words(*SHORT_CODES[1])}
    bits = code_words(*dc)[0][0] + "1" * dc[1][0]
    steps = [(codes[0x01] + "1") * (63 - 2 * twos), (codes[0x11] + "1") * twos]
    for order in (steps, steps[::-1]):
        check(bits + "".join(order) + after + "01" * 40, (dc, SHORT_CODES[1]), 1)


@pytest.mark.parametrize("ones", [0, 13, 14, 15, 16, 17, 30, 31, 32, 46, 47, 48, 60, 61, 62, 63])
@pytest.mark.parametrize("zeros", [1, 2, 3, 4])
@pytest.mark.parametrize("end", ["", "end", "coefficient"])
def test_runs_of_zeros_up_to_and_beyond_the_last_place(ones, zeros, end):
    codes = {symbol: bits for bits, symbol in code_words(*SHORT_CODES[1])}
    bits = "00" + (codes[0x01] + "1") * ones + codes[0xF0] * zeros
    bits += {"": "", "end": codes[0x00], "coefficient": codes[0x11] + "1"}[end]
    check(bits + "01" * 40, SHORT_CODES, 2)


@pytest.mark.parametrize("run", range(16))
@pytest.mark.parametrize("place", [46, 47, 48, 60, 61, 62])
def test_coefficients_beyond_the_last_place_are_failures(place, run):
    codes = standard_codes()
    bits = codes[0][0] + (codes[1][0x01] + "1") * place + codes[1][16 * run + 3] + "101"
    check(bits + codes[1][0x00] + "01" * 40, STANDARD, 1)


@pytest.mark.parametrize("steps", [16, 40])
def test_predictors_wrap_around_as_coefficients_do(steps):
    dc = EXTREME_DC["one large symbol of one bit"]
    data = padded(("0" + "1" * 11 + "0") * LANES)
    blocks = Blocks(data, LANES, (dc, EXTREME_AC["nothing but ends"]), before=steps * 1000)
    values = steps * 1000 + 2047 * np.arange(1, LANES + 1)
    assert [block[0] for block in blocks.coefficients] == values.astype(np.int16).tolist()

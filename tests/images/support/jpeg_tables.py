"""Huffman tables of all shapes that the standard allows."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

DC_SYMBOLS = list(range(12))
AC_SYMBOLS = [0x00, 0xF0, *(16 * run + size for run in range(16) for size in range(1, 11))]


def counted(lengths):
    """How many codes have 1, 2, … 16 bits."""
    return [lengths.count(length) for length in range(1, 17)]


def definition(counts, symbols):
    """A table as it stands in a DHT segment."""
    return bytes(counts) + bytes(symbols)


def random_lengths(rng, number):
    """Lengths of the codes of ``number`` symbols, which leave out the code of ones only."""
    while True:
        depths = [0]
        while len(depths) <= number:
            at = rng.integers(len(depths))
            if depths[at] < 16:
                depths += [depths.pop(at) + 1] * 2
        depths.remove(max(depths))
        if rng.integers(2):
            return depths
        # Longer codes leave gaps between them and the end.
        depths = [int(rng.integers(depth, 17)) for depth in depths]
        if sum(2.0**-depth for depth in depths) <= 1 - 2.0 ** -max(depths):
            return depths


@st.composite
def tables(draw, symbols, most):
    """Counts and symbols of a random prefix code for at most ``most`` of ``symbols``."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    number = draw(st.integers(1, most) | st.just(most))
    chosen = rng.permutation(symbols)[:number].tolist()
    return counted(random_lengths(rng, number)), chosen


dc_tables = tables(DC_SYMBOLS, len(DC_SYMBOLS))
ac_tables = tables(AC_SYMBOLS, len(AC_SYMBOLS))


def _one_each():
    return [1] * 16


def _all_long(number):
    return counted([16] * number)


EXTREME_DC = {
    "one symbol of one bit": (counted([1]), [0]),
    "one large symbol of one bit": (counted([1]), [11]),
    "one symbol of 16 bits": (_all_long(1), [11]),
    "all of 16 bits": (_all_long(12), DC_SYMBOLS),
    "one of each length": (_one_each()[:12] + [0] * 4, DC_SYMBOLS),
    "longest ones are largest": ([0] * 4 + _one_each()[4:], DC_SYMBOLS),
}
EXTREME_AC = {
    "nothing but ends": (counted([1]), [0x00]),
    "one symbol of one bit": (counted([1]), [0x01]),
    "one large symbol of one bit": (counted([1]), [0x0A]),
    "zeros of one bit": (counted([1, 2]), [0xF0, 0x00]),
    "one symbol of 16 bits": (_all_long(1), [0xFA]),
    "all of 16 bits": (_all_long(162), AC_SYMBOLS),
    "all of 8 bits": (counted([8] * 162), AC_SYMBOLS),
    "one of each length": (_one_each(), [0x01, 0x00, 0x11, 0xF0, *AC_SYMBOLS[-12:]]),
    "end last": (_one_each(), [0x01, 0x02, 0x11, 0xF0, *AC_SYMBOLS[-11:], 0x00]),
    "no end": (counted([8] * 160), AC_SYMBOLS[2:]),
    "ten bits and eleven": (counted([10] * 81 + [11] * 81), AC_SYMBOLS),
}

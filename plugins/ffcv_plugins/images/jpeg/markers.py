"""What stands in front of the entropy-coded data (T.81, annex B).

Reads lie in ``[DATA, DATA + LENGTH)``: a segment is looked at only after its length has been
compared with what is left, and a field in it only after its place has been compared with the
segment's end. What is written has a place of its own in the state, in the four tables of
quantisers, or in the eight definitions of Huffman tables; their numbers are checked before.

Two answers say that a stream is not decoded here. ``BROKEN`` is for what contradicts the standard,
and what libjpeg refuses or conceals; ``UNSUPPORTED`` for what the standard allows, or what makes no
difference to another decoder, such as a table that nothing uses.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.vectors import load_u8, load_u32, store_i16, store_u8
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.entropy import ZIGZAG
from ffcv_plugins.images.jpeg.grid import is_known_sampling
from ffcv_plugins.images.jpeg.huffman import TABLE_BYTES, build_table
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["BROKEN", "DEFINITION_BYTES", "UNSUPPORTED", "parse"]

UNSUPPORTED, BROKEN = 1, 2

DEFINITION_BYTES = 16 + 256
_MOST_SEGMENTS = 4096
_SIXTEEN_ZEROS = 0xF0
_LARGEST_AC_SIZE, _LARGEST_DC_SIZE = 10, 11
"""Coefficients of 8-bit images have no more bits (T.81, tables F.1 and F.2). The bit reader relies
on it."""

_R, _G, _B = b"RGB"
_JFIF, _ADOB, _E = int.from_bytes(b"JFIF", "little"), int.from_bytes(b"Adob", "little"), ord("e")


@kernel
def _u16(address: Any) -> int:
    return (load_u8(address) << 8) | load_u8(address + 1)


@kernel
def _same(a: Any, b: Any, size: Any) -> bool:
    different = 0
    for i in range(size):
        different |= load_u8(a + i) ^ load_u8(b + i)
    return different == 0


@kernel
def _is_prefix_code(counts: Any) -> bool:
    """Whether codes with these numbers of each length exist, none of which has all bits set."""
    room = 1
    for length in range(16):
        room = 2 * room - load_u8(counts + length)
        if room < 1:
            return False
    return True


@kernel
def _are_dc_symbols(symbols: Any, number: Any) -> bool:
    """Whether all symbols are sizes of differences in 8-bit images."""
    largest = 0
    for i in range(number):
        largest = max(largest, load_u8(symbols + i))
    return largest <= _LARGEST_DC_SIZE


@kernel
def _are_ac_symbols(symbols: Any, number: Any) -> bool:
    """Whether all symbols are those of sequential 8-bit images, and at most one ends a block."""
    ends = 0
    for i in range(number):
        symbol = load_u8(symbols + i)
        if symbol & 15 > _LARGEST_AC_SIZE:
            return False
        if symbol & 15 == 0 and symbol != _SIXTEEN_ZEROS:
            ends += 1
            if symbol != 0 or ends > 1:
                return False
    return True


@kernel
def _define_table(state: Any, table: Any, definition: Any, number: Any) -> None:
    """Take over a Huffman table; most files use the same ones, which are built once."""
    known = get(state, s.B_DEFINITIONS) + table * DEFINITION_BYTES
    defined = get(state, s.DEFINED_TABLES)
    put(state, s.DEFINED_TABLES, defined | (1 << table))
    if _same(known, definition, 16 + number):
        return
    for i in range(16 + number):
        store_u8(known + i, load_u8(definition + i))
    for i in range(16 + number, DEFINITION_BYTES):
        store_u8(known + i, 0)
    build_table(get(state, s.B_HUFFMAN) + table * TABLE_BYTES, known, table >= 4)


@kernel
def _huffman_tables(state: Any, at: Any, end: Any) -> int:
    """A DHT segment: any number of tables."""
    while at < end:
        if at + 17 > end:
            return BROKEN
        kind, identifier = load_u8(at) >> 4, load_u8(at) & 15
        number = 0
        for i in range(16):
            number += load_u8(at + 1 + i)
        if kind > 1 or identifier > 3 or number > 256 or at + 17 + number > end:
            return BROKEN
        if number == 0 or not _is_prefix_code(at + 1):
            return UNSUPPORTED
        if kind == 0 and not _are_dc_symbols(at + 17, number):
            return UNSUPPORTED
        if kind == 1 and not _are_ac_symbols(at + 17, number):
            return UNSUPPORTED
        _define_table(state, 4 * kind + identifier, at + 1, number)
        at += 17 + number
    return 0


@kernel
def _quantisers(state: Any, at: Any, end: Any) -> int:
    """A DQT segment: any number of tables of 8-bit values."""
    while at < end:
        identifier = load_u8(at)
        if identifier > 3:
            return UNSUPPORTED if identifier >> 4 == 1 else BROKEN
        if at + 65 > end:
            return BROKEN
        table = get(state, s.B_QUANTISERS) + 128 * identifier
        for i in range(64):
            store_i16(table + 2 * ZIGZAG[i], load_u8(at + 1 + i))
        put(state, s.DEFINED_QUANTISERS, get(state, s.DEFINED_QUANTISERS) | (1 << identifier))
        at += 65
    return 0


@kernel
def _factors(state: Any, at: Any, components: Any) -> int:
    """The sampling factors of the components, of which ``at`` is the first one's description."""
    h, v = load_u8(at + 1) >> 4, load_u8(at + 1) & 15
    if h < 1 or h > 4 or v < 1 or v > 4:
        return BROKEN
    if components == 1:
        h, v = 1, 1  # in a scan of one component they mean nothing
    if not is_known_sampling(h, v):
        return UNSUPPORTED
    for i in range(1, components):
        if load_u8(at + 3 * i + 1) != 0x11:
            return UNSUPPORTED
    put(state, s.H_FACTOR, h)
    put(state, s.V_FACTOR, v)
    return 0


@kernel
def _frame(state: Any, at: Any, end: Any) -> int:
    """A frame header of a sequential image."""
    if at + 6 > end or get(state, s.WIDTH) != 0:
        return BROKEN
    components = load_u8(at + 5)
    if load_u8(at) != 8 or (components != 1 and components != 3):
        return UNSUPPORTED
    if at + 6 + 3 * components != end:
        return BROKEN
    height, width = _u16(at + 1), _u16(at + 3)
    if width == 0 or height == 0:
        return UNSUPPORTED
    put(state, s.WIDTH, width)
    put(state, s.HEIGHT, height)
    put(state, s.COMPONENTS, components)
    for i in range(components):
        put(state, s.IDENTIFIER + i, load_u8(at + 6 + 3 * i))
        quantiser = load_u8(at + 8 + 3 * i)
        if quantiser > 3:
            return BROKEN
        put(state, s.QUANTISER + i, quantiser)
    return _factors(state, at + 6, components)


@kernel
def _scan(state: Any, at: Any, end: Any) -> int:
    """A scan header; all components must be in it, in the frame's order."""
    components = get(state, s.COMPONENTS)
    if get(state, s.WIDTH) == 0 or at == end or at + 4 + 2 * load_u8(at) != end:
        return BROKEN
    if load_u8(at) != components:
        return UNSUPPORTED
    for i in range(components):
        tables = load_u8(at + 2 + 2 * i)
        if load_u8(at + 1 + 2 * i) != get(state, s.IDENTIFIER + i):
            return UNSUPPORTED
        if tables >> 4 > 3 or tables & 15 > 3:
            return BROKEN
        dc, ac = tables >> 4, 4 + (tables & 15)
        wanted = (1 << dc) | (1 << ac)
        if get(state, s.DEFINED_TABLES) & wanted != wanted:
            return UNSUPPORTED
        if get(state, s.DEFINED_QUANTISERS) >> get(state, s.QUANTISER + i) & 1 == 0:
            return BROKEN
        put(state, s.DC_TABLE + i, dc)
        put(state, s.AC_TABLE + i, ac)
    last = at + 1 + 2 * components
    if load_u8(last) != 0 or load_u8(last + 1) != 63 or load_u8(last + 2) != 0:
        return UNSUPPORTED
    return 0


@kernel
def _is_ycc(state: Any) -> bool:
    """Whether three components are luma and chroma, by the rules that libjpeg goes by."""
    if get(state, s.HAS_JFIF) != 0:
        return True
    transform = get(state, s.ADOBE_TRANSFORM)
    if transform >= 0:
        return transform == 1
    first, second, third = s.IDENTIFIER, s.IDENTIFIER + 1, s.IDENTIFIER + 2
    return not (get(state, first) == _R and get(state, second) == _G and get(state, third) == _B)


@kernel
def _application(state: Any, marker: Any, at: Any, end: Any) -> None:
    """Segments that say something about colour: JFIF's, and Adobe's."""
    if marker == 0xE0 and end - at >= 14 and load_u32(at) == _JFIF and load_u8(at + 4) == 0:
        put(state, s.HAS_JFIF, 1)
    if marker == 0xEE and end - at >= 12 and load_u32(at) == _ADOB and load_u8(at + 4) == _E:
        put(state, s.ADOBE_TRANSFORM, load_u8(at + 11))


@kernel
def _segment(state: Any, marker: Any, at: Any, end: Any) -> int:
    """One segment of ``[at, end)``, without its length."""
    if marker == 0xC4:
        return _huffman_tables(state, at, end)
    if marker == 0xDB:
        return _quantisers(state, at, end)
    if marker == 0xC0 or marker == 0xC1:
        return _frame(state, at, end)
    if marker == 0xDD:
        if at + 2 != end:
            return BROKEN
        put(state, s.RESTART_INTERVAL, _u16(at))
    elif marker >= 0xE0 and marker <= 0xEF:
        _application(state, marker, at, end)
    elif marker != 0xFE:
        return UNSUPPORTED
    return 0


@kernel
def _is_skipped(marker: Any) -> bool:
    """Whether libjpeg skips such segments, so that it does not mind a length that is none."""
    return marker == 0xDC or marker == 0xFE or (marker >= 0xE0 and marker <= 0xEF)


@kernel
def _next_marker(at: Any, end: Any) -> tuple[int, int]:
    """The next marker from ``at`` on, and the address behind it; 0 where there is none.

    It may be preceded by any number of FF. What is no marker is passed over, as libjpeg does it.
    """
    while at < end:
        while at < end and load_u8(at) != 255:
            at += 1
        while at < end and load_u8(at) == 255:
            at += 1
        if at < end and load_u8(at) != 0:
            return load_u8(at), at + 1
    return 0, at


@kernel
def parse(state: Any) -> int:
    """Read the segments up to the first scan into the state.

    Returns:
        0, :data:`UNSUPPORTED` for a stream that another decoder may know, or :data:`BROKEN`.
    """
    data, end = get(state, s.DATA), get(state, s.DATA) + get(state, s.LENGTH)
    for word in range(s.QUANTISER):
        put(state, word, 0)
    put(state, s.ADOBE_TRANSFORM, -1)
    if end - data < 4 or _u16(data) != 0xFFD8:
        return BROKEN
    at = data + 2
    for _ in range(_MOST_SEGMENTS):
        marker, at = _next_marker(at, end)
        if marker == 0 or at + 2 > end:
            return BROKEN
        if marker == 1 or (marker >= 0xD0 and marker <= 0xD7):
            continue
        length = _u16(at)
        if length < 2 and _is_skipped(marker):
            length = 2
        if marker == 0xD8 or marker == 0xD9 or length < 2 or at + length > end:
            return BROKEN
        if marker == 0xDA:
            problem = _scan(state, at + 2, at + length)
            put(state, s.SCAN, at + length - data)
            if problem == 0 and get(state, s.COMPONENTS) == 3 and not _is_ycc(state):
                return UNSUPPORTED
            return problem
        problem = _segment(state, marker, at + 2, at + length)
        if problem != 0:
            return problem
        at += length
    return BROKEN

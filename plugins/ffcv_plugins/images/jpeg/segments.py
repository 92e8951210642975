"""Entering the entropy-coded data elsewhere than at their beginning.

The scan is a row of **segments**, each of which can be decoded without the ones before it:

* with a **side index**, a segment is a run of MCUs in one row, and an entry of the index says at
  which bit it begins and what the DC predictors are there;
* with **restart markers** (T.81, section E.2.4), it is the MCUs between two of them;
* without either, there is one segment.

An entry of the side index takes :data:`ENTRY_BYTES`: the bit's number in the stream (uint32) and
three predictors (int16), all little-endian.

Reads lie in the stream, or in the side index, whose size has been compared with the image's before
(:func:`segments_a_row`). What an entry says is compared with the stream's length before it is used.
Unstuffed data go to a buffer whose size is compared with the segment's first. A segment between
restart markers is only ever looked for behind the ones before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.vectors import (
    bytes_equal_255,
    count_trailing_zeros,
    load_i16,
    load_u8,
    load_u8x32,
    load_u16,
    load_u32,
)
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import refill, skip_bits, unstuff, unstuffed_bytes
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.state import get, put

__all__ = [
    "ENTRY_BYTES",
    "HEADER_BYTES",
    "choose_access",
    "entry_span",
    "index_interval",
    "indexed_segment",
    "is_indexed",
    "open_segment",
    "scan_bit",
    "segment_of",
    "segments_a_row",
]

HEADER_BYTES = 8
"""Before the entries of an image: the length of its stream (uint32), MCUs of a segment (uint16),
and a uint16 that is 0."""
ENTRY_BYTES = 10

_WHOLE, _RESTARTS, _INDEXED = 0, 1, 2


@kernel
def choose_access(state: Any, index: Any, index_size: Any) -> None:
    """Decide how the scan is entered. An index that does not fit the image is not used."""
    mcus = get(state, s.MCU_COLUMNS) * get(state, s.MCU_ROWS)
    put(state, s.ACCESS, _WHOLE)
    put(state, s.INTERVAL, mcus)
    put(state, s.SEGMENT, -1)
    put(state, s.SEGMENT_END, 0)
    restart = get(state, s.RESTART_INTERVAL)
    if restart > 0:
        put(state, s.ACCESS, _RESTARTS)
        put(state, s.INTERVAL, restart)
        put(state, s.MARKER_SEGMENT, 0)
        put(state, s.MARKER_AT, get(state, s.SCAN))
    else:
        _use_index(state, index, index_size)


@kernel
def _use_index(state: Any, index: Any, index_size: Any) -> None:
    """Take over the side index if its own length, the stream's and the first place are right."""
    columns, rows = get(state, s.MCU_COLUMNS), get(state, s.MCU_ROWS)
    a_row = segments_a_row(index, index_size, get(state, s.LENGTH), columns, rows)
    if a_row == 0 or scan_bit(index) != 8 * get(state, s.SCAN):
        return
    put(state, s.ACCESS, _INDEXED)
    put(state, s.INTERVAL, index_interval(index))
    put(state, s.SEGMENTS_A_ROW, a_row)
    put(state, s.ENTRIES, index + HEADER_BYTES)


@kernel
def segments_a_row(index: Any, index_size: Any, length: Any, columns: Any, rows: Any) -> int:
    """How many segments a side index has for each row of MCUs; 0 if it does not fit the image.

    Args:
        index: address of the index.
        index_size: its length in bytes, 0 for none.
        length: the stream's.
        columns: of MCUs, at least 1.
        rows: likewise.
    """
    if index_size <= HEADER_BYTES:
        return 0
    interval = index_interval(index)
    if interval < 1 or load_u16(index + 6) != 0 or load_u32(index) != length:
        return 0
    a_row = (columns + interval - 1) // interval
    return a_row if index_size == HEADER_BYTES + ENTRY_BYTES * a_row * rows else 0


@kernel
def index_interval(index: Any) -> int:
    """MCUs of a segment of a side index that has a header."""
    return load_u16(index + 4)


@kernel
def scan_bit(index: Any) -> int:
    """The bit at which a side index that has an entry says that the scan begins."""
    return load_u32(index + HEADER_BYTES)


@kernel
def indexed_segment(row: Any, column: Any, interval: Any, a_row: Any) -> int:
    """Number of the segment of a side index in which an MCU is."""
    return row * a_row + column // interval


@kernel
def entry_span(entries: Any, segment: Any, segments: Any, length: Any) -> tuple[int, int]:
    """The bit where a segment of a side index begins, and the one where what is read of it ends.

    Args:
        entries: address of the index's entries.
        segment: its number.
        segments: how many there are.
        length: of the stream.
    """
    entry, end = entries + ENTRY_BYTES * segment, 8 * length
    if segment + 1 < segments:
        # Its last byte may be the next one's first, and an FF has a zero behind it.
        end = min(end, 8 * ((load_u32(entry + ENTRY_BYTES) >> 3) + 2))
    return load_u32(entry), end


@kernel
def is_indexed(state: Any) -> bool:
    """Whether the scan is entered by a side index, so that every row can be entered by itself."""
    return get(state, s.ACCESS) == _INDEXED


@kernel
def segment_of(state: Any, mcu: Any) -> int:
    """Number of the segment that an MCU belongs to."""
    interval = get(state, s.INTERVAL)
    if not is_indexed(state):
        return mcu // interval
    columns, a_row = get(state, s.MCU_COLUMNS), get(state, s.SEGMENTS_A_ROW)
    return indexed_segment(mcu // columns, mcu % columns, interval, a_row)


@kernel
def _extent(state: Any, segment: Any) -> tuple[int, int]:
    """The first MCU of a segment, and the one behind its last."""
    interval = get(state, s.INTERVAL)
    mcus = get(state, s.MCU_COLUMNS) * get(state, s.MCU_ROWS)
    if not is_indexed(state):
        return segment * interval, min((segment + 1) * interval, mcus)
    columns, a_row = get(state, s.MCU_COLUMNS), get(state, s.SEGMENTS_A_ROW)
    row, number = segment // a_row, segment % a_row
    first = row * columns + number * interval
    return first, min(first + interval, (row + 1) * columns)


@kernel
def _find_marker(at: Any, end: Any) -> int:
    """Address of the next FF that neither a zero nor another FF follows; ``end`` if there is none.

    A marker needs two bytes, so the last byte is none.
    """
    while at < end - 1:
        if end - at >= 32:
            found = bytes_equal_255(load_u8x32(at))
            if found == np.uint64(0):
                at += 32
                continue
            at += count_trailing_zeros(found)
            if at >= end - 1:
                return end
        if load_u8(at) == 255 and load_u8(at + 1) != 0 and load_u8(at + 1) != 255:
            return at
        at += 1
    return end


@kernel
def _after_markers(state: Any, segment: Any) -> int:
    """Where a segment between restart markers begins; -1 where the markers are not in order."""
    data, end = get(state, s.DATA), get(state, s.DATA) + get(state, s.LENGTH)
    number, at = get(state, s.MARKER_SEGMENT), get(state, s.MARKER_AT)
    while number < segment:
        marker = _find_marker(data + at, end)
        if marker == end or load_u8(marker + 1) != 0xD0 + (number & 7):
            return -1
        number, at = number + 1, marker + 2 - data
    put(state, s.MARKER_SEGMENT, number)
    put(state, s.MARKER_AT, at)
    return at


@kernel
def _start(state: Any, segment: Any) -> tuple[int, int, int]:
    """Byte and bit where a segment begins, and how many bytes from there on it can take.

    The byte is -1 where that cannot be.
    """
    length = get(state, s.LENGTH)
    access = get(state, s.ACCESS)
    if access == _WHOLE:
        return get(state, s.SCAN), 0, length - get(state, s.SCAN)
    if access == _RESTARTS:
        at = _after_markers(state, segment)
        return at, 0, length - at
    segments = get(state, s.SEGMENTS_A_ROW) * get(state, s.MCU_ROWS)
    begin, end = entry_span(get(state, s.ENTRIES), segment, segments, length)
    if begin < 8 * get(state, s.SCAN) or begin >= end:
        return -1, 0, 0
    return begin >> 3, begin & 7, (end >> 3) - (begin >> 3)


@kernel
def open_segment(state: Any, segment: Any) -> tuple[Any, Any, Any, int, int]:
    """Prepare a segment's data.

    Args:
        state: the decoder's.
        segment: its number.

    Returns:
        A reader at its first bit (bits, count, position), the number of its first MCU, and a
        problem or 0.
    """
    first, last = _extent(state, segment)
    byte, bit, size = _start(state, segment)
    bits, count, position = np.uint64(0), 0, get(state, s.B_UNSTUFFED)
    if byte < 0:
        return bits, count, position, first, BROKEN
    if unstuffed_bytes(size) > get(state, s.N_UNSTUFFED):
        return bits, count, position, first, UNSUPPORTED
    size = unstuff(get(state, s.DATA) + byte, size, position)
    put(state, s.PREPARED, position + size)
    put(state, s.SEGMENT, segment)
    put(state, s.SEGMENT_END, last)
    indexed = is_indexed(state)
    entry = get(state, s.ENTRIES) + ENTRY_BYTES * segment
    for i in range(3):
        put(state, s.PREDICTORS + i, load_i16(entry + 4 + 2 * i) if indexed else 0)
    bits, count, position = refill(bits, count, position)
    bits, count = skip_bits(bits, count, bit)
    return bits, count, position, first, 0

"""Making the side index of an image: where each row of MCUs begins in its stream.

The layout is told in ``segments``. An image of 500 × 375 pixels with 4:2:0 chroma has 24 rows of
MCUs, and so an index of 248 bytes, which is 0.4 % of its stream.

Where every access lies: entries are written only after their number has been compared with the room
for them. The walk along the stuffed stream follows the bytes that the reader has consumed, of which
there are no more than were unstuffed from it. All else is as in ``scan``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import (
    bytes_equal_255,
    count_trailing_zeros,
    load_u8,
    load_u8x32,
    store_i32,
    store_u16,
)
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import bits_used
from ffcv_plugins.images.jpeg.decoder import begin
from ffcv_plugins.images.jpeg.header import read_header
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.memory import local_memory
from ffcv_plugins.images.jpeg.scan import skip, write_program
from ffcv_plugins.images.jpeg.segments import (
    ENTRY_BYTES,
    HEADER_BYTES,
    choose_access,
    open_segment,
)
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["INDEX_ENTRY", "index_rows", "row_index"]

_LARGEST_STREAM = 1 << 29
"""Bytes of a stream whose bits 32-bit numbers can count."""


@kernel
def _write_entry(state: Any, entry: Any, bit: Any) -> None:
    store_i32(entry, bit)
    for i in range(3):
        store_u16(entry + 4 + 2 * i, get(state, s.PREDICTORS + i))


@kernel
def _follow(source: Any, end: Any, unstuffed: Any) -> int:
    """Address behind the bytes that ``unstuffed`` bytes were made from, in data up to ``end``."""
    while unstuffed > 0:
        ordinary = 0
        if unstuffed >= 32:
            ordinary = min(count_trailing_zeros(bytes_equal_255(load_u8x32(source))), 32)
        if ordinary > 0:
            source, unstuffed = source + ordinary, unstuffed - ordinary
        else:
            while source < end and load_u8(source) == 255:
                source += 1
            source, unstuffed = source + 1, unstuffed - 1
    return source


@kernel
def index_rows(state: Any, data: Any, length: Any, interval: Any, target: Any, room: Any) -> int:
    """Write the side index of a stream.

    Args:
        state: address of the decoder's state.
        data: address of the stream.
        length: its length in bytes.
        interval: MCUs from one entry to the next, within a row; 0 for whole rows.
        target: where the index goes.
        room: bytes that there are for it.

    Returns:
        The index's length, or the negative of why there is none. Streams with restart markers
        need none.
    """
    problem = begin(state, data, length)
    if problem != 0:
        return -problem
    columns, rows = get(state, s.MCU_COLUMNS), get(state, s.MCU_ROWS)
    if interval < 1 or interval > columns:
        interval = columns
    size = HEADER_BYTES + ENTRY_BYTES * rows * ((columns + interval - 1) // interval)
    if get(state, s.RESTART_INTERVAL) != 0 or length >= _LARGEST_STREAM or size > room:
        return -UNSUPPORTED
    store_i32(target, length)
    store_u16(target + 4, interval)
    store_u16(target + 6, 0)
    problem = _index_scan(state, interval, target + HEADER_BYTES)
    return size if problem == 0 else -problem


@kernel
def _index_scan(state: Any, interval: Any, entry: Any) -> int:
    """Go through the whole scan, and write an entry at the beginning of each run of MCUs."""
    write_program(state)
    choose_access(state, 0, 0)
    put(state, s.FAILED, 0)
    bits, count, position, _, problem = open_segment(state, 0)
    reader = (bits, count, position)
    source, followed = get(state, s.DATA) + get(state, s.SCAN), 0
    end = get(state, s.DATA) + get(state, s.LENGTH)
    columns = get(state, s.MCU_COLUMNS)
    for row in range(get(state, s.MCU_ROWS)):
        for column in range(0, columns, interval):
            if problem != 0 or get(state, s.FAILED) != 0:
                return BROKEN if problem == 0 else problem
            bit = bits_used(reader[1], reader[2], get(state, s.B_UNSTUFFED))
            source, followed = _follow(source, end, (bit >> 3) - followed), bit >> 3
            _write_entry(state, entry, 8 * (source - get(state, s.DATA)) + (bit & 7))
            entry += ENTRY_BYTES
            number = min(interval, columns - column)
            reader, problem = skip(state, reader, row * columns + column, number)
    return BROKEN if problem == 0 and get(state, s.FAILED) != 0 else problem


INDEX_ENTRY = Entry(index_rows)


def row_index(data: NDArray[np.uint8], interval: int = 0) -> bytes:
    """The side index of a JPEG stream.

    Args:
        data: the stream, ``(N,)`` uint8, C-contiguous.
        interval: MCUs from one entry to the next within a row; 0 for one entry a row.

    Returns:
        The index, or ``b""`` where the native decoder cannot use one: for streams that it does not
        decode, and those with restart markers.
    """
    try:
        info, _ = read_header(data.data)
    except ValueError:
        return b""
    columns, rows = -(-info.width // 8), -(-info.height // 8)  # at most: MCUs may be larger
    entries = rows * (-(-columns // interval) if interval else 1)
    # An MCU takes two bits at least; streams that claim more of them have no index.
    index = np.empty(HEADER_BYTES + ENTRY_BYTES * min(entries, 4 * data.size), np.uint8)
    state = local_memory(data.size, 1, 1).state
    size = INDEX_ENTRY(
        state.ctypes.data, data.ctypes.data, data.size, interval, index.ctypes.data, index.size
    )
    return index[:size].tobytes() if size > 0 else b""

"""Going through a scan: decoding the MCUs of a region into planes, and no other's pixels.

MCUs are decoded in **batches** of up to 16 of one row. A batch has up to six **groups** of 16
blocks: the luma blocks of each block row in order, then those of each chroma component. The lanes
of a group are its blocks, side by side, as the inverse DCT wants them.

The **program** says for each block of a batch, MCU by MCU, where its coefficients go and with which
tables it is decoded: five words (address of its first coefficient, of its DC and AC table, of its
predictor, and of the last place of its group). Coefficients of MCUs outside the region go
:data:`DISCARDED` bytes further.

Where every access lies:

* Coefficients: a group's number is at most 5 and a lane at most 15, so a block's address is at most
  ``coefficients + 5 * 2048 + 30``; see ``entropy`` for the rest.
* Planes: :func:`lay_out` gives each component whole batches of columns and whole MCUs of rows, and
  compares the sum with the buffer before anything is written.
* Bits: after each MCU the reader's place is compared with the end of the data; see ``bits``.

The loops end when the data do, however large an image a stream claims to be: a block takes two bits
at least, and a segment a restart marker or an entry of the side index.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernel import kernel
from ffcv.vectors import load_i64, store_i64
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import reached
from ffcv_plugins.images.jpeg.entropy import DISCARDED, decode_block
from ffcv_plugins.images.jpeg.huffman import TABLE_BYTES
from ffcv_plugins.images.jpeg.idct import clear, inverse_dct
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.segments import open_segment, segment_of
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["BATCH", "PROGRAM_WORDS", "decode_region", "lay_out", "skip", "write_program"]

BATCH = 16
PROGRAM_WORDS = 5
_STEP = 8 * PROGRAM_WORDS


@kernel
def lay_out(state: Any) -> int:
    """Place the region's planes in their buffer, and describe them in the state."""
    size, h, v = get(state, s.SIZE), get(state, s.H_FACTOR), get(state, s.V_FACTOR)
    columns = get(state, s.END_COLUMN) - get(state, s.FIRST_COLUMN)
    rows = get(state, s.END_ROW) - get(state, s.FIRST_ROW)
    batches = (columns + BATCH - 1) // BATCH
    address = get(state, s.B_PLANES)
    end = address + get(state, s.N_PLANES)
    for component in range(get(state, s.COMPONENTS)):
        across, down = (h, v) if component == 0 else (1, 1)
        cell = 8 * h // across, 8 * v // down
        width = (get(state, s.WIDTH) * size + cell[0] - 1) // cell[0]
        height = (get(state, s.HEIGHT) * size + cell[1] - 1) // cell[1]
        pitch = BATCH * batches * across * size + 64
        plane = s.PLANES + s.PLANE_WORDS * component
        left = get(state, s.FIRST_COLUMN) * across * size
        top = get(state, s.FIRST_ROW) * down * size
        put(state, plane + s.P_ADDRESS, address)
        put(state, plane + s.P_PITCH, pitch)
        put(state, plane + s.P_LEFT, left)
        put(state, plane + s.P_TOP, top)
        put(state, plane + s.P_COLUMNS, min(columns * across * size, width - left))
        put(state, plane + s.P_ROWS, min(rows * down * size, height - top))
        put(state, plane + s.P_WIDTH, width)
        put(state, plane + s.P_HEIGHT, height)
        address += pitch * rows * down * size + 64
    return 0 if address <= end else UNSUPPORTED


@kernel
def _write_block(state: Any, at: Any, group: Any, lane: Any, component: Any) -> None:
    """Write one line of the program."""
    tables = get(state, s.B_HUFFMAN)
    store_i64(at, get(state, s.B_COEFFICIENTS) + 2048 * group + 2 * lane)
    store_i64(at + 8, tables + TABLE_BYTES * get(state, s.DC_TABLE + component))
    store_i64(at + 16, tables + TABLE_BYTES * get(state, s.AC_TABLE + component))
    store_i64(at + 24, state + 8 * (s.PREDICTORS + component))
    store_i64(at + 32, state + 8 * (s.LASTS + group))


@kernel
def write_program(state: Any) -> None:
    """Write the program for a batch of 16 MCUs, which is the same for all of them."""
    h, v, components = get(state, s.H_FACTOR), get(state, s.V_FACTOR), get(state, s.COMPONENTS)
    at = get(state, s.B_PROGRAM)
    for mcu in range(BATCH):
        for y in range(v):
            for x in range(h):
                column = mcu * h + x
                _write_block(state, at, y * h + column // BATCH, column % BATCH, 0)
                at += _STEP
        for component in range(1, components):
            _write_block(state, at, h * v + component - 1, mcu, component)
            at += _STEP
    put(state, s.BLOCKS, h * v + components - 1)
    put(state, s.GROUPS, h * v + components - 1)


@kernel
def run_blocks(state: Any, reader: Any, line: Any, end: Any, offset: Any) -> Any:
    """Decode the blocks of the program's lines ``[line, end)``.

    Args:
        state: the decoder's.
        reader: bits, count and position.
        line: address of the first line.
        end: address behind the last one; whole MCUs.
        offset: 0, or :data:`DISCARDED` when nobody wants the coefficients.

    Returns:
        The reader, and a problem or 0.
    """
    bits, count, position = reader
    zigzag, prepared = get(state, s.B_ZIGZAG), get(state, s.PREPARED)
    mcu = _STEP * get(state, s.BLOCKS)
    while line != end:
        next_mcu = line + mcu
        while line != next_mcu:
            base = load_i64(line) + offset
            bits, count, position, last = decode_block(
                bits, count, position, base, load_i64(line + 8), load_i64(line + 16),
                load_i64(line + 24), state, zigzag,
            )  # fmt: skip
            lasts = load_i64(line + 32)
            store_i64(lasts, max(last, load_i64(lasts)))
            line += _STEP
        if reached(count, position) > prepared:
            return (bits, count, position), BROKEN
    return (bits, count, position), 0


@kernel
def _advance(state: Any, reader: Any, at: Any, lane: Any, number: Any, offset: Any) -> Any:
    """Decode ``number`` MCUs from MCU ``at`` on into the lanes from ``lane`` on, across segments.

    Returns:
        The reader, and a problem or 0.
    """
    problem = 0
    program, mcu = get(state, s.B_PROGRAM), _STEP * get(state, s.BLOCKS)
    while number > 0 and problem == 0:
        if at == get(state, s.SEGMENT_END):
            bits, count, position, at, problem = open_segment(state, get(state, s.SEGMENT) + 1)
            reader = (bits, count, position)
        if problem == 0:
            some = min(number, get(state, s.SEGMENT_END) - at)
            line = program + lane * mcu
            reader, problem = run_blocks(state, reader, line, line + some * mcu, offset)
            at, lane, number = at + some, lane + some, number - some
    return reader, problem


@kernel
def _seek(state: Any, reader: Any, at: Any, target: Any) -> Any:
    """Come to MCU ``target`` from MCU ``at``, by the shortest way.

    Returns:
        The reader there, and a problem or 0.
    """
    problem, segment = 0, segment_of(state, target)
    if segment != get(state, s.SEGMENT):
        bits, count, position, at, problem = open_segment(state, segment)
        reader = (bits, count, position)
    if problem == 0:
        reader, problem = skip(state, reader, at, target - at)
    return reader, problem


@kernel
def skip(state: Any, reader: Any, at: Any, number: Any) -> Any:
    """Decode ``number`` MCUs from MCU ``at`` on, whose pixels nobody wants.

    Returns:
        The reader behind them, and a problem or 0.
    """
    problem, end = 0, at + number
    while at < end and problem == 0:
        some = min(BATCH, end - at)
        reader, problem = _advance(state, reader, at, 0, some, DISCARDED)
        at += some
    for group in range(get(state, s.GROUPS)):
        put(state, s.LASTS + group, 0)
    return reader, problem


@kernel
def _transform_group(state: Any, group: Any, component: Any, x: Any, y: Any) -> None:
    """Turn a group's coefficients into pixels at ``(x, y)`` of the component's plane."""
    plane = s.PLANES + s.PLANE_WORDS * component
    pitch = get(state, plane + s.P_PITCH)
    coefficients = get(state, s.B_COEFFICIENTS) + 2048 * group
    quantiser = get(state, s.B_QUANTISERS) + 128 * get(state, s.QUANTISER + component)
    target = get(state, plane + s.P_ADDRESS) + y * pitch + x
    last = get(state, s.LASTS + group)
    work = get(state, s.B_WORK)
    inverse_dct(get(state, s.SIZE), last, coefficients, quantiser, work, target, pitch)
    clear(coefficients)
    put(state, s.LASTS + group, 0)


@kernel
def _transform(state: Any, row: Any, column: Any, number: Any) -> None:
    """Turn a batch's coefficients into pixels.

    Args:
        state: the decoder's.
        row: the batch's row of MCUs, counted from the region's first.
        column: its first column of MCUs, likewise.
        number: how many MCUs it has.
    """
    size, h, v = get(state, s.SIZE), get(state, s.H_FACTOR), get(state, s.V_FACTOR)
    for y in range(v):
        for part in range((number * h + BATCH - 1) // BATCH):
            x = (column * h + part * BATCH) * size
            _transform_group(state, y * h + part, 0, x, (row * v + y) * size)
    for component in range(1, get(state, s.COMPONENTS)):
        _transform_group(state, h * v + component - 1, component, column * size, row * size)


@kernel
def decode_region(state: Any) -> int:
    """Decode the region's MCUs into their planes.

    Returns:
        0, or why not: ``UNSUPPORTED`` or ``BROKEN``.
    """
    problem = lay_out(state)
    if problem != 0:
        return problem
    write_program(state)
    put(state, s.FAILED, 0)
    for group in range(6):
        clear(get(state, s.B_COEFFICIENTS) + 2048 * group)
        put(state, s.LASTS + group, 0)
    first, end = get(state, s.FIRST_COLUMN), get(state, s.END_COLUMN)
    reader, at = (np.uint64(0), 0, 0), 0
    for row in range(get(state, s.FIRST_ROW), get(state, s.END_ROW)):
        target = row * get(state, s.MCU_COLUMNS) + first
        reader, problem = _seek(state, reader, at, target)
        for column in range(0, end - first, BATCH):
            number = min(BATCH, end - first - column)
            if problem == 0:
                at = target + column
                reader, problem = _advance(state, reader, at, 0, number, 0)
                at += number
            if problem != 0 or get(state, s.FAILED) != 0:
                return BROKEN if problem == 0 else problem
            _transform(state, row - get(state, s.FIRST_ROW), column, number)
    return 0

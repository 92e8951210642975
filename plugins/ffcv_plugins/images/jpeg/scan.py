"""Going through a scan: decoding the coefficients of the MCUs of a region.

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
* Bits: after each block the reader's place is compared with the end of the data; see ``bits``.

The loops end when the data do, however large an image a stream claims to be: a block takes two bits
at least, and a segment a restart marker or an entry of the side index.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import inlined_kernel, kernel
from ffcv.kernels.vectors import load_i64, store_i64
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import reached
from ffcv_plugins.images.jpeg.entropy import DISCARDED, begin_block, finish_block
from ffcv_plugins.images.jpeg.huffman import TABLE_BYTES
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.segments import open_segment, segment_of
from ffcv_plugins.images.jpeg.state import get, put

__all__ = [
    "BATCH",
    "LINE_BYTES",
    "MOST_GROUPS",
    "PROGRAM_BYTES",
    "advance",
    "forget_lasts",
    "lay_out",
    "note_last",
    "run_blocks",
    "seek",
    "skip",
    "start_block",
    "write_program",
]

BATCH = 16
MOST_GROUPS = 6
LINE_BYTES = 40
PROGRAM_BYTES = LINE_BYTES * MOST_GROUPS * BATCH


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
                at += LINE_BYTES
        for component in range(1, components):
            _write_block(state, at, h * v + component - 1, mcu, component)
            at += LINE_BYTES
    put(state, s.BLOCKS, h * v + components - 1)
    put(state, s.GROUPS, h * v + components - 1)


@inlined_kernel
def start_block(reader: Any, line: Any, offset: Any, state: Any) -> Any:
    """Decode the DC value of a program's line.

    Args:
        reader: bits, count and position.
        line: address of the line.
        offset: 0, or :data:`DISCARDED` when nobody wants the coefficients.
        state: the decoder's.

    Returns:
        The reader, and the addresses of the block's first coefficient and of its AC table.
    """
    bits, count, position = reader
    base, dc, predictor = load_i64(line) + offset, load_i64(line + 8), load_i64(line + 24)
    reader = begin_block(bits, count, position, base, dc, predictor, state)
    return reader, base, load_i64(line + 16)


@inlined_kernel
def note_last(line: Any, last: Any) -> None:
    """Let the group of a program's line know of a block's last place."""
    lasts = load_i64(line + 32)
    store_i64(lasts, max(last, load_i64(lasts)))


@kernel
def run_blocks(state: Any, reader: Any, line: Any, end: Any, offset: Any) -> Any:
    """Decode the blocks of the program's lines ``[line, end)``.

    Args:
        state: the decoder's.
        reader: bits, count and position.
        line: address of the first line.
        end: address behind the last one.
        offset: 0, or :data:`DISCARDED` when nobody wants the coefficients.

    Returns:
        The reader, and a problem or 0.
    """
    zigzag, prepared = get(state, s.B_ZIGZAG), get(state, s.PREPARED)
    while line != end:
        (bits, count, position), base, ac = start_block(reader, line, offset, state)
        bits, count, position, last = finish_block(
            bits, count, position, base, 0, ac, zigzag, state
        )
        reader = (bits, count, position)
        note_last(line, last)
        if reached(count, position) > prepared:
            return reader, BROKEN
        line += LINE_BYTES
    return reader, 0


@kernel
def advance(state: Any, reader: Any, at: Any, number: Any, offset: Any) -> Any:
    """Decode ``number`` MCUs from MCU ``at`` on, across segments.

    Args:
        state: the decoder's.
        reader: bits, count and position.
        at: number of the first MCU.
        number: how many, at most a batch.
        offset: 0, or :data:`DISCARDED` when nobody wants the coefficients.

    Returns:
        The reader, and a problem or 0.
    """
    problem, line, mcu = 0, get(state, s.B_PROGRAM), LINE_BYTES * get(state, s.BLOCKS)
    while number > 0 and problem == 0:
        if at == get(state, s.SEGMENT_END):
            bits, count, position, at, problem = open_segment(state, get(state, s.SEGMENT) + 1)
            reader = (bits, count, position)
        if problem == 0:
            some = min(number, get(state, s.SEGMENT_END) - at)
            reader, problem = run_blocks(state, reader, line, line + some * mcu, offset)
            at, line, number = at + some, line + some * mcu, number - some
    return reader, problem


@kernel
def seek(state: Any, reader: Any, at: Any, target: Any) -> Any:
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
        reader, problem = advance(state, reader, at, some, DISCARDED)
        at += some
    forget_lasts(state)
    return reader, problem


@kernel
def forget_lasts(state: Any) -> None:
    """Forget the last places of blocks whose coefficients nobody wants."""
    for group in range(get(state, s.GROUPS)):
        put(state, s.LASTS + group, 0)

"""Decoding two rows of MCUs at once.

Each symbol of a stream says where the next one begins, so a processor that decodes one stream waits
most of the time. With a side index two rows can be entered, and while one of them waits, there is
work to do on the other. A seventh of the time for entropy decoding is saved by that.

The second row has a state of its own, the **twin**, right behind the first one's: a copy, with its
own program, coefficients, and what belongs to a reader. Its unstuffed data go behind the first
row's in the same buffer; :func:`_open` says how much room that leaves, and ``segments`` compares
that with what they take. All else is as in ``scan``.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import inlined_kernel, kernel
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import SLACK, reached, refill
from ffcv_plugins.images.jpeg.entropy import (
    COEFFICIENT_BYTES,
    DISCARDED,
    ENDED,
    finish_block,
    look_up,
    take_entry,
)
from ffcv_plugins.images.jpeg.markers import BROKEN
from ffcv_plugins.images.jpeg.scan import (
    BATCH,
    LINE_BYTES,
    PROGRAM_BYTES,
    forget_lasts,
    note_last,
    run_blocks,
    start_block,
    write_program,
)
from ffcv_plugins.images.jpeg.segments import open_segment, segment_of
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["advance_pair", "make_twin", "seek_pair"]


@kernel
def make_twin(state: Any) -> int:
    """Make the state for the second one of two rows; returns its address."""
    twin = state + s.STATE_BYTES
    for word in range(s.WORDS):
        put(twin, word, get(state, word))
    put(twin, s.B_COEFFICIENTS, get(state, s.B_COEFFICIENTS) + COEFFICIENT_BYTES)
    put(twin, s.B_PROGRAM, get(state, s.B_PROGRAM) + PROGRAM_BYTES)
    write_program(twin)
    return twin


@kernel
def _open(state: Any, twin: Any, segment: Any) -> Any:
    """Prepare a segment's data, and those of the one below it.

    Returns:
        A reader for each, the number of the first one's first MCU, and a problem or 0.
    """
    bits, count, position, at, problem = open_segment(state, segment)
    one = two = (bits, count, position)
    if problem == 0:
        begin = get(state, s.PREPARED) + SLACK
        end = get(state, s.B_UNSTUFFED) + get(state, s.N_UNSTUFFED)
        put(twin, s.B_UNSTUFFED, begin)
        put(twin, s.N_UNSTUFFED, end - begin)
        below = segment + get(state, s.SEGMENTS_A_ROW)
        bits, count, position, _, problem = open_segment(twin, below)
        two = (bits, count, position)
    return one, two, at, problem


@inlined_kernel
def _take(reader: Any, base: Any, ac: Any, place: Any, zigzag: Any, state: Any) -> Any:
    """Decode one entry behind ``place``; returns the reader and the place."""
    bits, count, position = reader
    entry = look_up(bits, ac)
    bits, count, position = refill(bits, count, position)
    bits, count, place = take_entry(entry, bits, count, base, place, ac, zigzag, state)
    if place < ENDED:
        # The second one of two needs no refill.
        entry = look_up(bits, ac)
        bits, count, place = take_entry(entry, bits, count, base, place, ac, zigzag, state)
    return (bits, count, position), place


@kernel
def _run_rest(
    state: Any, reader: Any, base: Any, ac: Any, place: Any, line: Any, end: Any, offset: Any
) -> Any:
    """Decode what is left of a block, behind ``place``, and the program's lines behind its own.

    Returns:
        The reader, and a problem or 0.
    """
    bits, count, position = reader
    if line != end and place < ENDED:
        zigzag = get(state, s.B_ZIGZAG)
        bits, count, position, last = finish_block(
            bits, count, position, base, place, ac, zigzag, state
        )
        note_last(line, last)
        line += LINE_BYTES
    reader = (bits, count, position)
    if reached(count, position) > get(state, s.PREPARED):
        return reader, BROKEN
    return run_blocks(state, reader, line, end, offset)


@kernel
def _run(
    state: Any, twin: Any, one: Any, two: Any, line: Any, twin_line: Any, length: Any, offset: Any
) -> Any:
    """Decode the blocks of ``length`` bytes of both programs' lines.

    It goes from entry to entry, one of each row, until one of the rows is done or broken.

    Returns:
        The readers, and a problem or 0.
    """
    end, twin_end, zigzag = line + length, twin_line + length, get(state, s.B_ZIGZAG)
    prepared, twin_prepared = get(state, s.PREPARED), get(twin, s.PREPARED)
    one, base, ac = start_block(one, line, offset, state)
    two, twin_base, twin_ac = start_block(two, twin_line, offset, twin)
    place = twin_place = 0
    while True:
        one, place = _take(one, base, ac, place, zigzag, state)
        if place >= ENDED:
            note_last(line, place - ENDED)
            line += LINE_BYTES
            if line == end or reached(one[1], one[2]) > prepared:
                break
            one, base, ac = start_block(one, line, offset, state)
            place = 0
        two, twin_place = _take(two, twin_base, twin_ac, twin_place, zigzag, twin)
        if twin_place >= ENDED:
            note_last(twin_line, twin_place - ENDED)
            twin_line += LINE_BYTES
            if twin_line == twin_end or reached(two[1], two[2]) > twin_prepared:
                break
            two, twin_base, twin_ac = start_block(two, twin_line, offset, twin)
            twin_place = 0
    one, problem = _run_rest(state, one, base, ac, place, line, end, offset)
    two, twin_problem = _run_rest(
        twin, two, twin_base, twin_ac, twin_place, twin_line, twin_end, offset
    )
    return one, two, problem | twin_problem


@kernel
def advance_pair(
    state: Any, twin: Any, one: Any, two: Any, at: Any, number: Any, offset: Any
) -> Any:
    """Decode ``number`` MCUs from MCU ``at`` on, and those below them, across segments.

    Args:
        state: the decoder's.
        twin: the second row's.
        one: the first row's reader.
        two: the second row's.
        at: number of the first MCU.
        number: how many, at most a batch.
        offset: 0, or :data:`DISCARDED` when nobody wants the coefficients.

    Returns:
        The readers, and a problem or 0.
    """
    problem, mcu = 0, LINE_BYTES * get(state, s.BLOCKS)
    line, twin_line = get(state, s.B_PROGRAM), get(twin, s.B_PROGRAM)
    while number > 0 and problem == 0:
        if at == get(state, s.SEGMENT_END):
            one, two, at, problem = _open(state, twin, get(state, s.SEGMENT) + 1)
        if problem == 0:
            some = min(number, get(state, s.SEGMENT_END) - at)
            length = some * mcu
            one, two, problem = _run(state, twin, one, two, line, twin_line, length, offset)
            at, number = at + some, number - some
            line, twin_line = line + length, twin_line + length
    return one, two, problem


@kernel
def seek_pair(state: Any, twin: Any, target: Any) -> Any:
    """Come to MCU ``target``, and to the one below it.

    Returns:
        The readers there, and a problem or 0.
    """
    one, two, at, problem = _open(state, twin, segment_of(state, target))
    while at < target and problem == 0:
        some = min(BATCH, target - at)
        one, two, problem = advance_pair(state, twin, one, two, at, some, DISCARDED)
        at += some
    forget_lasts(state)
    forget_lasts(twin)
    return one, two, problem

"""Decoding a region: from the scan's MCUs to pixels in the planes of its components.

What is written, and why it lies in its buffer, is said in ``scan`` for coefficients and planes, and
in ``idct`` for the work of the transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.idct import clear, inverse_dct
from ffcv_plugins.images.jpeg.markers import BROKEN
from ffcv_plugins.images.jpeg.pairs import advance_pair, make_twin, seek_pair
from ffcv_plugins.images.jpeg.scan import BATCH, MOST_GROUPS, advance, lay_out, seek, write_program
from ffcv_plugins.images.jpeg.segments import is_indexed
from ffcv_plugins.images.jpeg.state import get, put

__all__ = ["decode_region"]


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
def _clear_batch(state: Any) -> None:
    """Prepare the memory of a batch's coefficients."""
    for group in range(MOST_GROUPS):
        clear(get(state, s.B_COEFFICIENTS) + 2048 * group)
        put(state, s.LASTS + group, 0)


@kernel
def _decode_row(state: Any, reader: Any, at: Any, row: Any) -> Any:
    """Decode the region's part of one row of MCUs.

    Args:
        state: the decoder's.
        reader: bits, count and position.
        at: number of the MCU that the reader is at.
        row: the row of MCUs.

    Returns:
        The reader, the number of its MCU, and a problem or 0.
    """
    first, end = get(state, s.FIRST_COLUMN), get(state, s.END_COLUMN)
    target = row * get(state, s.MCU_COLUMNS) + first
    reader, problem = seek(state, reader, at, target)
    for column in range(0, end - first, BATCH):
        number = min(BATCH, end - first - column)
        if problem == 0:
            reader, problem = advance(state, reader, target + column, number, 0)
        if problem != 0 or get(state, s.FAILED) != 0:
            return reader, 0, BROKEN if problem == 0 else problem
        _transform(state, row - get(state, s.FIRST_ROW), column, number)
    return reader, target + end - first, 0


@kernel
def _decode_two_rows(state: Any, twin: Any, row: Any) -> int:
    """Decode the region's part of row ``row`` of MCUs, and of the one below it."""
    first, end = get(state, s.FIRST_COLUMN), get(state, s.END_COLUMN)
    target, place = row * get(state, s.MCU_COLUMNS) + first, row - get(state, s.FIRST_ROW)
    one, two, problem = seek_pair(state, twin, target)
    for column in range(0, end - first, BATCH):
        number = min(BATCH, end - first - column)
        if problem == 0:
            one, two, problem = advance_pair(state, twin, one, two, target + column, number, 0)
        if problem != 0 or get(state, s.FAILED) != 0 or get(twin, s.FAILED) != 0:
            return BROKEN if problem == 0 else problem
        _transform(state, place, column, number)
        _transform(twin, place + 1, column, number)
    return 0


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
    _clear_batch(state)
    row, end = get(state, s.FIRST_ROW), get(state, s.END_ROW)
    if is_indexed(state) and end - row > 1:
        twin = make_twin(state)
        _clear_batch(twin)
        while end - row > 1 and problem == 0:
            problem = _decode_two_rows(state, twin, row)
            row += 2
    reader, at = (np.uint64(0), 0, 0), 0
    while row < end and problem == 0:
        reader, at, problem = _decode_row(state, reader, at, row)
        row += 1
    return problem

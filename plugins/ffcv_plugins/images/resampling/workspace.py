"""Scratch memory of one worker, and the table of addresses by which compiled code finds it.

The words of the table, each int64, are given by where they lie in bytes. A buffer has two: its
address, and then its size in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel
from ffcv_plugins.images.resampling.weights import FILTERS, count_taps, overshoots

__all__ = ["ResizeWorkspace", "allocate", "ring_rows", "round_up"]

STRIP_ROWS = 32
"""Source rows that go through the horizontal pass together."""

TILE = 64
"""Output columns that do."""

METHOD, FILL_AXIS, ADVANCE = 0, 8, 16
"""Number of the filter, and addresses of the compiled kernels of these names."""

EDGE, STRIP, SUMS, LINE, TAP_ROWS, BAND = range(24, 120, 16)
"""Buffers, see :class:`ResizeWorkspace`."""

AXES, AXIS_BYTES = 120, 56
"""Here begin the words of four axes: columns and rows of luma or RGB, and those of chroma."""

FIRST, WEIGHTS, TAPS, IS_WIDE, SPACING = 0, 16, 32, 40, 48
"""An axis: buffers of the first sample (int32) of each output sample and of the weights (uint16, or
int32 if wide), how many weights an output sample has, whether they are wide, and how many bytes lie
between those of one tap and of the next."""

COMPONENTS, COMPONENT_BYTES = AXES + 4 * AXIS_BYTES, 104
"""Here begin the words of three components; an RGB image counts as one."""

RING, RING_PITCH, RING_MASK = 0, 16, 24
"""A component's ring of rows: a buffer, bytes from one row to the next, and one less than the
number of rows, which is a power of 2: row ``i`` of the source is in row ``i & mask`` of the ring.
"""

SOURCE, PITCH, HEIGHT, END, DONE = range(32, 72, 8)
"""Its source: the address of its first sample, bytes from one row to the next, rows, the address
behind the last byte that may be read, and rows that have come in or were passed over."""

CHANNELS, WIDTH, COLUMNS, ROWS = range(72, 104, 8)
"""Samples of a pixel, which lie side by side, pixels in a row of the output, and the addresses of
the words of its axes."""


class ResizeWorkspace(NamedTuple):
    """Scratch of one worker, made by :func:`allocate`. The arrays must stay where they are.

    Attributes:
        table: int64, what compiled code is given the address of.
        edge: source samples where rows cannot be read 16 bytes at a time.
        strip: source samples of a tile, as columns of 32 rows.
        sums: output samples of a tile, as columns of 32 rows.
        line: a finished row of RGB, and one row of each component in 16 bits.
        tap_rows: addresses of the rows that one output row is made of; and before, the weights of
            16 outputs, not yet rounded.
        band: output rows of the source's width, where these are made first.
        axes: first samples and weights of all axes.
        rings: rows between the two passes, of all components.
    """

    table: NDArray[np.int64]
    edge: NDArray[np.uint8]
    strip: NDArray[np.uint8]
    sums: NDArray[np.uint8]
    line: NDArray[np.uint8]
    tap_rows: NDArray[np.uint8]
    band: NDArray[np.uint8]
    axes: NDArray[np.uint8]
    rings: NDArray[np.uint8]


@kernel
def round_up(number: int, unit: int) -> int:
    """The next multiple of ``unit``."""
    return (number + unit - 1) // unit * unit


@kernel
def ring_rows(taps: int) -> int:
    """Rows of a ring: a strip fits beside those that the next output row needs."""
    rows = 2 * STRIP_ROWS
    while rows < taps + STRIP_ROWS:
        rows *= 2
    return rows


def allocate(
    height: int, width: int, output_size: tuple[int, int], method: str = "bilinear"
) -> ResizeWorkspace:
    """Scratch for regions of up to ``(height, width)`` pixels and outputs of ``output_size``.

    It serves ``resize_rgb``, ``resize_planes`` and ``copy_rgb``.

    Args:
        height: of the tallest region.
        width: of the widest region.
        output_size: ``(height, width)`` of the output.
        method: name of a filter, see ``weights.FILTERS``.

    Raises:
        ValueError: there is no such filter.

    Example:
        >>> sum(array.nbytes for array in allocate(375, 500, (224, 224))) < 150_000
        True
    """
    if method not in FILTERS:
        raise ValueError(f"no filter is called {method!r}; there are {', '.join(FILTERS)}")
    code, (out_height, out_width) = FILTERS[method], output_size
    row_taps = count_taps(code, height, out_height, height)
    column_taps = count_taps(code, width, out_width, width)
    tile = min(TILE, out_width)
    # Firsts of neighbours are a scale apart, or one more after rounding.
    columns = min((tile - 1) * width // out_width + 2 + column_taps, width)
    row = round_up(out_width, 64)
    across, down = 4 * round_up(out_width, 16), 4 * round_up(out_height, 16)
    axes = [across, across * column_taps, down, down * row_taps]
    rings = [ring_rows(row_taps) * pitch for pitch in (3 * row, row, row)]
    work = ResizeWorkspace(
        table=np.zeros((COMPONENTS + 3 * COMPONENT_BYTES) // 8, np.int64),
        edge=_bytes(STRIP_ROWS * round_up(3 * columns, 16)),
        strip=_bytes(STRIP_ROWS * round_up(3 * columns, 16)),
        sums=_bytes(STRIP_ROWS * round_up(3 * tile, 16)),
        line=_bytes((3 + 3 * 2) * row),
        tap_rows=_bytes(128 * max(row_taps, column_taps)),
        band=_bytes(STRIP_ROWS * round_up(3 * width, 16) if overshoots(code) else 0),
        axes=_bytes(2 * sum(axes)),
        rings=_bytes(sum(rings)),
    )
    _fill_table(work, code, 2 * axes, rings)
    return work


def _bytes(count: int) -> NDArray[np.uint8]:
    return np.zeros(count, np.uint8)


def _fill_table(
    work: ResizeWorkspace, method: int, axes: Sequence[int], rings: Sequence[int]
) -> None:
    """Write what does not change; ``axes`` and ``rings`` are sizes in bytes."""
    from ffcv_plugins.images.resampling.axis import fill_axis_entry
    from ffcv_plugins.images.resampling.ring import advance_entry

    table = work.table
    kernels = method, fill_axis_entry.address, advance_entry.address
    table[METHOD // 8 : METHOD // 8 + 3] = kernels
    for place, array in zip((EDGE, STRIP, SUMS, LINE, TAP_ROWS, BAND), work[1:7], strict=True):
        _enter(table, [place], array, [array.nbytes])
    words = [AXES + i * AXIS_BYTES + part for i in range(4) for part in (FIRST, WEIGHTS)]
    _enter(table, words, work.axes, axes)
    _enter(table, [COMPONENTS + i * COMPONENT_BYTES for i in range(3)], work.rings, rings)


def _enter(
    table: NDArray[np.int64], places: Sequence[int], array: NDArray[np.uint8], sizes: Iterable[int]
) -> None:
    """Write the words of buffers that follow each other in an array."""
    address = array.ctypes.data
    for place, size in zip(places, sizes, strict=True):
        table[place // 8 : place // 8 + 2] = address, size
        address += size

"""The table of addresses by which compiled code finds the scratch memory of resizing.

The words of the table, each int64, are given by where they lie in bytes. A buffer has two: its
address, and then its size in bytes.
"""

from __future__ import annotations

from ffcv.kernels import kernel

__all__ = [
    "ADVANCE",
    "AXES",
    "AXIS_BYTES",
    "BAND",
    "CHANNELS",
    "COLUMNS",
    "COMPONENTS",
    "COMPONENT_BYTES",
    "DONE",
    "EDGE",
    "END",
    "FILL_AXIS",
    "FIRST",
    "HEIGHT",
    "IS_WIDE",
    "LINE",
    "METHOD",
    "PITCH",
    "RING",
    "RING_MASK",
    "RING_PITCH",
    "ROWS",
    "SOURCE",
    "SPACING",
    "STRIP",
    "STRIP_ROWS",
    "SUMS",
    "TAPS",
    "TAP_ROWS",
    "TILE",
    "WEIGHTS",
    "WIDTH",
    "ring_rows",
    "round_up",
]

STRIP_ROWS = 32
"""Source rows that go through the horizontal pass together."""

TILE = 64
"""Output columns that do."""

METHOD, FILL_AXIS, ADVANCE = 0, 8, 16
"""Number of the filter, and addresses of the compiled kernels of these names."""

EDGE, STRIP, SUMS, LINE, TAP_ROWS, BAND = range(24, 120, 16)
"""Buffers, see ``workspace.ResizeWorkspace``."""

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

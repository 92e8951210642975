"""The table by which compiled code finds the scratch memory of resizing, a struct in memory.

Of a buffer the address comes first, so that its place is that of its address.
"""

from __future__ import annotations

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.structs import BUFFER, places

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
    "TABLE",
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

AXIS = np.dtype(
    [
        ("first", BUFFER),
        ("weights", BUFFER),
        ("taps", np.int64),
        ("is_wide", np.int64),
        ("spacing", np.int64),
    ]
)
"""Of each output sample of an axis the first sample (int32) and the weights (uint16, or int32 if
wide); how many weights that are, whether they are wide, and how many bytes lie between those of one
tap and of the next."""

COMPONENT = np.dtype(
    [
        ("ring", BUFFER),
        ("ring_pitch", np.int64),
        ("ring_mask", np.int64),
        ("source", np.int64),
        ("pitch", np.int64),
        ("height", np.int64),
        ("end", np.int64),
        ("done", np.int64),
        ("channels", np.int64),
        ("width", np.int64),
        ("columns", np.int64),
        ("rows", np.int64),
    ]
)
"""What is resized: a component of a JPEG, or an RGB image as a whole.

Its ring of rows, bytes from one row to the next, and one less than the number of rows, which is a
power of 2: row ``i`` of the source is in row ``i & mask`` of the ring. Its source: the address of
its first sample, bytes from one row to the next, rows, the address behind the last byte that may be
read, and rows that have come in or were passed over. Samples of a pixel, which lie side by side,
pixels in a row of the output, and the addresses of its two axes."""

TABLE = np.dtype(
    [
        ("method", np.int64),
        ("fill_axis", np.int64),
        ("advance", np.int64),
        ("edge", BUFFER),
        ("strip", BUFFER),
        ("sums", BUFFER),
        ("line", BUFFER),
        ("tap_rows", BUFFER),
        ("band", BUFFER),
        ("axes", AXIS, 4),
        ("components", COMPONENT, 3),
    ]
)
"""Number of the filter; addresses of the compiled kernels of these names; the buffers of
``workspace.ResizeWorkspace``; the axes, columns and rows of luma or RGB, and those of chroma; and
the components."""

METHOD, FILL_AXIS, ADVANCE = places(TABLE, "method", "fill_axis", "advance")
EDGE, STRIP, SUMS = places(TABLE, "edge", "strip", "sums")
LINE, TAP_ROWS, BAND = places(TABLE, "line", "tap_rows", "band")
AXES, COMPONENTS = places(TABLE, "axes", "components")

AXIS_BYTES = AXIS.itemsize
FIRST, WEIGHTS = places(AXIS, "first", "weights")
TAPS, IS_WIDE, SPACING = places(AXIS, "taps", "is_wide", "spacing")

COMPONENT_BYTES = COMPONENT.itemsize
RING, RING_PITCH, RING_MASK = places(COMPONENT, "ring", "ring_pitch", "ring_mask")
SOURCE, PITCH, HEIGHT = places(COMPONENT, "source", "pitch", "height")
END, DONE, CHANNELS = places(COMPONENT, "end", "done", "channels")
WIDTH, COLUMNS, ROWS = places(COMPONENT, "width", "columns", "rows")


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

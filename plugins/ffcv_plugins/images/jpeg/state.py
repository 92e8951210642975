"""What a decoder knows while it works on one image, as words in memory.

A kernel that is reached by address has no objects; it has a table of int64 words whose places have
names. The names are here. The table, and the buffers that it points to, belong to one worker;
:func:`ffcv_plugins.images.jpeg.memory.allocate` makes them.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.vectors import load_i64, store_i64

# The words are this module's vocabulary, used as ``state.WIDTH``.
__all__ = ["STATE_BYTES", "WORDS", "get", "put"]

WIDTH = 0
HEIGHT = 1
COMPONENTS = 2
H_FACTOR = 3
"""Luma samples for each chroma sample, horizontally: 1, 2 or 4."""
V_FACTOR = 4
"""The same vertically: 1 or 2."""
RESTART_INTERVAL = 5
"""MCUs from one restart marker to the next; 0 for none."""
SCAN = 6
"""Where the entropy-coded data begin, in bytes from the start of the stream."""
DEFINED_TABLES = 7
"""Bit ``t`` is set when this stream has defined Huffman table ``t`` (0 to 3 DC, 4 to 7 AC)."""
DEFINED_QUANTISERS = 8
"""The same for quantisation tables 0 to 3."""
ADOBE_TRANSFORM = 9
"""What an Adobe segment says about colour: 0 none, 1 YCbCr; -1 without such a segment."""
HAS_JFIF = 10

QUANTISER = 12
"""Three words: the number of each component's quantisation table."""
IDENTIFIER = 15
"""Three words: the components' identifiers."""
DC_TABLE = 18
"""Three words: the number of each component's DC table, 0 to 3."""
AC_TABLE = 21
"""Three words: the number of each component's AC table, 4 to 7."""

MCU_COLUMNS = 24
MCU_ROWS = 25
FIRST_COLUMN = 26
"""The region in MCUs: first column, column behind the last, first row, row behind the last."""
END_COLUMN = 27
FIRST_ROW = 28
END_ROW = 29
SIZE = 30
"""Pixels a side that a block is decoded to: 8, 4, 2 or 1."""
BLOCKS = 31
"""Blocks in one MCU."""
GROUPS = 32
"""Groups of 16 blocks in one batch of 16 MCUs."""

DATA = 34
"""Address of the stream, and its length in bytes."""
LENGTH = 35
ACCESS = 36
"""How the scan is entered: see ``segments``."""
INTERVAL = 37
"""MCUs of one segment."""
SEGMENTS_A_ROW = 38
ENTRIES = 39
"""Address of the side index's entries."""
FAILED = 40
"""Set to 1 by what meets a Huffman code that no table has."""
PREDICTORS = 41
"""Three words: the DC value of each component's last block."""
SEGMENT = 44
"""Number of the segment whose data are prepared, or -1."""
SEGMENT_END = 45
"""Number of the MCU behind it."""
PREPARED = 46
"""Address behind the last unstuffed byte."""
MARKER_SEGMENT = 11
"""Number of a segment between restart markers whose place is known, and that place."""
MARKER_AT = 47

PLANES = 48
"""Three times eight words; see :data:`PLANE_WORDS`."""
PLANE_WORDS = 8
P_ADDRESS, P_PITCH, P_LEFT, P_TOP, P_COLUMNS, P_ROWS, P_WIDTH, P_HEIGHT = range(8)
"""A plane holds a window of a component: its address and the bytes from one row to the next, where
the window begins in the component, how large it is, and how large the whole component is."""

LASTS = 72
"""Eight words: of each group of blocks the last place, in zigzag order, that is not zero."""

B_HUFFMAN, N_HUFFMAN = 80, 81
"""From here on: addresses (B) and sizes in bytes (N) of the buffers."""
B_DEFINITIONS, N_DEFINITIONS = 82, 83
B_QUANTISERS, N_QUANTISERS = 84, 85
B_COEFFICIENTS, N_COEFFICIENTS = 86, 87
B_ZIGZAG, N_ZIGZAG = 88, 89
B_PROGRAM, N_PROGRAM = 90, 91
B_UNSTUFFED, N_UNSTUFFED = 92, 93
B_PLANES, N_PLANES = 94, 95
B_WORK, N_WORK = 96, 97
B_ROWS, N_ROWS = 98, 99

WORDS = 100
STATE_BYTES = 8 * WORDS
"""Behind it lies the state of the second one of two rows that are decoded at once (``pairs``)."""


@kernel
def get(state: Any, word: Any) -> int:
    """The word's value."""
    return load_i64(state + 8 * word)


@kernel
def put(state: Any, word: Any, value: Any) -> None:
    """Give the word a value."""
    store_i64(state + 8 * word, value)

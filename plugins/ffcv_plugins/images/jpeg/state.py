"""What a decoder knows while it works on one image, as words in memory.

A kernel that is reached by address has no objects; it has a table of int64 words whose places have
names. The names are here. The table, and the buffers that it points to, belong to one worker;
:func:`ffcv_plugins.images.jpeg.memory.allocate` makes them.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.structs import places
from ffcv.kernels.vectors import load_i64, store_i64
from ffcv_plugins.images.decoded import DECODED
from ffcv_plugins.raster.resizing.planes import PLANE

# The words are this module's vocabulary, used as ``state.WIDTH``.
__all__ = ["STATE_BYTES", "WORDS", "get", "put"]

WIDTH, HEIGHT, COMPONENTS, H_FACTOR, V_FACTOR, PLANES = (
    place // 8
    for place in places(DECODED, "width", "height", "components", "across", "down", "planes")
)
"""What a codec tells of an image, see ``decoded.DECODED``. There are 1, 2 or 4 samples of luma for
one of chroma horizontally, and 1 or 2 vertically. Planes have ``PLANE_WORDS`` each. All else is for
the decoder alone."""

PLANE_WORDS = PLANE.itemsize // 8
P_ADDRESS, P_PITCH, P_LEFT, P_TOP, P_COLUMNS, P_ROWS, P_WIDTH, P_HEIGHT = (
    place // 8
    for place in places(
        PLANE, "address", "pitch", "left", "top", "columns", "rows", "width", "height"
    )
)

RESTART_INTERVAL = 29
"""MCUs from one restart marker to the next; 0 for none."""
SCAN = 30
"""Where the entropy-coded data begin, in bytes from the start of the stream."""
DEFINED_TABLES = 31
"""Bit ``t`` is set when this stream has defined Huffman table ``t`` (0 to 3 DC, 4 to 7 AC)."""
DEFINED_QUANTISERS = 32
"""The same for quantisation tables 0 to 3."""
ADOBE_TRANSFORM = 33
"""What an Adobe segment says about colour: 0 none, 1 YCbCr; -1 without such a segment."""
HAS_JFIF = 34

QUANTISER = 36
"""Three words: the number of each component's quantisation table."""
IDENTIFIER = 39
"""Three words: the components' identifiers."""
DC_TABLE = 42
"""Three words: the number of each component's DC table, 0 to 3."""
AC_TABLE = 45
"""Three words: the number of each component's AC table, 4 to 7."""

MCU_COLUMNS = 48
MCU_ROWS = 49
FIRST_COLUMN = 50
"""The region in MCUs: first column, column behind the last, first row, row behind the last."""
END_COLUMN = 51
FIRST_ROW = 52
END_ROW = 53
SIZE = 54
"""Pixels a side that a block is decoded to: 8, 4, 2 or 1."""
BLOCKS = 55
"""Blocks in one MCU."""
GROUPS = 56
"""Groups of 16 blocks in one batch of 16 MCUs."""

DATA = 58
"""Address of the stream, and its length in bytes."""
LENGTH = 59
ACCESS = 60
"""How the scan is entered: see ``segments``."""
INTERVAL = 61
"""MCUs of one segment."""
SEGMENTS_A_ROW = 62
ENTRIES = 63
"""Address of the side index's entries."""
FAILED = 64
"""Set to 1 by what meets a Huffman code that no table has."""
PREDICTORS = 65
"""Three words: the DC value of each component's last block."""
SEGMENT = 68
"""Number of the segment whose data are prepared, or -1."""
SEGMENT_END = 69
"""Number of the MCU behind it."""
PREPARED = 70
"""Address behind the last unstuffed byte."""
MARKER_SEGMENT = 35
"""Number of a segment between restart markers whose place is known, and that place."""
MARKER_AT = 71

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

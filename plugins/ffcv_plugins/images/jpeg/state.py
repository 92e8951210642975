"""What a decoder knows while it works on one image, a struct in memory.

It consists of int64 words, which kernels get and put by their numbers. The memory, and the buffers
that it points to, belong to one worker; :func:`ffcv_plugins.images.jpeg.memory.allocate` makes
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.structs import BUFFER, places
from ffcv.kernels.vectors import load_i64, store_i64
from ffcv_plugins.images.decoded import DECODED
from ffcv_plugins.raster.resizing.planes import PLANE

# The words are this module's vocabulary, used as ``state.WIDTH``.
__all__ = ["BUFFERS", "STATE", "STATE_BYTES", "WORDS", "get", "put"]

BUFFERS = np.dtype(
    [
        ("huffman", BUFFER),
        ("definitions", BUFFER),
        ("quantisers", BUFFER),
        ("coefficients", BUFFER),
        ("zigzag", BUFFER),
        ("program", BUFFER),
        ("unstuffed", BUFFER),
        ("planes", BUFFER),
        ("work", BUFFER),
        ("rows", BUFFER),
    ]
)
"""The buffers of ``memory.DecoderMemory``."""

STATE = np.dtype(
    [
        ("decoded", DECODED),  # what a codec tells of an image; all else is for the decoder alone
        ("restart_interval", np.int64),  # MCUs from one restart marker to the next; 0 for none
        ("scan", np.int64),  # where the entropy-coded data begin, from the start of the stream
        ("defined_tables", np.int64),  # bit t: this stream has Huffman table t (0-3 DC, 4-7 AC)
        ("defined_quantisers", np.int64),  # the same for quantisation tables 0 to 3
        ("adobe_transform", np.int64),  # of an Adobe segment: 0 none, 1 YCbCr; -1 without one
        ("has_jfif", np.int64),
        ("quantiser", np.int64, 3),  # number of each component's quantisation table
        ("identifier", np.int64, 3),  # of each component
        ("dc_table", np.int64, 3),  # number of each component's DC table, 0 to 3
        ("ac_table", np.int64, 3),  # and of its AC table, 4 to 7
        ("mcu_columns", np.int64),
        ("mcu_rows", np.int64),
        ("first_column", np.int64),  # the region in MCUs; ends are behind the last
        ("end_column", np.int64),
        ("first_row", np.int64),
        ("end_row", np.int64),
        ("size", np.int64),  # pixels a side that a block is decoded to: 8, 4, 2 or 1
        ("blocks", np.int64),  # in one MCU
        ("groups", np.int64),  # of 16 blocks in one batch of 16 MCUs
        ("data", np.int64),  # address of the stream
        ("length", np.int64),  # of the stream in bytes
        ("access", np.int64),  # how the scan is entered, see segments
        ("interval", np.int64),  # MCUs of one segment
        ("segments_a_row", np.int64),
        ("entries", np.int64),  # address of the side index's entries
        ("failed", np.int64),  # set to 1 by what meets a Huffman code that no table has
        ("predictors", np.int64, 3),  # DC value of each component's last block
        ("segment", np.int64),  # number of the segment whose data are prepared, or -1
        ("segment_end", np.int64),  # number of the MCU behind it
        ("prepared", np.int64),  # address behind the last unstuffed byte
        ("marker_segment", np.int64),  # number of a segment between restart markers whose place
        ("marker_at", np.int64),  # is known, and that place
        ("lasts", np.int64, 8),  # of each group the last place, in zigzag order, that is not zero
        ("buffers", BUFFERS),
    ]
)
"""The state. There are 1, 2 or 4 samples of luma for one of chroma horizontally, and 1 or 2
vertically."""

WORDS, STATE_BYTES = STATE.itemsize // 8, STATE.itemsize
"""Behind it lies the state of the second one of two rows that are decoded at once (``pairs``)."""


def _words(layout: np.dtype[Any], *names: str) -> tuple[int, ...]:
    return tuple(place // 8 for place in places(layout, *names))


WIDTH, HEIGHT, COMPONENTS = _words(DECODED, "width", "height", "components")
(IN_PARTS,) = _words(DECODED, "in_parts")
H_FACTOR, V_FACTOR, PLANES = _words(DECODED, "across", "down", "planes")

PLANE_WORDS = PLANE.itemsize // 8
P_ADDRESS, P_PITCH, P_LEFT, P_TOP = _words(PLANE, "address", "pitch", "left", "top")
P_COLUMNS, P_ROWS, P_WIDTH, P_HEIGHT = _words(PLANE, "columns", "rows", "width", "height")

RESTART_INTERVAL, SCAN = _words(STATE, "restart_interval", "scan")
DEFINED_TABLES, DEFINED_QUANTISERS = _words(STATE, "defined_tables", "defined_quantisers")
ADOBE_TRANSFORM, HAS_JFIF = _words(STATE, "adobe_transform", "has_jfif")
QUANTISER, IDENTIFIER = _words(STATE, "quantiser", "identifier")
DC_TABLE, AC_TABLE = _words(STATE, "dc_table", "ac_table")

MCU_COLUMNS, MCU_ROWS = _words(STATE, "mcu_columns", "mcu_rows")
FIRST_COLUMN, END_COLUMN = _words(STATE, "first_column", "end_column")
FIRST_ROW, END_ROW = _words(STATE, "first_row", "end_row")
SIZE, BLOCKS, GROUPS = _words(STATE, "size", "blocks", "groups")

DATA, LENGTH, ACCESS = _words(STATE, "data", "length", "access")
INTERVAL, SEGMENTS_A_ROW, ENTRIES = _words(STATE, "interval", "segments_a_row", "entries")
FAILED, PREDICTORS = _words(STATE, "failed", "predictors")
SEGMENT, SEGMENT_END, PREPARED = _words(STATE, "segment", "segment_end", "prepared")
MARKER_SEGMENT, MARKER_AT = _words(STATE, "marker_segment", "marker_at")
(LASTS,) = _words(STATE, "lasts")


def _buffer(name: str) -> tuple[int, ...]:
    return _words(STATE, f"buffers.{name}.address", f"buffers.{name}.nbytes")


# Addresses (B) and sizes in bytes (N) of the buffers.
B_HUFFMAN, N_HUFFMAN = _buffer("huffman")
B_DEFINITIONS, N_DEFINITIONS = _buffer("definitions")
B_QUANTISERS, N_QUANTISERS = _buffer("quantisers")
B_COEFFICIENTS, N_COEFFICIENTS = _buffer("coefficients")
B_ZIGZAG, N_ZIGZAG = _buffer("zigzag")
B_PROGRAM, N_PROGRAM = _buffer("program")
B_UNSTUFFED, N_UNSTUFFED = _buffer("unstuffed")
B_PLANES, N_PLANES = _buffer("planes")
B_WORK, N_WORK = _buffer("work")
B_ROWS, N_ROWS = _buffer("rows")


@kernel
def get(state: Any, word: Any) -> int:
    """The word's value."""
    return load_i64(state + 8 * word)


@kernel
def put(state: Any, word: Any, value: Any) -> None:
    """Give the word a value."""
    store_i64(state + 8 * word, value)

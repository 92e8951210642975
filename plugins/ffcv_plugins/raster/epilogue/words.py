"""The words of an epilogue's record, by which compiled code finds what is to be done.

A record is one int64 array. Behind the words that are named here lie the changes of color, the
rectangles, and scratch for one row. How many there are room for stands in the record, so that one
may be as large as its pipeline needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ffcv.kernels import kernel
from ffcv.kernels.vectors import load_i64

__all__ = [
    "APPLY",
    "BAD_NORMALIZATION",
    "BAD_SIZE",
    "BAD_TABLE",
    "COLOR",
    "COLORS",
    "COLOR_ROOM",
    "COLOR_WORDS",
    "CONSTANTS",
    "DESTINATION",
    "EPILOGUE_ERRORS",
    "HEIGHT",
    "IS_PLANAR",
    "KIND",
    "LINE",
    "MIRROR",
    "NO_ROOM",
    "ONE_OF_ITS_OWN",
    "OPEN",
    "PAST_CACHE",
    "PHASES",
    "PROBLEM",
    "RECTANGLE",
    "RECTANGLES",
    "RECTANGLE_ROOM",
    "RECTANGLE_WORDS",
    "TABLE",
    "WIDTH",
    "WRONG_PHASE",
    "is_plain",
    "word",
]

APPLY, DESTINATION, HEIGHT, WIDTH = range(4)
"""Addresses of the compiled ``apply_epilogue`` and of the sample, and its size in pixels."""

MIRROR, TABLE, CONSTANTS, KIND, IS_PLANAR, PAST_CACHE = range(4, 10)
"""Whether left and right are exchanged; addresses of a table and of a normalization, or 0; the kind
of numbers, see ``raster.normalization``; whether channels are apart; and whether rows are written
past the cache."""

COLORS, COLOR_ROOM, RECTANGLES, RECTANGLE_ROOM = range(10, 14)
"""How many changes of color and how many rectangles there are, and how many there is room for."""

RECTANGLE, LINE, PROBLEM = range(14, 17)
"""Where the rectangles and the scratch begin, as numbers of words; and what was wrong with what an
operation asked for, a key of ``EPILOGUE_ERRORS`` or 0."""

PHASES, OPEN = range(17, 19)
"""Bit ``1 << phase`` for each phase of the fusions, and for those that this sample's operations
have not written yet."""

COLOR = 19
"""Where the changes of color begin."""

COLOR_WORDS, RECTANGLE_WORDS = 3, 7
"""A change of color: its kind, the bits of its factor, and whether that is quick, see
``raster.colors``. A rectangle: top, left, bottom, right, red, green and blue."""

NO_ROOM, BAD_TABLE, BAD_NORMALIZATION, BAD_SIZE, WRONG_PHASE = range(101, 106)

ONE_OF_ITS_OWN = "an operation that it does in its own pass"

EPILOGUE_ERRORS: Mapping[int, str] = {
    NO_ROOM: f"{ONE_OF_ITS_OWN} adds more rectangles or changes of color "
    "than the count of its Fusion says, or a change of an unknown kind",
    BAD_TABLE: f"{ONE_OF_ITS_OWN} sets a table that is not (3, 256) uint8, "
    "contiguous, by channel and value",
    BAD_NORMALIZATION: f"{ONE_OF_ITS_OWN} normalizes, but sets no "
    "constants that raster.normalization made for the kind of its Fusion",
    BAD_SIZE: "its epilogue was made for images of another size",
    WRONG_PHASE: f"{ONE_OF_ITS_OWN} mirrors, sets a table or normalizes, but "
    "the phase of its Fusion is another one, or it does so twice",
}
"""What the codes mean that ``open_epilogue`` returns; a decoder has them among its ``errors``."""


@kernel
def word(epilogue: int, index: int) -> int:
    """A word of the record at an address."""
    return load_i64(epilogue + 8 * index)


@kernel
def is_plain(epilogue: int) -> bool:
    """Whether rows of bytes stay as they are; of the record at an address."""
    changed = word(epilogue, MIRROR) | word(epilogue, KIND) | word(epilogue, IS_PLANAR)
    changed |= word(epilogue, TABLE) | word(epilogue, COLORS) | word(epilogue, RECTANGLES)
    return changed == 0

"""What happens to each finished row of RGB bytes, while it is in the cache.

In this order: a table replaces values, rectangles are filled, and the row is written to its place
in the sample: as bytes or normalised, pixel by pixel or channel by channel.

A sample's :func:`record` says what to do. It is an int64 array, whose address compiled code is
given; kernels change the words of a sample by their names, ``record[DESTINATION] = …``, and so
each worker needs one of its own.

**Memory.** A sample has ``HEIGHT * WIDTH * 3`` numbers of ``KIND`` from ``DESTINATION`` on, and all
of them are written, each row by the kernels of ``ffcv_plugins.pixels.rows``, which keep to it.
Rectangles are cut at the sample's edges. ``LOOKUP`` is the address of ``(3, 256)`` bytes or 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel
from ffcv.pipeline.entry import Entry
from ffcv.vectors import load_i64
from ffcv_plugins.pixels.normalization import FLOAT32, UINT8
from ffcv_plugins.pixels.rows import copy_row, fill_row, lookup_row, normalise_row, split_row

__all__ = [
    "CONSTANTS",
    "DESTINATION",
    "FINISH_ROW",
    "HEIGHT",
    "IS_PLANAR",
    "KIND",
    "LOOKUP",
    "MIRROR",
    "MOST_RECTANGLES",
    "RECTANGLE",
    "RECTANGLES",
    "RECTANGLE_WORDS",
    "WIDTH",
    "Finish",
    "Rectangle",
    "check",
    "finish_row",
    "finish_row_entry",
    "is_plain",
    "record",
    "word",
]

FINISH_ROW, DESTINATION, HEIGHT, WIDTH, MIRROR, KIND, IS_PLANAR, LOOKUP, CONSTANTS, RECTANGLES = (
    range(10)
)
"""Words of a record: addresses of the compiled :func:`finish_row` and of the sample, its size in
pixels, whether rows are mirrored, the kind of numbers (see ``ffcv_plugins.pixels.normalization``),
whether channels are apart, address of a table or 0, address of a normalisation (for kinds other
than bytes), number of rectangles."""

RECTANGLE = 10
"""From here on the rectangles: top, left, bottom, right, red, green and blue of each."""

RECTANGLE_WORDS = 7
MOST_RECTANGLES = 4

_WORDS = RECTANGLE + RECTANGLE_WORDS * MOST_RECTANGLES


class Rectangle(NamedTuple):
    """Pixels from ``top`` to ``bottom`` and from ``left`` to ``right`` that get one colour.

    Positions are those of the output, after mirroring; parts outside of it do not matter.
    """

    top: int
    left: int
    bottom: int
    right: int
    red: int = 0
    green: int = 0
    blue: int = 0


class Finish(NamedTuple):
    """What happens to finished pixels.

    Attributes:
        mirror: whether left and right are exchanged.
        kind: ``UINT8``, ``FLOAT16``, ``BFLOAT16`` or ``FLOAT32``.
        planar: whether the result is ``(3, H, W)`` instead of ``(H, W, 3)``.
        lookup: ``(3, 256)`` uint8, what values become first; or ``None``.
        constants: what ``normalization`` gave for this kind; ``None`` for bytes.
        rectangles: up to four, filled after that.
    """

    mirror: bool = False
    kind: int = UINT8
    planar: bool = False
    lookup: NDArray[np.uint8] | None = None
    constants: NDArray[np.uint8] | None = None
    rectangles: tuple[Rectangle, ...] = ()


def record(finish: Finish, height: int, width: int, destination: int = 0) -> NDArray[np.int64]:
    """A record for samples of one size.

    It holds addresses: the arrays of ``finish`` must outlive it.

    Args:
        finish: what to do.
        height: of the sample, in pixels.
        width: of the sample.
        destination: address of the sample.

    Raises:
        ValueError: see :func:`check`.
    """
    check(finish)
    words = np.zeros(_WORDS, np.int64)
    words[:RECTANGLE] = (
        finish_row_entry.address,
        destination,
        height,
        width,
        finish.mirror,
        finish.kind,
        finish.planar,
        0 if finish.lookup is None else finish.lookup.ctypes.data,
        0 if finish.constants is None else finish.constants.ctypes.data,
        len(finish.rectangles),
    )
    for i, rectangle in enumerate(finish.rectangles):
        begin = RECTANGLE + i * RECTANGLE_WORDS
        words[begin : begin + RECTANGLE_WORDS] = rectangle
    return words


def check(finish: Finish) -> None:
    """See that the parts fit together.

    Raises:
        ValueError: there are too many rectangles, the kind needs constants that are missing, or
            an array has another shape or dtype.
    """
    if len(finish.rectangles) > MOST_RECTANGLES:
        raise ValueError(f"at most {MOST_RECTANGLES} rectangles, not {len(finish.rectangles)}")
    if (finish.constants is None) != (finish.kind == UINT8):
        raise ValueError(
            "floating-point kinds need the constants of a normalisation, and bytes cannot have them"
        )
    lookup = finish.lookup
    if lookup is not None and not (
        lookup.dtype == np.uint8 and lookup.shape == (3, 256) and lookup.flags.c_contiguous
    ):
        raise ValueError("lookup must be (3, 256) uint8, contiguous")


@kernel
def word(finish: int, index: int) -> int:
    """A word of the record at an address."""
    return load_i64(finish + 8 * index)


@kernel
def is_plain(finish: int) -> bool:
    """Whether rows of bytes stay as they are."""
    changed = word(finish, MIRROR) | word(finish, KIND) | word(finish, IS_PLANAR)
    return changed | word(finish, LOOKUP) | word(finish, RECTANGLES) == 0


@kernel
def finish_row(finish: int, row: int, line: int, y: int) -> int:
    """Finish row ``y`` of a sample.

    Args:
        finish: address of the record.
        row: address of its pixels, mirrored already.
        line: address of scratch for a row, or ``row``, which is changed then.
        y: which row.

    Returns:
        0.
    """
    width, lookup = word(finish, WIDTH), word(finish, LOOKUP)
    if lookup:
        lookup_row(row, line, width, lookup)
        row = line
    if word(finish, RECTANGLES):
        if row != line:
            copy_row(row, line, 3 * width)
            row = line
        _fill_rectangles(finish, line, y)
    _write_row(finish, row, y)
    return 0


@kernel
def _fill_rectangles(finish: int, line: int, y: int) -> None:
    for i in range(min(word(finish, RECTANGLES), MOST_RECTANGLES)):
        begin = RECTANGLE + RECTANGLE_WORDS * i
        left = max(word(finish, begin + 1), 0)
        right = min(word(finish, begin + 3), word(finish, WIDTH))
        if word(finish, begin) <= y < word(finish, begin + 2) and left < right:
            red, green = word(finish, begin + 4), word(finish, begin + 5)
            fill_row(line + 3 * left, right - left, red, green, word(finish, begin + 6))


@kernel
def _write_row(finish: int, row: int, y: int) -> None:
    width, kind = word(finish, WIDTH), word(finish, KIND)
    planar = word(finish, IS_PLANAR)
    size = 1 if kind == UINT8 else (4 if kind == FLOAT32 else 2)
    plane = size * width * word(finish, HEIGHT) if planar else 0
    target = word(finish, DESTINATION) + (1 if planar else 3) * size * width * y
    if kind != UINT8:
        normalise_row(row, target, width, plane, kind, word(finish, CONSTANTS))
    elif planar:
        split_row(row, target, width, plane)
    else:
        copy_row(row, target, 3 * width)


finish_row_entry = Entry(finish_row)

"""What happens to each finished row of RGB bytes, while it is in the cache.

In this order: a table replaces values, colours are changed, rectangles are filled, and the row is
written to its place in the sample: as bytes or normalised, pixel by pixel or channel by channel.

A sample's :func:`record` says what to do. It is an int64 array, whose address compiled code is
given; kernels change the words of a sample by their names, ``record[DESTINATION] = …``, and so
each worker needs one of its own.

**Memory.** A sample has ``HEIGHT * WIDTH * 3`` numbers of ``KIND`` from ``DESTINATION`` on, and all
of them are written, each row by the kernels of ``ffcv_plugins.raster``, which keep to it.
Rectangles are cut at the sample's edges. ``LOOKUP`` is the address of ``(3, 256)`` bytes or 0.
Of rectangles and changes of colour no more are looked at than the record has room for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import address_of, load_f64, load_i64, prefetch, store_f64
from ffcv.pipeline import kernel
from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION, blend_row, is_quick, saturate_row
from ffcv_plugins.raster.normalization import FLOAT32, UINT8
from ffcv_plugins.raster.rows import (
    copy_row,
    fill_row,
    lookup_row,
    normalise_row,
    split_row,
    stream_row,
)

__all__ = [
    "COLORS",
    "CONSTANTS",
    "DESTINATION",
    "FINISH_ROW",
    "HEIGHT",
    "IS_PLANAR",
    "KIND",
    "LOOKUP",
    "MIRROR",
    "MOST_COLORS",
    "MOST_RECTANGLES",
    "PAST_CACHE",
    "RECTANGLE",
    "RECTANGLES",
    "RECTANGLE_WORDS",
    "WIDTH",
    "Color",
    "Finish",
    "Rectangle",
    "add_color",
    "check",
    "finish_row",
    "finish_row_entry",
    "is_plain",
    "record",
    "word",
]

FINISH_ROW, DESTINATION, HEIGHT, WIDTH, MIRROR, KIND, IS_PLANAR, LOOKUP, CONSTANTS = range(9)
"""Words of a record: addresses of the compiled :func:`finish_row` and of the sample, its size in
pixels, whether rows are mirrored, the kind of numbers (see ``ffcv_plugins.raster.normalization``),
whether channels are apart, address of a table or 0, and address of a normalisation (for kinds
other than bytes)."""

COLORS, RECTANGLES, PAST_CACHE = 9, 10, 11
"""How many changes of colour and how many rectangles there are, and whether rows are written past
the cache."""

RECTANGLE = 12
"""From here on the rectangles: top, left, bottom, right, red, green and blue of each."""

RECTANGLE_WORDS = 7
MOST_RECTANGLES = 4

_COLOR = RECTANGLE + RECTANGLE_WORDS * MOST_RECTANGLES
"""From here on the changes of colour: of each its kind, the bits of its factor, and whether that is
quick, see ``ffcv_plugins.raster.colors``."""

_COLOR_WORDS = 3
MOST_COLORS = 4

_WORDS = _COLOR + _COLOR_WORDS * MOST_COLORS


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


class Color(NamedTuple):
    """A change of colour: ``BRIGHTNESS`` or ``SATURATION``, and by which factor."""

    kind: int
    factor: float


class Finish(NamedTuple):
    """What happens to finished pixels.

    Attributes:
        mirror: whether left and right are exchanged.
        kind: ``UINT8``, ``FLOAT16``, ``BFLOAT16`` or ``FLOAT32``.
        planar: whether the result is ``(3, H, W)`` instead of ``(H, W, 3)``.
        lookup: ``(3, 256)`` uint8, what values become first; or ``None``.
        constants: what ``normalization`` gave for this kind; ``None`` for bytes.
        rectangles: up to four, filled after colours have changed.
        colors: up to four changes of colour, in this order.
        past_cache: whether rows are written past the cache, of bytes pixel by pixel only. A
            ``fence`` is due behind the sample's last row then.
    """

    mirror: bool = False
    kind: int = UINT8
    planar: bool = False
    lookup: NDArray[np.uint8] | None = None
    constants: NDArray[np.uint8] | None = None
    rectangles: tuple[Rectangle, ...] = ()
    colors: tuple[Color, ...] = ()
    past_cache: bool = False


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
        len(finish.colors),
        len(finish.rectangles),
        finish.past_cache,
    )
    for i, rectangle in enumerate(finish.rectangles):
        begin = RECTANGLE + i * RECTANGLE_WORDS
        words[begin : begin + RECTANGLE_WORDS] = rectangle
    for i, (kind, factor) in enumerate(finish.colors):
        bits = np.float64(factor).view(np.int64)
        begin = _COLOR + i * _COLOR_WORDS
        words[begin : begin + _COLOR_WORDS] = kind, bits, is_quick(factor)
    return words


def check(finish: Finish) -> None:
    """See that the parts fit together.

    Raises:
        ValueError: there are too many rectangles or changes of colour, the kind needs constants
            that are missing, an array has another shape or dtype, or what is written past the cache
            is not bytes pixel by pixel.
    """
    if len(finish.rectangles) > MOST_RECTANGLES:
        raise ValueError(f"at most {MOST_RECTANGLES} rectangles, not {len(finish.rectangles)}")
    if len(finish.colors) > MOST_COLORS:
        raise ValueError(f"at most {MOST_COLORS} changes of colour, not {len(finish.colors)}")
    if any(color.kind not in (BRIGHTNESS, SATURATION) for color in finish.colors):
        raise ValueError(f"a change of colour is of kind {BRIGHTNESS} or {SATURATION}")
    if (finish.constants is None) != (finish.kind == UINT8):
        raise ValueError(
            "floating-point kinds need the constants of a normalisation, and bytes cannot have them"
        )
    if finish.past_cache and (finish.kind != UINT8 or finish.planar):
        raise ValueError("only bytes pixel by pixel are written past the cache")
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
    changed |= word(finish, LOOKUP) | word(finish, COLORS) | word(finish, RECTANGLES)
    return changed == 0


@kernel
def add_color(words: Any, kind: int, factor: float) -> None:
    """Add a change of colour to a record, while there is room.

    Args:
        words: the record itself.
        kind: ``BRIGHTNESS`` or ``SATURATION``.
        factor: by which.
    """
    count = words[COLORS]
    if 0 <= count < MOST_COLORS:
        place = _COLOR + _COLOR_WORDS * count
        words[place], words[place + 2] = kind, 1 if is_quick(factor) else 0
        store_f64(address_of(words) + 8 * (place + 1), factor)
        words[COLORS] = count + 1


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
    place = _place(finish, y)
    # Bytes that stay as they lie come to their place with the last change, and not with a copy.
    apart = word(finish, KIND) | word(finish, IS_PLANAR) | word(finish, PAST_CACHE)
    last = line if apart else place
    colors = min(word(finish, COLORS), MOST_COLORS)
    for i in range(colors):
        target = last if i == colors - 1 else line
        _change_color(finish, row, target, i)
        row = target
    if word(finish, RECTANGLES):
        if row != last:
            copy_row(row, last, 3 * width)
            row = last
        _fill_rectangles(finish, row, y)
    if row != place:
        _write_row(finish, row, place)
    _prefetch(finish, y + 2)
    return 0


@kernel
def _size(finish: int) -> int:
    """Bytes of a number."""
    kind = word(finish, KIND)
    return 1 if kind == UINT8 else (4 if kind == FLOAT32 else 2)


@kernel
def _place(finish: int, y: int) -> int:
    """Where a row of the sample begins."""
    numbers = (1 if word(finish, IS_PLANAR) else 3) * word(finish, WIDTH) * y
    return word(finish, DESTINATION) + _size(finish) * numbers


@kernel
def _prefetch(finish: int, y: int) -> None:
    """Have the place of a row on its way from memory.

    A hint may be about an address that is none, so the row may lie behind the last. Float32 side by
    side fills whole lines of the cache, of which nothing needs to be fetched, and what is written
    past the cache needs nothing of it at all.
    """
    planar, size = word(finish, IS_PLANAR), _size(finish)
    if word(finish, PAST_CACHE) or (size == 4 and not planar):
        return
    place, count = _place(finish, y), size * word(finish, WIDTH)
    step = count * word(finish, HEIGHT) if planar else count
    for third in range(3):
        begin = place + third * step
        for at in range(begin, begin + count, 64):
            prefetch(at)


@kernel
def _change_color(finish: int, row: int, line: int, number: int) -> None:
    """Make one of the changes of colour."""
    place, width = _COLOR + _COLOR_WORDS * number, word(finish, WIDTH)
    factor, quick = load_f64(finish + 8 * (place + 1)), word(finish, place + 2) != 0
    if word(finish, place) == BRIGHTNESS:
        blend_row(row, line, width, factor, 0, quick)
    else:
        saturate_row(row, line, width, factor, quick)


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
def _write_row(finish: int, row: int, place: int) -> None:
    width, kind = word(finish, WIDTH), word(finish, KIND)
    planar = word(finish, IS_PLANAR)
    plane = _size(finish) * width * word(finish, HEIGHT) if planar else 0
    if kind != UINT8:
        normalise_row(row, place, width, plane, kind, word(finish, CONSTANTS))
    elif planar:
        split_row(row, place, width, plane)
    elif word(finish, PAST_CACHE):
        stream_row(row, place, 3 * width)
    else:
        copy_row(row, place, 3 * width)


finish_row_entry = Entry(finish_row)

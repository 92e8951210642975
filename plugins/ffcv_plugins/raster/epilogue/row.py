"""What happens to each finished row of RGB bytes, while it is in the cache.

In this order: a table replaces values, colors are changed, rectangles are filled, and the row is
written to its place in the sample: as bytes or normalized, pixel by pixel or channel by channel.
What is to be done is in the sample's record, see ``words``.

**Memory.** A sample has ``HEIGHT * WIDTH * 3`` numbers of ``KIND`` from ``DESTINATION`` on, and all
of them are written, each row by the kernels of ``raster``, which keep to it. Rectangles are cut at
the sample's edges. ``TABLE`` is the address of ``(3, 256)`` bytes or 0. Of rectangles and changes
of color no more are looked at than the record has room for.
"""

from __future__ import annotations

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import load_f64, prefetch
from ffcv_plugins.raster.colors import BRIGHTNESS, blend_row, saturate_row
from ffcv_plugins.raster.epilogue.words import (
    COLOR,
    COLOR_ROOM,
    COLOR_WORDS,
    COLORS,
    CONSTANTS,
    DESTINATION,
    HEIGHT,
    IS_PLANAR,
    KIND,
    PAST_CACHE,
    RECTANGLE,
    RECTANGLE_ROOM,
    RECTANGLE_WORDS,
    RECTANGLES,
    TABLE,
    WIDTH,
    word,
)
from ffcv_plugins.raster.normalization import FLOAT32, UINT8
from ffcv_plugins.raster.rows import (
    copy_row,
    fill_row,
    lookup_row,
    normalize_row,
    split_row,
    stream_row,
)

__all__ = ["apply_epilogue", "apply_epilogue_entry"]


@kernel
def apply_epilogue(epilogue: int, row: int, line: int, y: int) -> int:
    """Do to row ``y`` of a sample all that is to be done, and write it to its place.

    Args:
        epilogue: address of the record.
        row: address of its pixels, mirrored already.
        line: address of scratch for a row, or ``row``, which is changed then.
        y: which row.

    Returns:
        0.
    """
    width, table = word(epilogue, WIDTH), word(epilogue, TABLE)
    if table:
        lookup_row(row, line, width, table)
        row = line
    place = _place(epilogue, y)
    # Bytes that stay as they lie come to their place with the last change, and not with a copy.
    apart = word(epilogue, KIND) | word(epilogue, IS_PLANAR) | word(epilogue, PAST_CACHE)
    last = line if apart else place
    colors = min(word(epilogue, COLORS), word(epilogue, COLOR_ROOM))
    for i in range(colors):
        target = last if i == colors - 1 else line
        _change_color(epilogue, row, target, i)
        row = target
    if word(epilogue, RECTANGLES):
        if row != last:
            copy_row(row, last, 3 * width)
            row = last
        _fill_rectangles(epilogue, row, y)
    if row != place:
        _write_row(epilogue, row, place)
    _prefetch(epilogue, y + 2)
    return 0


@kernel
def _size(epilogue: int) -> int:
    """Bytes of a number."""
    kind = word(epilogue, KIND)
    return 1 if kind == UINT8 else (4 if kind == FLOAT32 else 2)


@kernel
def _place(epilogue: int, y: int) -> int:
    """Where a row of the sample begins."""
    numbers = (1 if word(epilogue, IS_PLANAR) else 3) * word(epilogue, WIDTH) * y
    return word(epilogue, DESTINATION) + _size(epilogue) * numbers


@kernel
def _prefetch(epilogue: int, y: int) -> None:
    """Have the place of a row on its way from memory.

    A hint may be about an address that is none, so the row may lie behind the last. Float32 side by
    side fills whole lines of the cache, of which nothing needs to be fetched, and what is written
    past the cache needs nothing of it at all.
    """
    planar, size = word(epilogue, IS_PLANAR), _size(epilogue)
    if word(epilogue, PAST_CACHE) or (size == 4 and not planar):
        return
    place, count = _place(epilogue, y), size * word(epilogue, WIDTH)
    step = count * word(epilogue, HEIGHT) if planar else count
    for third in range(3):
        begin = place + third * step
        for at in range(begin, begin + count, 64):
            prefetch(at)


@kernel
def _change_color(epilogue: int, row: int, line: int, number: int) -> None:
    """Make one of the changes of colour."""
    place, width = COLOR + COLOR_WORDS * number, word(epilogue, WIDTH)
    factor, quick = load_f64(epilogue + 8 * (place + 1)), word(epilogue, place + 2) != 0
    if word(epilogue, place) == BRIGHTNESS:
        blend_row(row, line, width, factor, 0, quick)
    else:
        saturate_row(row, line, width, factor, quick)


@kernel
def _fill_rectangles(epilogue: int, line: int, y: int) -> None:
    first = word(epilogue, RECTANGLE)
    for i in range(min(word(epilogue, RECTANGLES), word(epilogue, RECTANGLE_ROOM))):
        begin = first + RECTANGLE_WORDS * i
        left = max(word(epilogue, begin + 1), 0)
        right = min(word(epilogue, begin + 3), word(epilogue, WIDTH))
        if word(epilogue, begin) <= y < word(epilogue, begin + 2) and left < right:
            red, green = word(epilogue, begin + 4), word(epilogue, begin + 5)
            fill_row(line + 3 * left, right - left, red, green, word(epilogue, begin + 6))


@kernel
def _write_row(epilogue: int, row: int, place: int) -> None:
    width, kind = word(epilogue, WIDTH), word(epilogue, KIND)
    planar = word(epilogue, IS_PLANAR)
    plane = _size(epilogue) * width * word(epilogue, HEIGHT) if planar else 0
    if kind != UINT8:
        normalize_row(row, place, width, plane, kind, word(epilogue, CONSTANTS))
    elif planar:
        split_row(row, place, width, plane)
    elif word(epilogue, PAST_CACHE):
        stream_row(row, place, 3 * width)
    else:
        copy_row(row, place, 3 * width)


apply_epilogue_entry = Entry(apply_epilogue)

"""Making the record of an epilogue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION, is_quick
from ffcv_plugins.raster.epilogue import words as w
from ffcv_plugins.raster.epilogue.row import apply_epilogue_entry
from ffcv_plugins.raster.normalization import UINT8

__all__ = ["Color", "Epilogue", "Rectangle", "allocate", "check", "record"]


class Rectangle(NamedTuple):
    """Pixels from ``top`` to ``bottom`` and from ``left`` to ``right`` that get one color.

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
    """A change of color: ``BRIGHTNESS`` or ``SATURATION``, and by which factor."""

    kind: int
    factor: float


class Epilogue(NamedTuple):
    """What happens to finished pixels, where it is the same for all samples.

    Attributes:
        mirror: whether left and right are exchanged.
        kind: ``UINT8``, ``FLOAT16``, ``BFLOAT16`` or ``FLOAT32``.
        planar: whether the result is ``(3, H, W)`` instead of ``(H, W, 3)``.
        table: ``(3, 256)`` uint8, what values become first; or ``None``.
        constants: what ``normalization`` gave for this kind; ``None`` for bytes.
        rectangles: filled after colors have changed, in this order.
        colors: changes of color, in this order.
        past_cache: whether rows are written past the cache, of bytes pixel by pixel only. A
            ``fence`` is due behind the sample's last row then.
    """

    mirror: bool = False
    kind: int = UINT8
    planar: bool = False
    table: NDArray[np.uint8] | None = None
    constants: NDArray[np.uint8] | None = None
    rectangles: tuple[Rectangle, ...] = ()
    colors: tuple[Color, ...] = ()
    past_cache: bool = False


def allocate(height: int, width: int, *, colors: int = 0, rectangles: int = 0) -> NDArray[np.int64]:
    """A record for samples of one size, of bytes pixel by pixel, in which nothing is to be done.

    Args:
        height: of the sample, in pixels.
        width: of the sample.
        colors: how many changes of color there should be room for.
        rectangles: how many rectangles.
    """
    rectangle = w.COLOR + w.COLOR_WORDS * colors
    line = rectangle + w.RECTANGLE_WORDS * rectangles
    words = np.zeros(line + (3 * width + 7) // 8, np.int64)
    words[[w.APPLY, w.HEIGHT, w.WIDTH]] = apply_epilogue_entry.address, height, width
    words[[w.COLOR_ROOM, w.RECTANGLE_ROOM]] = colors, rectangles
    words[[w.RECTANGLE, w.LINE]] = rectangle, line
    return words


def record(epilogue: Epilogue, height: int, width: int, destination: int = 0) -> NDArray[np.int64]:
    """A record with all that is to be done.

    It holds addresses: the arrays of ``epilogue`` must outlive it.

    Args:
        epilogue: what to do.
        height: of the sample, in pixels.
        width: of the sample.
        destination: address of the sample.

    Raises:
        ValueError: see :func:`check`.
    """
    check(epilogue)
    colors, rectangles = epilogue.colors, epilogue.rectangles
    words = allocate(height, width, colors=len(colors), rectangles=len(rectangles))
    words[w.DESTINATION], words[w.MIRROR] = destination, epilogue.mirror
    words[w.TABLE] = 0 if epilogue.table is None else epilogue.table.ctypes.data
    words[w.CONSTANTS] = 0 if epilogue.constants is None else epilogue.constants.ctypes.data
    words[w.KIND], words[w.IS_PLANAR] = epilogue.kind, epilogue.planar
    words[w.PAST_CACHE] = epilogue.past_cache
    words[w.COLORS], words[w.RECTANGLES] = len(colors), len(rectangles)
    for i, (kind, factor) in enumerate(colors):
        begin = w.COLOR + w.COLOR_WORDS * i
        bits = np.float64(factor).view(np.int64)
        words[begin : begin + w.COLOR_WORDS] = kind, bits, is_quick(factor)
    for i, rectangle in enumerate(rectangles):
        begin = words[w.RECTANGLE] + w.RECTANGLE_WORDS * i
        words[begin : begin + w.RECTANGLE_WORDS] = rectangle
    return words


def check(epilogue: Epilogue) -> None:
    """See that the parts fit together.

    Raises:
        ValueError: a change of color is of an unknown kind, the kind needs constants that are
            missing, the table has another shape or dtype, or what is written past the cache is not
            bytes pixel by pixel.
    """
    if any(color.kind not in (BRIGHTNESS, SATURATION) for color in epilogue.colors):
        raise ValueError(f"a change of color is of kind {BRIGHTNESS} or {SATURATION}")
    if (epilogue.constants is None) != (epilogue.kind == UINT8):
        raise ValueError(
            "floating-point kinds need the constants of a normalization, and bytes cannot have them"
        )
    if epilogue.past_cache and (epilogue.kind != UINT8 or epilogue.planar):
        raise ValueError("only bytes pixel by pixel are written past the cache")
    table = epilogue.table
    if table is not None and not (
        table.dtype == np.uint8 and table.shape == (3, 256) and table.flags.c_contiguous
    ):
        raise ValueError("table must be (3, 256) uint8, contiguous")

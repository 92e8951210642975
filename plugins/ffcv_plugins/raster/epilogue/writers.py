"""What operations write into an epilogue, each a kernel of its own.

An operation that is fused has a kernel that calls these for each sample; what it writes holds for
that sample. The epilogue is the record that the kernel is handed, whatever decoder it belongs to.
What does not fit is not written: the sample fails, in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.vectors import address_of, load_i64, store_f64
from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION, is_quick
from ffcv_plugins.raster.epilogue import words as w
from ffcv_plugins.raster.epilogue.fusion import Phase
from ffcv_plugins.raster.normalization import KIND_OF, NBYTES

__all__ = [
    "add_color",
    "fill_rectangle",
    "sample_height",
    "sample_width",
    "set_mirror",
    "set_normalization",
    "set_nothing",
    "set_table",
]

_MIRROR, _TABLE, _NORMALIZE = int(Phase.MIRROR), int(Phase.TABLE), int(Phase.NORMALIZE)
_UINT8 = np.dtype(np.uint8)


@kernel
def sample_height(epilogue: Any) -> int:
    """Rows of the sample that comes out."""
    return epilogue[w.HEIGHT]


@kernel
def sample_width(epilogue: Any) -> int:
    """Its columns."""
    return epilogue[w.WIDTH]


@kernel
def _begin(epilogue: Any, phase: int) -> bool:
    """Whether a fusion of this phase has still to say what is to be done; it has done so then."""
    if (epilogue[w.OPEN] >> phase) & 1 == 0:
        epilogue[w.PROBLEM] = w.WRONG_PHASE
        return False
    epilogue[w.OPEN] ^= 1 << phase
    return True


@kernel
def set_mirror(epilogue: Any, mirror: bool) -> None:
    """Exchange left and right, or not; once for each sample."""
    if _begin(epilogue, _MIRROR):
        epilogue[w.MIRROR] = 1 if mirror else 0


@kernel
def set_table(epilogue: Any, table: Any) -> None:
    """Replace each value by another; once for each sample.

    Args:
        epilogue: the record.
        table: ``(3, 256)`` uint8, by channel and value, contiguous; an array of the operation's
            parameters.
    """
    if not _begin(epilogue, _TABLE):
        return
    if table.shape == (3, 256) and table.strides == (256, 1) and table.dtype == _UINT8:
        epilogue[w.TABLE] = address_of(table)
    else:
        epilogue[w.PROBLEM] = w.BAD_TABLE


@kernel
def add_color(epilogue: Any, kind: int, factor: float) -> None:
    """Change colors, behind those changes that were added before.

    Args:
        epilogue: the record.
        kind: ``BRIGHTNESS`` or ``SATURATION``: blend with black, or with each pixel's gray.
        factor: share of the pixel, as in ``factor * pixel + (1 - factor) * other``.
    """
    count = epilogue[w.COLORS]
    if count >= epilogue[w.COLOR_ROOM] or (kind != BRIGHTNESS and kind != SATURATION):
        epilogue[w.PROBLEM] = w.NO_ROOM
        return
    place = w.COLOR + w.COLOR_WORDS * count
    epilogue[place], epilogue[place + 2] = kind, 1 if is_quick(factor) else 0
    store_f64(address_of(epilogue) + 8 * (place + 1), factor)
    epilogue[w.COLORS] = count + 1


@kernel
def fill_rectangle(
    epilogue: Any, top: int, left: int, bottom: int, right: int, red: int, green: int, blue: int
) -> None:
    """Give a rectangle one color, over those that were filled before.

    Args:
        epilogue: the record.
        top: its first row, in the sample that comes out.
        left: its first column, likewise, after mirroring.
        bottom: the row behind its last one.
        right: the column behind its last one. Parts outside of the sample do not matter.
        red: 0 to 255.
        green: likewise.
        blue: likewise.
    """
    count = epilogue[w.RECTANGLES]
    if count >= epilogue[w.RECTANGLE_ROOM]:
        epilogue[w.PROBLEM] = w.NO_ROOM
        return
    place = epilogue[w.RECTANGLE] + w.RECTANGLE_WORDS * count
    epilogue[place], epilogue[place + 1] = top, left
    epilogue[place + 2], epilogue[place + 3] = bottom, right
    epilogue[place + 4], epilogue[place + 5], epilogue[place + 6] = red, green, blue
    epilogue[w.RECTANGLES] = count + 1


@kernel
def set_normalization(epilogue: Any, constants: Any) -> None:
    """Make floating-point numbers of bytes; once for each sample.

    Args:
        epilogue: the record.
        constants: what ``raster.normalization.normalization`` gave for the kind of the fusion; an
            array of the operation's parameters.
    """
    if not _begin(epilogue, _NORMALIZE):
        return
    is_whole = constants.size == NBYTES and constants.itemsize == 1
    if is_whole and load_i64(address_of(constants) + KIND_OF) == epilogue[w.KIND]:
        epilogue[w.CONSTANTS] = address_of(constants)
    else:
        epilogue[w.PROBLEM] = w.BAD_NORMALIZATION


@kernel
def set_nothing(epilogue: Any, params: Any, key: Any) -> None:
    """The kernel of a fusion in which nothing depends on the sample."""

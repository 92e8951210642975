"""What the kernel of a decoder with an epilogue calls, in this order, for each sample.

**Memory.** :func:`open_epilogue` compares the sample's memory with the size that the record was
made for, and :func:`write_row` writes rows that the sample has. Of ``row`` as many bytes are read
as a row of the sample has pixels, three for each; the caller has them there.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import is_compiled, kernel
from ffcv.kernels.entry import call_entry
from ffcv.kernels.vectors import address_of, fence
from ffcv_plugins.raster.epilogue import words as w
from ffcv_plugins.raster.normalization import FLOAT32, UINT8
from ffcv_plugins.raster.rows import mirror_row

__all__ = ["close_epilogue", "open_epilogue", "write_row"]


@kernel
def open_epilogue(epilogue: Any, destination: Any) -> int:
    """Begin a sample. In compiled code only: elsewhere nothing is fused.

    Args:
        epilogue: the record.
        destination: the sample, of any shape and dtype.

    Returns:
        0, or a key of ``EPILOGUE_ERRORS``; no row may be written then.
    """
    kind = epilogue[w.KIND]
    size = 1 if kind == UINT8 else (4 if kind == FLOAT32 else 2)
    if destination.size * destination.itemsize != 3 * size * epilogue[w.HEIGHT] * epilogue[w.WIDTH]:
        return w.BAD_SIZE
    if epilogue[w.PROBLEM] != 0:
        return epilogue[w.PROBLEM]
    if kind != UINT8 and epilogue[w.CONSTANTS] == 0:
        return w.BAD_NORMALIZATION
    epilogue[w.DESTINATION] = address_of(destination)
    return 0


@kernel
def write_row(epilogue: Any, row: int, y: int) -> None:
    """Do to a row of pixels all that is to be done, and write it to its place in the sample.

    Args:
        epilogue: the record.
        row: address of the pixels, as they are before mirroring: red, green and blue of each.
        y: number of the row.
    """
    if not 0 <= y < epilogue[w.HEIGHT]:
        return
    words = address_of(epilogue)
    line = words + 8 * epilogue[w.LINE]
    if epilogue[w.MIRROR]:
        mirror_row(row, line, epilogue[w.WIDTH])
        row = line
    call_entry(epilogue[w.APPLY], (words, row, line, y))


@kernel
def close_epilogue(epilogue: Any) -> None:
    """End a sample, whatever became of it: leave nothing of it to the next one, and nothing on its
    way to memory. Also where nothing is compiled."""
    epilogue[w.MIRROR], epilogue[w.TABLE], epilogue[w.CONSTANTS] = 0, 0, 0
    epilogue[w.COLORS], epilogue[w.RECTANGLES], epilogue[w.PROBLEM] = 0, 0, 0
    epilogue[w.OPEN] = epilogue[w.PHASES]
    if is_compiled() and epilogue[w.PAST_CACHE]:
        fence()

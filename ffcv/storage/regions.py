"""Finding and reading the regions of a file, from compiled code and from Python alike.

Compiled code sees a file as a :class:`Storage`. Every pointer is looked up in the region table and
checked against the length of the file when it is used; nothing outside is ever read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from ffcv.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BAD_POINTER", "READ_ERRORS", "SHORT_READ", "Storage", "read_region"]

BAD_POINTER = -2
SHORT_READ = -3

READ_ERRORS = {
    BAD_POINTER: "its record points to no region of the file; the file is damaged",
    SHORT_READ: "the file ended before its data; it was truncated while it was open",
}
"""What :func:`read_region`'s codes mean, in words."""


class Storage(NamedTuple):
    """One open file.

    Attributes:
        data: the whole file, mapped read-only, uint8.
        regions: rows ``sample_id``, ``ptr``, ``size`` (uint64), sorted by ``ptr``.
        descriptor: ``-1`` to read through the map; otherwise an open file descriptor, from which
            each region is read into the caller's buffer.
    """

    data: NDArray[np.uint8]
    regions: NDArray[Any]
    descriptor: int


@kernel
def _find(regions: Any, pointer: Any) -> int:
    """Row of the region that starts at ``pointer``, or -1."""
    low, high = 0, len(regions)
    while low < high:
        middle = (low + high) // 2
        if regions[middle]["ptr"] < pointer:
            low = middle + 1
        else:
            high = middle
    if low < len(regions) and regions[low]["ptr"] == pointer:
        return low
    return -1


def _read_at(descriptor: int, buffer: Any, offset: Any) -> int:
    """Fill ``buffer`` from the file; returns how many bytes came."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:].data], offset + done)
        if count <= 0:
            break
        done += count
    return done


_pread = types.ExternalFunction(
    "pread", types.intp(types.int32, types.uintp, types.uintp, types.intp)
)


@overload(_read_at)  # type: ignore[untyped-decorator]
def _compiled_read_at(descriptor: Any, buffer: Any, offset: Any) -> Any:
    def read_at(descriptor: Any, buffer: Any, offset: Any) -> Any:
        done = np.int64(0)
        while done < buffer.size:
            target = np.uintp(buffer.ctypes.data) + np.uintp(done)
            rest = np.uintp(buffer.size - done)
            count = _pread(np.int32(descriptor), target, rest, np.int64(offset) + done)
            if count <= 0:
                break
            done += count
        return done

    return read_at


@kernel
def read_region(storage: Any, buffer: Any, pointer: Any) -> tuple[int, Any]:
    """Read the region that ``pointer`` names.

    Args:
        storage: the file.
        buffer: uint8 memory of the caller, used when the file is not read through its map.
        pointer: absolute file offset, as a record holds it.

    Returns:
        ``(0, bytes)``, or one of the codes of :data:`READ_ERRORS` and no bytes.
    """
    row = _find(storage.regions, np.uint64(pointer))
    if row < 0:
        return BAD_POINTER, storage.data[:0]
    start = np.int64(storage.regions[row]["ptr"])
    size = np.int64(storage.regions[row]["size"])
    # Both are unsigned in the file; those that are negative here had their highest bit set.
    if start < 0 or size < 0 or start > len(storage.data) - size:
        return BAD_POINTER, storage.data[:0]
    if storage.descriptor < 0:
        return 0, storage.data[start : start + size]
    if size > len(buffer):
        return BAD_POINTER, storage.data[:0]
    if _read_at(storage.descriptor, buffer[:size], start) != size:
        return SHORT_READ, storage.data[:0]
    return 0, buffer[:size]

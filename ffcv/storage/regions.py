"""Finding and reading the regions of a file, from compiled code and from Python alike.

Compiled code sees a file as a :class:`Storage`. Every pointer is looked up in the region table and
checked against the length of the file when it is used; nothing outside is ever read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numba import types
from numba.extending import overload

from ffcv.errors import NotCopyableError
from ffcv.kernels import is_compiled, kernel
from ffcv.kernels.vectors import address_of, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.file import BetonFile

__all__ = [
    "BAD_POINTER",
    "READ_ERRORS",
    "SHORT_READ",
    "Storage",
    "memory_read",
    "prefetch_region",
    "read_region",
]

BAD_POINTER = -2
SHORT_READ = -3

READ_ERRORS = {
    BAD_POINTER: "its record points to no region of the file; the file is damaged",
    SHORT_READ: "the file ended before its data; it was truncated while it was open",
}
"""What :func:`read_region`'s codes mean, in words."""

_PREFETCHED_NBYTES = 4096
"""How much of a region is fetched ahead at most; then the processor's own prefetching has begun."""

_SMALL_NBYTES = 16384
"""Larger regions are not fetched ahead: they take long to work on, and are often read from the
middle, as for a crop, so that their beginning would take the place of something that is needed."""

_LINE_NBYTES = 64


class Storage(NamedTuple):
    """One open file.

    Attributes:
        data: the whole file, mapped read-only, uint8; nothing if it is read by its descriptor.
        regions: rows ``sample_id``, ``ptr``, ``size`` (uint64), sorted by ``ptr``, then ``size``.
        per_sample: how many regions each sample has, or 0; a hint where to look.
        descriptor: ``-1`` to read through the map; otherwise an open file descriptor, from which
            each region is read into the caller's buffer. It is borrowed: whoever reads refers to
            the file's :class:`~ffcv.beton.source.Source` meanwhile.
        num_bytes: where regions end at the latest.
    """

    data: NDArray[np.uint8]
    regions: NDArray[Any]
    per_sample: int
    descriptor: int
    num_bytes: int

    @classmethod
    def of(cls, file: BetonFile, mapped: bool = True, maps_table: bool = True) -> Storage:
        """An open file. The rows of its region table have to be there before they are used.

        Args:
            file: the file.
            mapped: whether to read regions through its map, or else by its descriptor; where there
                is none, whoever uses this puts ``data`` in.
            maps_table: whether to look at a large region table through the map.
        """
        table = file.region_table(maps_table)
        data, descriptor = _NOTHING, -1
        if mapped:
            data = file.data
        elif file.opened.has_descriptor:
            descriptor = file.fileno()
        return cls(np.asarray(data), table.rows, table.per_sample, descriptor, file.region_end)

    def __copy__(self) -> Storage:
        return self

    def __deepcopy__(self, memo: Any) -> Storage:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise NotCopyableError(
            "an open file cannot be sent to another process; send a Reader or a Loader of it"
        )


_NOTHING = np.empty(0, np.uint8)
_NOTHING.flags.writeable = False


@kernel
def _guess(storage: Any, pointer: Any, sample: Any) -> int:
    """Where the row of ``pointer`` probably lies.

    The search below reads a dozen rows, each far from the one before; a good guess reads one.
    """
    regions, each = storage.regions, storage.per_sample
    if each > 0 and 0 <= sample < len(regions) // each:
        row = int(sample * each)
        stop = row + each - 1
        while row < stop and regions[row]["ptr"] != pointer:
            row += 1
        return row
    # With regions of one size, as those of equal images are, it can be computed.
    last = len(regions) - 1
    lowest, highest = regions[0]["ptr"], regions[last]["ptr"]
    if pointer <= lowest:
        return 0
    if pointer >= highest:
        return last
    share = np.float64(pointer - lowest) / np.float64(highest - lowest)
    return int(share * last + 0.5)


@kernel
def _search(regions: Any, pointer: Any) -> int:
    """The last row whose region starts at ``pointer`` or before; -1 if there is none."""
    low, high = 0, len(regions)
    while low < high:
        middle = (low + high) // 2
        if regions[middle]["ptr"] <= pointer:
            low = middle + 1
        else:
            high = middle
    return low - 1


@kernel
def _find(storage: Any, pointer: Any, sample: Any) -> int:
    """Row of the region that starts at ``pointer``, or -1.

    FFCV 1.x gives an empty region the pointer of the one behind it, so the last such row counts.
    """
    regions = storage.regions
    if len(regions) == 0:
        return -1
    row = _guess(storage, pointer, sample)
    is_last = row == len(regions) - 1 or regions[row + 1]["ptr"] != pointer
    if is_last and regions[row]["ptr"] == pointer:
        return row
    row = _search(regions, pointer)
    return row if row >= 0 and regions[row]["ptr"] == pointer else -1


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
def read_region(storage: Any, buffer: Any, pointer: Any, sample: Any) -> tuple[int, Any]:
    """Read the region that ``pointer`` names.

    Args:
        storage: the file.
        buffer: uint8 memory of the caller, used when the file is not read through its map.
        pointer: absolute file offset, as a record holds it.
        sample: index of the sample whose record it is, where one looks first; -1
            if that is not known.

    Returns:
        ``(0, bytes)``, or one of the codes of :data:`READ_ERRORS` and no bytes.
    """
    row = _find(storage, np.uint64(pointer), sample)
    if row < 0:
        return BAD_POINTER, storage.data[:0]
    # Not read from the row: the processor may begin to fetch the data before the row has come.
    start = np.int64(np.uint64(pointer))
    size = np.int64(storage.regions[row]["size"])
    # Both are unsigned in the file; those that are negative here had their highest bit set.
    if start < 0 or size < 0 or start > storage.num_bytes - size:
        return BAD_POINTER, storage.data[:0]
    if storage.descriptor < 0:
        return 0, storage.data[start : start + size]
    if size > len(buffer):
        return BAD_POINTER, storage.data[:0]
    if _read_at(storage.descriptor, buffer[:size], start) != size:
        return SHORT_READ, storage.data[:0]
    return 0, buffer[:size]


@kernel
def memory_read(pointer: Any, storage: Any) -> Any:
    """The ``memory_read`` of FFCV 1.x: the bytes of a region, always through the map.

    Args:
        pointer: absolute file offset, as a record holds it.
        storage: the file.

    Raises:
        ValueError: there is no region at ``pointer``.
    """
    mapped = Storage(storage.data, storage.regions, storage.per_sample, -1, storage.num_bytes)
    code, data = read_region(mapped, storage.data[:0], pointer, -1)
    if code != 0:
        raise ValueError(
            "the pointer names no region of the file; if it is from a record, the file is damaged"
        )
    return data


@kernel
def prefetch_region(storage: Any, pointer: Any, sample: Any) -> None:
    """Have the processor fetch the start of a region that :func:`read_region` will read soon.

    Where samples are small and come in random order, waiting for memory takes longer than all
    work on them. A hint only, which changes no result; a wrong pointer does no harm.

    Args:
        storage: the file; does nothing unless it is read through its map.
        pointer: absolute file offset, as a record holds it.
        sample: index of the sample whose record it is.
    """
    if is_compiled() and storage.descriptor < 0 and len(storage.regions) > 0:
        # Looking at the row fetches that as well.
        row = _guess(storage, np.uint64(pointer), sample)
        size = np.int64(storage.regions[row]["size"])
        if size <= _SMALL_NBYTES:
            start = address_of(storage.data) + np.int64(np.uint64(pointer))
            for offset in range(0, min(int(size), _PREFETCHED_NBYTES), _LINE_NBYTES):
                prefetch(start + offset)

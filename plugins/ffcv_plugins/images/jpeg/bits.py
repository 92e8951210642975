"""Reading bits from entropy-coded data (T.81, sections B.1.1.5 and F.2.2.5).

A reader is three numbers in registers: ``bits``, uint64, whose highest bit comes next; ``count``,
whose lower six bits say how many of its bits are accounted for (the other ones mean nothing); and
``position``, the address of the next byte. It reads data that :func:`unstuff` has copied, so that
no byte is special.

Where every access lies:

* :func:`unstuff` reads ``[source, source + size)`` only. It writes a byte for each that it has read
  at most, and 32 at a time only where as many are left to read: ``size`` bytes, and then 8 zeros.
* :func:`refill` reads eight bytes at ``position`` and moves on by at most seven, which it does by
  the bits that have been used: none is left out, and none is taken back that was not used since the
  last time. The difference of DC values takes at most 16 + 11 bits, and each of at most 63 symbols
  that follow at most 16 + 10, so a block takes less than :data:`BLOCK_BYTES`. Whoever decodes
  blocks compares :func:`reached` with the end of the data after each of them; so no read goes
  further than :data:`SLACK` bytes beyond the end, and that much belongs to the buffer. What is read
  there has no influence: the comparison tells that the data ended too early.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import inlined_kernel, kernel
from ffcv.kernels.vectors import (
    bytes_equal_255,
    count_trailing_zeros,
    load_u8,
    load_u8x32,
    load_u64_big_endian,
    store,
    store_i64,
    store_u8,
)

__all__ = [
    "BLOCK_BYTES",
    "SLACK",
    "bits_used",
    "reached",
    "refill",
    "skip_bits",
    "unstuff",
    "unstuffed_bytes",
]

BLOCK_BYTES = 256
SLACK = BLOCK_BYTES + 16
"""Of which 7 bytes are between what is reached and the position, and 8 are read there."""

_NONE = np.uint64(0)


@kernel
def unstuffed_bytes(size: Any) -> int:
    """Bytes that :func:`unstuff` and then reading need, for ``size`` bytes of data."""
    return size + SLACK


@inlined_kernel
def refill(bits: Any, count: Any, position: Any) -> tuple[Any, Any, Any]:
    """Make at least 56 bits available: as many may be used before the next time.

    All 64 bits of the word are the stream's, also those that ``count`` leaves out: they are read
    again the next time, as the same. So all of them may be looked at.
    """
    bits |= load_u64_big_endian(position) >> np.uint64(count & 63)
    position += (~count & 63) >> 3
    return bits, count | 56, position


@inlined_kernel
def skip_bits(bits: Any, count: Any, length: Any) -> tuple[Any, Any]:
    """Move on by as many bits as the lower six bits of ``length`` say."""
    return bits << np.uint64(length & 63), count - length


@inlined_kernel
def reached(count: Any, position: Any) -> int:
    """Address behind the last byte of which a bit has been used."""
    return position - ((count & 63) >> 3)


@kernel
def bits_used(count: Any, position: Any, start: Any) -> int:
    """How many bits have been used of the data that begin at ``start``."""
    return 8 * (position - start) - (count & 63)


@kernel
def unstuff(source: Any, size: Any, target: Any) -> int:
    """Copy entropy-coded data without the zero byte that follows each FF.

    It stops at a marker: an FF that anything but a zero follows. Several FF count as one, as for
    libjpeg.

    Args:
        source: address of the data.
        size: bytes that may be read.
        target: address of at least ``size + 8`` bytes.

    Returns:
        The number of bytes written; eight zeros follow them.
    """
    position, end, out = source, source + size, target
    while position < end:
        if end - position >= 32:
            block = load_u8x32(position)
            store(out, block)
            found = bytes_equal_255(block)
            if found == _NONE:
                position, out = position + 32, out + 32
                continue
            ordinary = count_trailing_zeros(found)
            position, out = position + ordinary, out + ordinary
        byte = load_u8(position)
        if byte == 255:
            behind = position + 1
            while behind < end and load_u8(behind) == 255:
                behind += 1
            if behind < end and load_u8(behind) != 0:
                break
            position = behind
        store_u8(out, byte)
        position, out = position + 1, out + 1
    store_i64(out, 0)
    return out - target

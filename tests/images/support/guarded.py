"""Memory with a fence: touching what lies right beside it ends the process."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

_NO_ACCESS = 0
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded(nbytes, align_end=True):
    """Zeros, uint8, that end right before an inaccessible page.

    With ``align_end=False`` they begin right behind one. The other side is fenced as well, less
    than a page away.
    """
    page = mmap.PAGESIZE
    room = max(1, -(-nbytes // page)) * page
    memory = mmap.mmap(-1, room + 2 * page)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (first, first + page + room):
        if _LIBC.mprotect(fence, page, _NO_ACCESS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return np.frombuffer(memory, np.uint8, nbytes, page + (room - nbytes if align_end else 0))


def guarded_copy(array, align_end=True):
    """A copy of ``array`` in such memory."""
    copy = guarded(array.nbytes, align_end).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy

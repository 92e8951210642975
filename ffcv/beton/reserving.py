"""Addresses for much more than the memory that will be behind them."""

from __future__ import annotations

import mmap
import sys
from typing import Any

from ffcv.errors import BetonError

__all__ = ["reserve"]

# Only later releases of Python name it. Without it, the system counts all addresses as used.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def reserve(path: str, length: int) -> mmap.mmap:
    """Memory, zeroed, which takes no room until it is written to, a page at a time.

    Args:
        path: the file that it is for, for messages.
        length: how many bytes.

    Raises:
        BetonError: the system does not give so many addresses.
    """
    flags: Any = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    try:
        memory = mmap.mmap(-1, length, flags=flags)
    except OSError as error:
        raise BetonError(
            path,
            f"no {length} bytes of addresses can be reserved for it: {error.strerror}; is "
            "`ulimit -v` set, or vm.overcommit_memory 2?",
        ) from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # In large pages, the first byte of which makes two megabytes, much would be taken in vain.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory

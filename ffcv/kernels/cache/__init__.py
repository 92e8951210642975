"""The compile cache: what is compiled once and kept between processes.

It can only help. Whatever is wrong with its directory (full, read-only, of another user, damaged)
makes a miss, which is said once; it never makes an error.
"""

from ffcv.kernels.cache.compiled import keep
from ffcv.kernels.cache.emitted import load_emitted
from ffcv.kernels.cache.locking import compiling, process_lock
from ffcv.kernels.cache.store import cache_directory, has_note, leave_note

__all__ = [
    "cache_directory",
    "compiling",
    "has_note",
    "keep",
    "leave_note",
    "load_emitted",
    "process_lock",
]

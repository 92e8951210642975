"""For authors of kernels: the one door to what compiled code is written with.

A kernel is a module-level function in the subset of Python that Numba compiles, marked by
:func:`kernel`. Random numbers for it are in :mod:`ffcv.kernels.random`, vectors of 16 or 32
numbers in :mod:`ffcv.kernels.vectors`, functions that are compiled once and called by address in
:mod:`ffcv.kernels.entry`, and structs that these find in memory in :mod:`ffcv.kernels.structs`. The
other modules here are the compiler's: its cache, the hashes by which that finds things, and what it
says when something does not compile.
"""

from ffcv.kernels.marking import inlined_kernel, is_compiled, kernel, python_only

__all__ = ["inlined_kernel", "is_compiled", "kernel", "python_only"]

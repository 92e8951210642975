"""Structs in memory: where the members of a NumPy dtype lie, for kernels that go by addresses.

A kernel that is reached by address (see :mod:`ffcv.kernels.entry`) has no objects. What it is to
know lies in memory that it is given the address of. A dtype says how: by it Python sees that
memory, and kernels find a member at a place, in bytes from the beginning::

    SPAN = np.dtype([("first", np.int64), ("weights", np.float32, 16)])
    FIRST, WEIGHTS = places(SPAN, "first", "weights")

    @kernel
    def weigh(span, number):
        return load_f32(span + WEIGHTS + 4 * (number - load_i64(span + FIRST)))

Places are plain numbers, which compiled code has as constants, so that it compiles and runs as if
they were written there. Members of tuples would do the same and take half as long again to compile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUFFER", "LINE", "aligned", "places", "point_to"]

BUFFER = np.dtype([("address", np.int64), ("nbytes", np.int64)])
"""What a kernel knows of an array: where it begins, and how many bytes it has."""


LINE = 64
"""Bytes of a line of the cache."""


def aligned(nbytes: int, zeroed: bool = False) -> NDArray[np.uint8]:
    """Memory that begins with a line of the cache, ``(nbytes,)`` uint8.

    Its content is undefined, unless it is to be zero. Vectors as wide as a line are read and
    written in one piece there; where scratch memory lies by chance, resizing takes 3 % longer on
    average, and up to 10 %.

    Example:
        >>> scratch = aligned(1000)
        >>> scratch.shape, scratch.ctypes.data % LINE
        ((1000,), 0)
    """
    memory = (np.zeros if zeroed else np.empty)(nbytes + LINE - 1, np.uint8)
    begin = -memory.ctypes.data % LINE
    return memory[begin : begin + nbytes]


def places(layout: np.dtype[Any], *names: str) -> tuple[int, ...]:
    """Where members of a struct lie, in bytes from its beginning.

    Args:
        layout: the struct.
        *names: of its members; ``"outer.inner"`` for a member of one that is a struct itself.

    Raises:
        KeyError: there is no such member.

    Example:
        >>> TABLE = np.dtype([("count", np.int64), ("rows", BUFFER), ("columns", BUFFER)])
        >>> places(TABLE, "count", "rows", "columns.nbytes")
        (0, 8, 32)
    """
    return tuple(_place(layout, name) for name in names)


def _place(layout: np.dtype[Any], name: str) -> int:
    outer, _, inner = name.partition(".")
    members: Mapping[str, tuple[Any, ...]] = layout.fields or {}
    if outer not in members:
        raise KeyError(f"no member is called {outer!r}; there are {', '.join(members) or 'none'}")
    kind, place = members[outer][:2]
    return int(place) + (_place(kind, inner) if inner else 0)


def point_to(buffer: Any, array: NDArray[Any]) -> None:
    """Write where an array lies, which must stay there as long as kernels read it.

    Args:
        buffer: a :data:`BUFFER`, a member of a struct.
        array: what it is to point to.

    Example:
        >>> (table,), row = np.zeros(1, [("row", BUFFER)]), np.arange(3.0)
        >>> point_to(table["row"], row)
        >>> int(table["row"]["nbytes"]), bool(table["row"]["address"] == row.ctypes.data)
        (24, True)
    """
    buffer["address"], buffer["nbytes"] = array.ctypes.data, array.nbytes

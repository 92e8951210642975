"""Number types that NumPy or compiled code lack: float16 and bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bfloat16", "code_dtype", "dtype_name", "from_bfloat16", "is_half", "to_bfloat16"]

bfloat16 = np.dtype([("bfloat16", np.uint16)])
"""What NumPy batches of bfloat16 are made of: the 16 bits, under a name.

NumPy has no such numbers. A dtype of its own keeps anybody from taking the bits for integers: all
arithmetic with such arrays raises an error, while they can be copied, indexed and stored.
``ToTensor`` makes tensors of ``torch.bfloat16`` of them, without a copy. Elsewhere
``batch.view(np.uint16)`` gives the bits, :func:`from_bfloat16` the numbers, and
``batch.view(ml_dtypes.bfloat16)`` the arrays that JAX takes.
"""

_NAN = 0x7FC0


def is_half(dtype: Any) -> bool:
    """Whether it is float16 or bfloat16, of which compiled code can only move the bits."""
    return isinstance(dtype, np.dtype) and dtype in (np.float16, bfloat16)


def code_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that kernels see: the uint16 of their bits for float16 and bfloat16."""
    return np.dtype(np.uint16) if is_half(dtype) else dtype


def dtype_name(dtype: Any) -> str:
    """What people call a NumPy or torch dtype.

    Example:
        >>> dtype_name(bfloat16), dtype_name(np.dtype("float32"))
        ('bfloat16', 'float32')
    """
    if isinstance(dtype, np.dtype) and dtype == bfloat16:
        return "bfloat16"
    return str(dtype).removeprefix("torch.")


def to_bfloat16(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers or bools as :data:`bfloat16`, rounded once, to nearest, ties to even.

    (torch rounds float64 to float32 first, which in rare cases gives the other neighbour.) Integers
    of more than 53 bits are rounded to float64 first.

    Args:
        numbers: an array of any shape and number type.

    Example:
        >>> batch = to_bfloat16(np.array([1.0, -2.5]))
        >>> batch.dtype == bfloat16, batch.view(np.uint16).tolist()
        (True, [16256, 49184])
    """
    with np.errstate(over="ignore"):
        near = np.asarray(numbers, np.float32)
    bits = near.view(np.uint32)
    if numbers.dtype != np.float32 and not np.can_cast(numbers.dtype, np.float32):
        bits = _marked(bits, near, numbers.astype(np.float64))
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(near), np.uint16(_NAN), rounded).view(bfloat16)


def _marked(
    bits: NDArray[np.uint32], near: NDArray[np.float32], exact: NDArray[np.float64]
) -> NDArray[np.uint32]:
    """Bits of float32, cut off towards zero, the last of which says whether anything was cut off.

    So rounding them is the only rounding. Sizes are ordered like their bits: one step back is taken
    where ``near`` is further from zero than the number.
    """
    found = near.astype(np.float64)
    cut = bits - (np.abs(found) > np.abs(exact))
    marked: NDArray[np.uint32] = cut | (found != exact)
    return marked


def from_bfloat16(array: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers of an array of :data:`bfloat16`, exactly.

    Example:
        >>> from_bfloat16(np.array([16256, 49184], np.uint16).view(bfloat16)).tolist()
        [1.0, -2.5]
    """
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

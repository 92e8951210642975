"""How kernels see batches and samples.

A sample is an array always, of shape ``(1,)`` where it is a scalar. Numbers that compiled code does
not know, float16 and bfloat16, are the uint16 of their bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.pipeline.dtypes import code_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.pipeline.state import State

__all__ = ["batch_bytes", "batch_view", "empty_sample", "kind_of", "sample_text", "sample_type"]

_OWNDATA = 4
"""The bit of an array's flags that its type in compiled code does not depend on."""


def batch_view(batch: NDArray[Any]) -> NDArray[Any]:
    """A batch, with a dtype that compiled code knows."""
    dtype = code_dtype(batch.dtype)
    return batch if dtype is batch.dtype else batch.view(dtype)


def batch_bytes(batch: NDArray[Any], state: State) -> NDArray[np.uint8]:
    """A batch as ``(B, nbytes)``, for kernels that know a sample as bytes only."""
    return batch.reshape(len(batch), math.prod(state.shape)).view(np.uint8)


def empty_sample(state: State) -> NDArray[Any]:
    """Memory for one sample."""
    return np.empty(state.shape or 1, code_dtype(state.dtype))


def sample_type(state: State) -> Any:
    """The type of a sample in compiled code."""
    from numba import from_dtype, types

    return types.Array(from_dtype(code_dtype(state.dtype)), max(len(state.shape), 1), "C")


def sample_text(array: str, state: State) -> str:
    """The text that takes the sample ``slot`` out of a batch, as an array."""
    return f"{array}[slot]" if state.shape else f"{array}[slot : slot + 1]"


def kind_of(argument: Any) -> Any:
    """What decides an argument's type in compiled code; Numba takes ten times longer to tell it."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.num & ~_OWNDATA
    if isinstance(argument, tuple):
        return type(argument), *map(kind_of, argument)
    return type(argument)

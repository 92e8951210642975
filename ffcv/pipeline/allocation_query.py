"""How a batch operation asks for memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.compat.absent import refusal
from ffcv.errors import ArgumentError
from ffcv.whole import at_least

__path__: list[str] = []  # see ffcv.compat.absent
if not TYPE_CHECKING:
    __getattr__ = refusal(__name__)

__all__ = ["Allocation", "AllocationQuery"]

_MOST_BYTES = 2**63 - 1


@dataclass(frozen=True)
class AllocationQuery:
    """Memory for one batch, which the loader owns and hands to the operation.

    Attributes:
        shape: shape for *one sample*; the loader puts the batch dimension in front.
        dtype: a ``numpy.dtype`` for an array, or a ``torch.dtype`` for a tensor.
        device: where a tensor is to live; NumPy arrays know ``"cpu"`` only, and ``None`` is that.

    Raises:
        ArgumentError: the shape holds something else than whole numbers from 0 on, or memory of
            that shape cannot be addressed.
    """

    shape: tuple[int, ...]
    dtype: Any
    device: Any = "cpu"

    def __post_init__(self) -> None:
        given: Any = self.shape
        lengths = (given,) if isinstance(given, Real) else given
        shape = tuple(at_least("AllocationQuery: shape", n, 0) for n in lengths)
        object.__setattr__(self, "shape", shape)
        if isinstance(self.dtype, type | str):
            object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if self.device is None:  # as in FFCV 1.x, where it is the default
            object.__setattr__(self, "device", "cpu")
        nbytes = math.prod(shape) * getattr(self.dtype, "itemsize", 1)
        if nbytes > _MOST_BYTES:
            raise ArgumentError(
                f"AllocationQuery: shape {shape} of {self.dtype} takes {nbytes} bytes a sample, "
                f"which is more than can be addressed; ask for at most {_MOST_BYTES}"
            )

    def missing_device(self) -> str | None:
        """What is wrong with the device, in words; ``None`` if this machine has it."""
        if isinstance(self.dtype, np.dtype):
            on_cpu = str(self.device).partition(":")[0] == "cpu"  # which torch also numbers
            return None if on_cpu else f"arrays of NumPy live on the CPU, not on {self.device}"
        import torch

        try:
            device = torch.device(self.device)
        except (RuntimeError, TypeError) as error:
            return f"{self.device!r} is no device: {str(error).splitlines()[0]}"
        # Unlike is_available, this does not keep children from using CUDA after a fork.
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            return f"there is no device {device}; torch sees {torch.cuda.device_count()}"
        return None


Allocation = AllocationQuery | tuple[AllocationQuery, ...] | None
"""What an operation asks for."""

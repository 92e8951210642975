"""What flows between two operations."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from ffcv.pipeline.dtypes import dtype_name

__all__ = ["Layout", "State"]


class Layout(Enum):
    """How the samples of a batch fill their shape, which is one for all of them."""

    DENSE = "dense"
    """Each fills it."""
    PADDED = "padded"
    """Some are shorter; what they leave is filled with zeros."""


@dataclass(frozen=True)
class State:
    """Shape, type and place of a batch between two operations.

    Attributes:
        jit_mode: whether the batch is a NumPy array that compiled code may work on. ``False`` once
            an operation has turned it into something else, such as a tensor.
        device: where the batch lives: a ``torch.device``, or its name as long as nobody has
            imported torch. From this the loader knows which devices it works with.
        shape: shape of *one sample*, without the batch dimension, such as ``(224, 224, 3)``.
        dtype: a ``numpy.dtype``, or a ``torch.dtype`` for tensors.
        layout: whether all samples fill the shape. ``dataclasses.replace`` hands it on; it does not
            count when states are compared.
    """

    jit_mode: bool
    device: Any
    shape: tuple[int, ...]
    dtype: Any
    # Operations that know nothing of layouts make states anew, which must not be a mismatch.
    layout: Layout = field(default=Layout.DENSE, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if isinstance(self.dtype, type | str):
            object.__setattr__(self, "dtype", np.dtype(self.dtype))
        torch = sys.modules.get("torch")  # where it was never imported, nobody asks for its types
        if torch is not None and isinstance(self.device, str):
            object.__setattr__(self, "device", torch.device(self.device))

    @property
    def is_tensor(self) -> bool:
        """Whether the batch is a tensor of a framework instead of a NumPy array."""
        return not isinstance(self.dtype, np.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        kind = "tensor" if self.is_tensor else "array"
        place = "" if str(self.device) == "cpu" else f" on {self.device}"
        layout = "" if self.layout is Layout.DENSE else f", {self.layout.value}"
        return f"{kind} {shape} {dtype_name(self.dtype)}{place}{layout}"

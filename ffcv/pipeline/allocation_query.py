"""How a batch operation asks for memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.compat.absent import refusal

__path__: list[str] = []  # see ffcv.compat.absent
if not TYPE_CHECKING:
    __getattr__ = refusal(__name__)

__all__ = ["Allocation", "AllocationQuery"]


@dataclass(frozen=True)
class AllocationQuery:
    """Memory for one batch, which the loader owns and hands to the operation.

    Attributes:
        shape: shape for *one sample*; the loader puts the batch dimension in front.
        dtype: a ``numpy.dtype`` for an array, or a ``torch.dtype`` for a tensor.
        device: where a tensor is to live; NumPy arrays know ``"cpu"`` only.
    """

    shape: tuple[int, ...]
    dtype: Any
    device: Any = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if isinstance(self.dtype, type | str):
            object.__setattr__(self, "dtype", np.dtype(self.dtype))


Allocation = AllocationQuery | tuple[AllocationQuery, ...] | None
"""What an operation asks for."""

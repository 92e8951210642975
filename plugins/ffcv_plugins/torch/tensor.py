"""From arrays to tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ffcv.pipeline import Operation, State
from ffcv_plugins.tensors import tensor_of, torch_dtype

__all__ = ["ToTensor"]


class ToTensor(Operation):
    """Make torch tensors of NumPy batches, which share the batches' memory.

    Shape and numbers stay as they are; see ToTorchImage for ``(C, H, W)``. Takes bools, integers
    and floats that torch has too; arrays of ``ffcv.pipeline.bfloat16`` become ``torch.bfloat16``.
    Tensors pass through.

    Example:
        >>> import numpy as np
        >>> ToTensor().generate_code()(np.arange(3, dtype=np.uint8), None)
        tensor([0, 1, 2], dtype=torch.uint8)
    """

    compiled = False
    draws_from_frameworks = False

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The same as a tensor.

        Raises:
            ValueError: torch has no such dtype.
        """
        try:
            dtype = torch_dtype(previous_state.dtype)
        except TypeError as error:
            raise ValueError(
                f"ToTensor cannot make a tensor of an {previous_state}: {error}. Convert it to "
                f"another dtype before, or end this pipeline without ToTensor()"
            ) from None
        return replace(previous_state, jit_mode=False, dtype=dtype), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``."""

        def to_tensor(batch: Any, memory: Any) -> Any:
            if isinstance(batch, torch.Tensor):
                return batch
            # Tensors cannot be read-only, nor run backwards through memory.
            if not batch.flags.writeable or any(stride < 0 for stride in batch.strides):
                batch = np.array(batch, order="C")
            return tensor_of(batch)

        return to_tensor

"""What the operations of this plugin check, and the words they find for it."""

from __future__ import annotations

import torch

from ffcv.pipeline.state import State

__all__ = ["require_tensor"]


def require_tensor(name: str, state: State) -> None:
    """Raise a ``ValueError`` unless ``state`` is a torch tensor.

    Args:
        name: the operation, for the error.
        state: what comes in.
    """
    if not isinstance(state.dtype, torch.dtype):
        raise ValueError(
            f"{name} works on tensors and gets an {state}; insert ToTensor() before it"
        )

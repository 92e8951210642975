"""The layout of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ffcv.pipeline import Operation, State
from ffcv_plugins.torch.checks import require_tensor

__all__ = ["ToTorchImage"]

_MOST_COLOURS = 4


class ToTorchImage(Operation):
    """Turn image tensors ``(B, H, W, C)`` into ``(B, C, H, W)``, which torch's layers want.

    Args:
        channels_last: leave the values where they are in memory, which is torch's memory format
            ``channels_last`` and costs nothing. ``False``: copy them to be contiguous.
        convert_back_int16: accepted for pipelines of FFCV 1.x, where float16 images could travel
            as int16. Here float16 travels as it is, and int16 images stay int16.

    Example:
        >>> import torch
        >>> ToTorchImage().generate_code()(torch.zeros(8, 32, 40, 3), None).shape
        torch.Size([8, 3, 32, 40])
    """

    compiled = False

    def __init__(self, channels_last: bool = True, convert_back_int16: bool = True) -> None:
        self.channels_last = channels_last
        self.convert_back_int16 = convert_back_int16

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """``(C, H, W)`` from ``(H, W, C)``.

        Raises:
            ValueError: the input is no tensor of images, or its channels are first already. An
                image of at most 4 rows and over 4 channels is taken for one of those.
        """
        require_tensor("ToTorchImage", previous_state)
        shape = previous_state.shape
        if len(shape) != 3:
            raise ValueError(
                f"ToTorchImage works on images of shape (height, width, channels) and gets a "
                f"{previous_state}"
            )
        if shape[0] <= _MOST_COLOURS < shape[2]:
            raise ValueError(
                f"ToTorchImage gets a {previous_state}, whose channels seem to be first already; "
                f"is it there twice?"
            )
        return replace(previous_state, jit_mode=False, shape=(shape[2], *shape[:2])), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``."""

        def to_torch_image(batch: Any, memory: Any) -> Any:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            return batch.permute(0, 3, 1, 2).contiguous(memory_format=layout)

        return to_torch_image

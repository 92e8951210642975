"""The layout of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.pipeline import Operation, State
from ffcv_plugins.raster.epilogue import FusableOperation, Fusion, Phase, set_nothing
from ffcv_plugins.tensors import require_tensor

__all__ = ["ToTorchImage"]

_MOST_COLORS = 4


@kernel
def _to_planes(source: Any, destination: Any, params: Any, key: Any) -> None:
    """Channels first. Indices are unsigned, since compiled code asks of others whether they count
    from the end."""
    if not is_compiled():
        _to_planes_with_numpy(source, destination)
        return
    pixels, channels = source.shape[0] * source.shape[1], source.shape[2]
    values, results = source.reshape(-1), destination.reshape(-1)
    for c in range(channels):
        for i in range(pixels):
            results[np.uintp(c * pixels + i)] = values[np.uintp(i * channels + c)]


@python_only
def _to_planes_with_numpy(source: Any, destination: Any) -> None:
    destination[...] = source.transpose(2, 0, 1)


class ToTorchImage(FusableOperation, Operation):
    """Turn images ``(H, W, C)`` into ``(C, H, W)``, which torch's layers want.

    It stands behind ToTensor. With ``channels_last=False`` it can also stand among the operations
    on NumPy images: an image decoder then writes channel by channel right away.

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
    draws_from_frameworks = False
    kernel = staticmethod(_to_planes)

    def __init__(self, channels_last: bool = True, convert_back_int16: bool = True) -> None:
        self.channels_last = channels_last
        self.convert_back_int16 = convert_back_int16

    def declare(self, state: State) -> State:
        """``(C, H, W)`` from ``(H, W, C)``.

        Raises:
            ValueError: values are to stay where they are, which only a tensor can; or the input is
                no image, or its channels are first already.
        """
        if self.channels_last:
            require_tensor("ToTorchImage", state)
        return replace(state, shape=_channels_first(state))

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Pixels can be written channel by channel."""
        return Fusion(Phase.LAYOUT, set_nothing)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """``(C, H, W)`` from ``(H, W, C)``.

        Raises:
            ValueError: the input is no tensor of images, or its channels are first already. An
                image of at most 4 rows and over 4 channels is taken for one of those.
        """
        require_tensor("ToTorchImage", previous_state)
        return replace(previous_state, jit_mode=False, shape=_channels_first(previous_state)), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``."""

        def to_torch_image(batch: Any, memory: Any) -> Any:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            return batch.permute(0, 3, 1, 2).contiguous(memory_format=layout)

        return to_torch_image


def _channels_first(state: State) -> tuple[int, int, int]:
    """The shape of an image with its channels in front."""
    if len(state.shape) != 3:
        raise ValueError(
            f"ToTorchImage works on images of shape (height, width, channels) and gets a {state}"
        )
    height, width, channels = state.shape
    if height <= _MOST_COLORS < channels:
        raise ValueError(
            f"ToTorchImage gets a {state}, whose channels seem to be first already; "
            f"is it there twice?"
        )
    return channels, height, width

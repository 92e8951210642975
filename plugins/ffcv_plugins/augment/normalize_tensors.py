"""The side of NormalizeImage that works on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ffcv.pipeline.state import State
from ffcv_plugins.augment.normalize_kernels import lookup_table
from ffcv_plugins.tensors import require_tensor, tensor_of, torch_dtype

__all__ = ["TensorNormalizer", "channel_axis", "check_tensor"]


def channel_axis(shape: Sequence[int], values: int) -> int:
    """Which dimension of a batch holds the channels: 1 or -1.

    Args:
        shape: of the batch: ``(B, H, W, C)``, ``(B, C, H, W)`` or ``(B, H, W)``.
        values: number of channels; 1 fits any image.

    Raises:
        ValueError: no dimension fits, or two do.
    """
    text = " × ".join(map(str, shape[1:]))
    if len(shape) not in (3, 4):
        raise ValueError(
            f"NormalizeImage works on images of shape (height, width, channels) or (channels, "
            f"height, width) and gets {text or 'single values'}"
        )
    last, first = shape[-1] == values, shape[1] == values
    if values == 1 or (len(shape) == 4 and last and not first):
        return -1
    if len(shape) == 4 and first and not last:
        return 1
    if len(shape) == 4 and first:
        raise ValueError(
            f"NormalizeImage: {text} may be (height, width, channels) or (channels, height, "
            f"width); put NormalizeImage before ToTensor()"
        )
    raise ValueError(
        f"NormalizeImage: mean and std have {values} values, which are not the channels of images "
        f"of {text}"
    )


def check_tensor(state: State, values: int) -> None:
    """Raise a ``ValueError`` unless ``state`` is a tensor of images with ``values`` channels."""
    require_tensor("NormalizeImage", state)
    channel_axis((0, *state.shape), values)


class TensorNormalizer:
    """Normalises batches, and keeps its numbers on the device between them."""

    def __init__(self) -> None:
        self._numbers: Any = None
        self._constants: dict[Any, Any] = {}

    def __call__(
        self,
        batch: torch.Tensor,
        mean: NDArray[np.float64],
        std: NDArray[np.float64],
        result: np.dtype[Any],
    ) -> torch.Tensor:
        """Normalise ``batch`` with ``(C,)`` or ``(1,)`` numbers into a new tensor of ``result``."""
        numbers = (mean.tobytes(), std.tobytes(), result)
        if numbers != self._numbers:
            self._numbers, self._constants = numbers, {}
        axis = channel_axis(batch.shape, len(mean))
        by_table = batch.dtype == torch.uint8
        double = torch.float64 in (batch.dtype, torch_dtype(result))
        work = torch.float64 if double else torch.float32
        kind = (batch.device, by_table, work)
        if kind not in self._constants:
            make = _tables(mean, std, result) if by_table else _pair(mean, std, work)
            self._constants[kind] = tuple(tensor.to(batch.device) for tensor in make)
        first, second = self._constants[kind]
        if by_table:
            return _look_up(batch, first, _along(axis, second, batch))
        shifted = batch.to(work) - _along(axis, first, batch)
        return (shifted / _along(axis, second, batch)).to(torch_dtype(result))


def _tables(mean: Any, std: Any, result: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The tables of all channels, one after the other, and where each begins."""
    starts = 256 * np.arange(len(mean), dtype=np.int32)
    tables = lookup_table(mean, std, result).reshape(-1)
    return tensor_of(tables), torch.from_numpy(starts)


def _pair(mean: Any, std: Any, work: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(mean).to(work), torch.from_numpy(std).to(work)


def _along(axis: int, values: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """``(C,)`` values, shaped to be broadcast along the channels of ``batch``."""
    return values if axis == -1 else values.view(-1, *(1,) * (batch.ndim - 2))


def _look_up(batch: torch.Tensor, table: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """``table[starts + batch]``, in the memory format of ``batch``."""
    index = batch.to(torch.int32) + starts
    if index.is_contiguous() or index.ndim != 4:
        return table.index_select(0, index.reshape(-1)).view(index.shape)
    index = index.permute(0, 2, 3, 1)  # rows of pixels, which is how channels-last images lie
    return table.index_select(0, index.reshape(-1)).view(index.shape).permute(0, 3, 1, 2)

"""Kernels of this plugin, and the parameters that they take.

Images arrive as ``(H, W, C)`` or ``(H, W)`` arrays, C-contiguous; a float16 array may arrive as the
uint16 array of its bits, because compiled code has no float16. Each draw has a fixed position.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel

__all__ = [
    "FloatLabelParams",
    "IntegerLabelParams",
    "PoisonParams",
    "poison",
    "replace_label",
]


class PoisonParams(NamedTuple):
    """``indices`` ascend. ``added`` and ``kept`` are ``(H * W * C,)``: the mask times its opacity,
    and the image's share. Results lie from ``low`` to ``high`` and are rounded where that is said.
    """

    indices: NDArray[np.int64]
    added: NDArray[np.float64]
    kept: NDArray[np.float64]
    low: float
    high: float
    is_rounded: bool


class IntegerLabelParams(NamedTuple):
    """``indices`` ascend."""

    indices: NDArray[np.int64]
    label: int


class FloatLabelParams(NamedTuple):
    """``indices`` ascend."""

    indices: NDArray[np.int64]
    label: float


@kernel
def _is_among(indices: Any, index: Any) -> bool:
    """Whether ``index`` is one of the ascending ``indices``."""
    low, high = 0, indices.shape[0]
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < index:
            low = middle + 1
        else:
            high = middle
    return low < indices.shape[0] and indices[low] == index


@kernel
def poison(source: Any, destination: Any, params: PoisonParams, key: Any, index: Any) -> None:
    """Blend the mask into the image if the sample is one of those, in place."""
    if not _is_among(params.indices, index):
        return
    values = destination.reshape(-1)
    for i in range(min(values.shape[0], params.added.shape[0])):
        value = params.kept[i] * np.float64(values[i]) + params.added[i]
        value = min(max(value, params.low), params.high)
        values[i] = math.floor(value + 0.5) if params.is_rounded else value


@kernel
def replace_label(source: Any, destination: Any, params: Any, key: Any, index: Any) -> None:
    """Give the sample the new label if it is one of those, in place."""
    if _is_among(params.indices, index):
        values = destination.reshape(-1)
        for i in range(values.shape[0]):
            values[i] = params.label

"""Kernels of the array decoders. Loops instead of slice assignments, which compile to slow code."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.pipeline import kernel

__all__ = ["TOO_SHORT", "copy_all", "copy_and_clear_tail"]

TOO_SHORT = 1
"""What the kernels return when a region holds less than its record promises."""


@kernel
def copy_all(record: Any, data: Any, destination: Any, params: Any, key: Any) -> int:
    """Copy the bytes of an array into ``destination``, ``(nbytes,)`` uint8."""
    size = destination.shape[0]
    if data.shape[0] < size:
        return TOO_SHORT
    for i in range(size):
        destination[i] = data[i]
    return 0


@kernel
def copy_and_clear_tail(record: Any, data: Any, destination: Any, params: Any, key: Any) -> int:
    """Copy ``record["size"]`` bytes into ``destination``, ``(N,)`` uint8, and zeros behind them."""
    if record["size"] > data.shape[0] or record["size"] > destination.shape[0]:
        return TOO_SHORT
    size = np.int64(record["size"])
    for i in range(size):
        destination[i] = data[i]
    for i in range(size, destination.shape[0]):
        destination[i] = 0
    return 0

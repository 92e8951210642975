"""Kernels of the scalar decoders."""

from __future__ import annotations

from typing import Any

from ffcv.pipeline import kernel

__all__ = ["copy_record", "no_parts", "write_index"]


@kernel
def copy_record(record: Any, data: Any, destination: Any, params: Any, key: Any) -> None:
    """Copy a record that is a number into ``destination``, ``(1,)``."""
    destination[0] = record


@kernel
def write_index(
    record: Any, data: Any, destination: Any, params: Any, key: Any, index: int
) -> None:
    """Write the sample's index into ``destination``, ``(1,)``."""
    destination[0] = index


@kernel
def no_parts(record: Any, nbytes: int, ranges: Any, params: Any, key: Any, index: int) -> int:
    """Nothing of a region is read."""
    return 0

"""Kernels of the scalar decoders."""

from __future__ import annotations

from typing import Any

from ffcv.pipeline import kernel

__all__ = ["copy_record"]


@kernel
def copy_record(record: Any, data: Any, destination: Any, params: Any, key: Any) -> None:
    """Copy a record that is a number into ``destination``, ``(1,)``."""
    destination[0] = record

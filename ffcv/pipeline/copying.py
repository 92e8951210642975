"""Copying a sample, as emitted stages do it before an operation that works in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import is_compiled, kernel, python_only

__all__ = ["copy_sample"]


@kernel
def copy_sample(source: Any, target: Any) -> None:
    """Copy an array into another one of its shape and type.

    A loop, and indices that cannot count from the end: compiled code assigns slices slowly, and
    would count references to them.
    """
    if not is_compiled():
        _copy_with_numpy(source, target)
        return
    values, results = source.reshape(-1), target.reshape(-1)
    for i in range(values.size):
        results[np.uintp(i)] = values[np.uintp(i)]


@python_only
def _copy_with_numpy(source: Any, target: Any) -> None:
    target[...] = source

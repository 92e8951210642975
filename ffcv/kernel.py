"""Marking functions that compiled code may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["JIT_OPTIONS", "kernel"]

JIT_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # division by zero gives inf or nan instead of a check per division
}
"""Options of every function that we compile. Fast-math is not among them: the same seed gives the
same bytes on every machine."""

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Make a module-level function callable from compiled code.

    It stays an ordinary Python function as well, which is what runs without compilation. Use it
    for the kernels of operations and for the helpers that they call.

    Example:
        >>> @kernel
        ... def double(x):
        ...     return x + x
        >>> double(4)
        8
    """
    from numba.extending import register_jitable

    return register_jitable(**JIT_OPTIONS)(function)  # type: ignore[no-any-return]

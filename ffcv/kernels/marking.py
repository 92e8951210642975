"""Marking functions that compiled code may call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = [
    "BORROWING_OPTIONS",
    "JIT_OPTIONS",
    "inlined_kernel",
    "is_compiled",
    "kernel",
    "python_only",
]

JIT_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # division by zero gives inf or nan instead of a check per division
}
"""Options of every function that we compile. Fast-math is not among them: the same seed gives the
same bytes on every machine."""

BORROWING_OPTIONS: dict[str, Any] = {**JIT_OPTIONS, "_nrt": False}
"""The same for what makes no arrays. All arrays belong to the caller then, and nobody counts the
references to them, which would be most of the work on a tiny sample."""

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
    return _register(function)


def inlined_kernel(function: F) -> F:
    """The same for innermost loops: compiled code has it inside of itself and never calls it.

    Compilers do that by themselves with what is small or used once; this is for kernels of which
    one measures that they do not.
    """
    return _register(function, forceinline=True)


def _register(function: F, **options: Any) -> F:
    from numba.extending import register_jitable

    from ffcv.kernels.inlining import PartCompiler

    _teach_is_compiled()
    mark = register_jitable(pipeline_class=PartCompiler, **JIT_OPTIONS, **options)
    return mark(function)  # type: ignore[no-any-return]


def is_compiled() -> bool:
    """Whether the code that asks runs compiled: ``False`` in Python, ``True`` in compiled kernels.

    For kernels of which some part exists in one of the two forms only; see :func:`python_only`.
    """
    return False


def python_only(function: F) -> F:
    """Make a function that compiled code may name but does not contain.

    For the branch of a kernel that :func:`is_compiled` keeps to Python. There the call stands for
    nothing, so ``function`` may use all of Python and NumPy and costs no time to compile. It works
    by changing its arguments and returns nothing.

    Example:
        >>> @python_only
        ... def clear_with_numpy(values):
        ...     values[...] = 0
        >>> @kernel
        ... def clear(values):
        ...     if is_compiled():
        ...         for i in range(values.shape[0]):
        ...             values[i] = 0
        ...     else:
        ...         clear_with_numpy(values)
    """
    from numba import types

    _lower_to(function, types.void, None)
    return function


@functools.cache
def _teach_is_compiled() -> None:
    from numba import types

    _lower_to(is_compiled, types.boolean, True)


def _lower_to(function: Callable[..., Any], kind: Any, value: Any) -> None:
    """Let calls of a function mean one value in compiled code, whatever their arguments."""
    from numba import types
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import lower_builtin

    class Template(AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
            return None if kws else signature(kind, *args)

    # Named with its type, it need not be found in its module, which is still being imported.
    infer_global(function, types.Function(Template))

    @lower_builtin(function, types.VarArg(types.Any))  # type: ignore[untyped-decorator]
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_constant_generic(builder, kind, value)

"""16-bit floats in compiled batch operations, which can move their bits but not compute with them.

They reach the code as the uint16 of their bits. Code that would take those for numbers must not
run: what compiles for a type that is neither can only copy and view them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.errors import CompilationError
from ffcv.pipeline.batch_function import BatchFunction
from ffcv.pipeline.dtypes import is_half

__all__ = ["as_bits", "compile_for_bits", "from_bits"]

_OPAQUE = np.dtype([("bits", np.uint16)], align=True)
"""For float16 and bfloat16, which compiled code lacks: a type that it can move but not compute
with. Code that compiles for this treats the bits alike when they come as integers, which is how it
runs."""

_HINT = (
    "; compiled operations can copy float16 and bfloat16 or view them as np.uint16, but not "
    "compute with them: convert to float32 before, or give the operation's class `compiled = False`"
)


def compile_for_bits(function: BatchFunction, arguments: tuple[Any, ...]) -> None:
    """Compile a function for arguments among which there may be 16-bit floats.

    Raises:
        CompilationError: it does not compile, or would compute with bits as if they were numbers.
    """
    if _has_half(arguments):
        try:
            function.compile(_viewed(_OPAQUE, arguments))
        except CompilationError as error:
            raise CompilationError(f"{error}{_HINT}") from None
    function.compile(as_bits(arguments))


def as_bits(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments as the code gets them."""
    return _viewed(np.uint16, arguments)  # type: ignore[no-any-return]


def from_bits(result: Any, dtype: np.dtype[Any]) -> Any:
    """What compiled code gave for 16-bit floats, whose bits FFCV 1.x had as int16."""
    if isinstance(result, np.ndarray) and result.dtype in (np.uint16, np.int16):
        return result.view(dtype)
    return result


def _has_half(argument: Any) -> bool:
    """Whether there are 16-bit floats in an argument, or in one of several."""
    if type(argument) is tuple:
        return any(map(_has_half, argument))
    return isinstance(argument, np.ndarray) and is_half(argument.dtype)


def _viewed(dtype: Any, argument: Any) -> Any:
    """An argument, or several, with the given view of 16-bit floats."""
    if type(argument) is tuple:
        return tuple(_viewed(dtype, item) for item in argument)
    return argument.view(dtype) if _has_half(argument) else argument

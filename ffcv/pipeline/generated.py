"""Functions that batch operations generate: what they want, and whether they fit their calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import PipelineError
from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.attributes import refuse_to_run_later
from ffcv.pipeline.batch_function import BatchFunction
from ffcv.pipeline.halves import compile_for_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXAMPLE", "GeneratedCode", "generated_code"]

EXAMPLE = (np.zeros(1, np.int64), np.uint64(0))
"""Indices and a key of the types that functions are called with."""


@dataclass(frozen=True)
class GeneratedCode:
    """A function that an operation generated, and whether it wants more than it always gets."""

    function: Callable[..., Any]
    with_indices: bool
    with_key: bool

    def extras(self, indices: NDArray[np.int64], key: np.uint64) -> tuple[Any, ...]:
        """The arguments that it asked for."""
        return (*((indices,) if self.with_indices else ()), *((key,) if self.with_key else ()))


def generated_code(
    where: str,
    function: Any,
    arguments: Callable[[GeneratedCode], tuple[Any, ...]],
    is_compiled: bool,
) -> GeneratedCode:
    """A function that an operation generated, checked and, if it is to be, compiled.

    Args:
        where: the operation's place, for messages.
        function: what it generated.
        arguments: gives arguments of the types that the function will be called with.
        is_compiled: whether it is to be compiled.

    Raises:
        PipelineError: it is no function, runs later, or takes other arguments.
        CompilationError: it does not compile.
    """
    if not callable(function):
        raise PipelineError(f"{where}: generated {function!r} instead of a function")
    try:
        refuse_to_run_later(function, "its function")
    except TypeError as error:
        raise PipelineError(f"{where}: {error}") from error
    with_indices = bool(getattr(function, "with_indices", False))
    code = GeneratedCode(function, with_indices, bool(getattr(function, "with_key", False)))
    example = arguments(code)
    _check_arity(where, function, len(example))
    if not is_compiled:
        return code
    compiled = BatchFunction(where, function)
    compile_for_bits(compiled, example)
    return GeneratedCode(compiled, code.with_indices, code.with_key)


def _check_arity(where: str, function: Callable[..., Any], given: int) -> None:
    if _takes(function, given):
        return
    names = inspect.signature(python_function(function))
    hint = (
        "; a decoder, which four arguments look like, belongs at the start of a pipeline"
        if _takes(function, 4)
        else ""
    )
    raise PipelineError(
        f"{where}: its function takes {names}, but is called with {given} arguments, see "
        f"Operation.generate_code{hint}"
    )


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        signature = inspect.signature(python_function(function))
    except (TypeError, ValueError):  # some native functions do not tell
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True

"""What a stage calls for each step, and whether that fits the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffcv.errors import CompilationError
from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.attributes import flag, kernel_of
from ffcv.pipeline.emit import fails
from ffcv.pipeline.graph import SampleStage, Step

__all__ = ["check_arities", "check_result", "kernel_function", "place"]


def kernel_function(step: Step) -> Any:
    """What the stage calls for a step: its kernel, or its note when the decoder does it."""
    return kernel_of(step.operation) if step.note is None else python_function(step.note)


def check_arities(output: str, stage: SampleStage, has_workspace: Sequence[bool]) -> None:
    """Refuse kernels that take another number of arguments than they get."""
    for position, step in enumerate(stage.steps):
        code = kernel_function(step).__code__
        decodes = position == 0 and stage.stored is not None
        extras = flag(step.operation, "with_index") + has_workspace[position]
        given = 3 if step.note is not None else 4 + decodes + extras
        if code.co_argcount == given:
            continue
        names = ", ".join(code.co_varnames[: code.co_argcount])
        hint = "see SampleOperation and SampleDecoder for what a kernel gets"
        if code.co_argcount == given + 1 and names.startswith("self"):
            hint = "a kernel gets no self: make it a staticmethod"
        raise CompilationError(
            f"{place(output, step)}: its kernel takes {code.co_argcount} arguments ({names}), "
            f"but is called with {given}; {hint}"
        )


def place(output: str, step: Step) -> str:
    """Where a step stands, in words."""
    return f"output {output!r}, step {step.position} ({step.name})"


def check_result(where: str, step: Step, function: Any, types: tuple[Any, ...]) -> None:
    """Refuse a compiled kernel that returns codes which nobody would see, or none where it must."""
    from numba import types as numba_types

    result = function.overloads[types].signature.return_type
    returns_code = step.note is None and fails(step.operation)
    if returns_code and not isinstance(result, numba_types.Integer):
        raise CompilationError(
            f"{where}: its kernel must return 0 or one of the codes in `errors` on every path, "
            f"but returns {result}"
        )
    if not returns_code and not isinstance(result, numba_types.NoneType):
        raise CompilationError(
            f"{where}: its kernel returns {result}, which nobody would see; declare the codes "
            "that it returns in `errors`, or return nothing"
        )

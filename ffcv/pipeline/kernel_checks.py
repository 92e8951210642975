"""What a stage calls for each step, and whether that fits the call."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from ffcv.errors import CompilationError
from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.attributes import kernel_of
from ffcv.pipeline.graph import Step
from ffcv.pipeline.signature import KernelSignature

__all__ = ["check_arity", "check_result", "epilogue_of", "kernel_function"]


def kernel_function(step: Step) -> FunctionType:
    """What the stage calls for a step: its kernel, or the one that has the decoder do it."""
    if step.fused is None:
        return kernel_of(step.operation)
    return python_function(step.fused)  # type: ignore[no-any-return]


def epilogue_of(decoder: Any, workspace: Any) -> Any:
    """The member of a decoder's workspace that operations write into which it does.

    Args:
        decoder: the decoder.
        workspace: what its ``workspace()`` gave.

    Raises:
        CompilationError: it takes over operations, but has no such member.
    """
    found = getattr(workspace, "epilogue", None)
    if found is None:
        name = type(decoder).__name__
        raise CompilationError(
            f"{name}.fuse_operation takes over operations, which write what is to be done into the "
            f"member 'epilogue' of its workspace, but {name}.workspace() gives none"
        )
    return found


def check_arity(where: str, function: FunctionType, signature: KernelSignature) -> None:
    """Refuse a kernel that takes another number of arguments than it gets.

    Args:
        where: the step's place, for messages.
        function: its kernel.
        signature: how that is called.

    Raises:
        CompilationError: it does.
    """
    code, given = function.__code__, len(signature.parameters)
    if code.co_argcount == given:
        return
    names = ", ".join(code.co_varnames[: code.co_argcount])
    hint = "see SampleOperation and SampleDecoder for what a kernel gets"
    if "epilogue" in signature.parameters:
        hint = "it is the kernel by which the step is fused, as in a Fusion(phase, kernel)"
    elif code.co_argcount == given + 1 and names.startswith("self"):
        hint = "a kernel gets no self: make it a staticmethod"
    elif code.co_argcount == given + 1 and "workspace" not in signature.parameters:
        hint = (
            "it gets a workspace as well where its class defines workspace(), and the sample's "
            "index where its class says with_index = True"
        )
    raise CompilationError(
        f"{where}: its kernel takes {code.co_argcount} arguments ({names}), "
        f"but is called with {given}, {signature}; {hint}"
    )


def check_result(where: str, function: Any, types: tuple[Any, ...], returns_code: bool) -> None:
    """Refuse a compiled kernel that returns codes which nobody would see, or none where it must.

    Args:
        where: the step's place, for messages.
        function: what Numba made of its kernel.
        types: of the arguments that it is called with.
        returns_code: whether it is called as one that returns a code.

    Raises:
        CompilationError: it does.
    """
    from numba import types as numba_types

    result = function.overloads[types].signature.return_type
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

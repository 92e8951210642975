"""Whether a field announces the regions that its decoder's kernel reads.

A kernel gets the region that ``Field.pointer`` names. Where a field names none it gets no bytes at
all, and since compiled code checks no bounds, reading them would give whatever lies in memory.
"""

from __future__ import annotations

import dis
from typing import Any

from ffcv.beton.field import Field
from ffcv.pipeline.attributes import kernel_of
from ffcv.pipeline.forms import class_runs_on_samples
from ffcv.pipeline.sample import SampleDecoder
from ffcv.pipeline.signature import KernelSignature

__all__ = ["decoded_by_kernel", "unannounced"]

_WRITE_ONLY = {"STORE_FAST", "DELETE_FAST", "STORE_FAST_STORE_FAST"}
"""Instructions that name a variable without reading it."""


def decoded_by_kernel(field: Field) -> bool:
    """Whether the decoder that a field names for itself gets its data through ``pointer``."""
    try:
        found: object = field.get_decoder_class()
    except Exception:
        # Reading may name another decoder; whoever asks for this one is told what is wrong.
        return False
    kind = found if isinstance(found, type) else type(found)
    return issubclass(kind, SampleDecoder) and class_runs_on_samples(kind)


def unannounced(decoder: SampleDecoder, field: Field) -> str | None:
    """What is wrong, in words, if the kernel of ``decoder`` reads data that ``field`` has not."""
    if field.pointer is not None or not _uses_argument(decoder, "data"):
        return None
    name = type(field).__name__
    return (
        f"its kernel reads the data of a region, but {name} announces none: say in that class "
        "which member of its record holds the pointer that malloc gave, as in "
        '`pointer = "ptr"` ("" if the whole record is the pointer)'
    )


def _uses_argument(decoder: SampleDecoder, parameter: str) -> bool:
    """Whether a kernel mentions one of its arguments; ``False`` if that cannot be told."""
    try:
        function = kernel_of(decoder)
    except Exception:
        # It has none, or chooses one later; whoever runs it says what is wrong.
        return False
    code = function.__code__
    position = KernelSignature.of(decoder, has_workspace=False).parameters.index(parameter)
    if position >= code.co_argcount:
        return False
    name = code.co_varnames[position]
    return any(
        name in _variables(instruction)
        for instruction in dis.get_instructions(code)
        if instruction.opname not in _WRITE_ONLY
    )


def _variables(instruction: dis.Instruction) -> tuple[Any, ...]:
    """The variables that an instruction names; some name two at once."""
    if instruction.opcode not in dis.haslocal and instruction.opcode not in dis.hasfree:
        return ()
    named = instruction.argval
    return named if isinstance(named, tuple) else (named,)

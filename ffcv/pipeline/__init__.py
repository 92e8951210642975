"""Operations, and the compiler that turns pipelines of them into machine code.

The interfaces that plugins implement are importable from here; random numbers for kernels are in
:mod:`ffcv.kernels.random`.
"""

from typing import TYPE_CHECKING

from ffcv.beton.side_index import SideIndex
from ffcv.kernels import kernel
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.dtypes import bfloat16
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.pipeline.sample import (
    ASSIST,
    MOST_PARTS,
    WHOLE,
    SampleDecoder,
    SampleOperation,
    Stored,
)
from ffcv.pipeline.state import Layout, State

if TYPE_CHECKING:
    from ffcv.pipeline.compiler import Compiler
else:

    def __getattr__(name: str) -> object:
        # Modules of kernels import this package, and none of them needs the compiler for that.
        from ffcv.compat.paths import submodule

        found = submodule(__name__, "compiler" if name == "Compiler" else name)
        if found is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return found.Compiler if name == "Compiler" else found


__all__ = [
    "ASSIST",
    "MOST_PARTS",
    "WHOLE",
    "AllocationQuery",
    "Compiler",
    "Layout",
    "Operation",
    "PipelineSpec",
    "SampleDecoder",
    "SampleOperation",
    "SideIndex",
    "State",
    "Stored",
    "bfloat16",
    "kernel",
]

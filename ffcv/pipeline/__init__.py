"""Operations, and the compiler that turns pipelines of them into machine code.

The interfaces that plugins implement are importable from here; random numbers for kernels are in
:mod:`ffcv.pipeline.random`.
"""

from ffcv.beton.side_index import SideIndex
from ffcv.kernel import kernel
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.dtypes import bfloat16
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.sample import ASSIST, SampleDecoder, SampleOperation, Stored
from ffcv.pipeline.state import State

__all__ = [
    "ASSIST",
    "AllocationQuery",
    "Operation",
    "SampleDecoder",
    "SampleOperation",
    "SideIndex",
    "State",
    "Stored",
    "bfloat16",
    "kernel",
]
